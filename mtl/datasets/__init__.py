"""Readers of real data sets, phantoms with exact labels, frozen splits and the near-duplicate audit."""
