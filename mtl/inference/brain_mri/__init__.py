"""The brain_mri study's network put to use."""
