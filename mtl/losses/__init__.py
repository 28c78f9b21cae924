"""Losses: shared overlap terms, and one module per study."""
