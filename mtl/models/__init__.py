"""Networks: shared building blocks, and one module per study."""
