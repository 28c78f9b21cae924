"""The study of neurons in electron microscopy: automatic and proofread segmentation."""
