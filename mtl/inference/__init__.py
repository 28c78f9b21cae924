"""Trained networks put to use: predictors, explanations, exports."""
