"""Seeded synthetic data with exact labels, one module per study."""
