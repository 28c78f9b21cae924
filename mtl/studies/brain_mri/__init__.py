"""The brain_mri study: parameters (light) and assembly."""
