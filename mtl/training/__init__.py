"""Training: stages, the loop, balancers, diagnostics and checkpoints. Knows tensors and callables only."""
