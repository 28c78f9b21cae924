"""Multi-task learning for biomedical images: the package under the notebooks.

Importing ``mtl`` loads neither torch nor MONAI; each room imports what it needs.
"""

__version__ = "0.1.0"
