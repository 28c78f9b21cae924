"""The histology study: nuclei from a few outlined examples, eight losses, an annotation loop."""
