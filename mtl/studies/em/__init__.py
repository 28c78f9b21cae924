"""The em study: neurons in electron microscopy, automatic and proofread."""
