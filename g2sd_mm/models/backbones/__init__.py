"""The registered faces of the one ViT, one for each task library.

Importing this module is all that a plain student config needs (``custom_imports``).
"""

from .classification import G2SDViT

__all__ = ['G2SDViT']
