"""The em study: automatic and proofread segmentation of electron microscopy volumes."""
