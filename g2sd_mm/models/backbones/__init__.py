"""The registered faces of the one ViT, one for each task library, and the one of timm.

Importing this module is all that a plain student config needs (``custom_imports``).
"""

from .classification import G2SDViT
from .detection import G2SDViTDet
from .segmentation import G2SDViTSeg
from .timm import TimmBackbone

__all__ = ['G2SDViT', 'G2SDViTDet', 'G2SDViTSeg', 'TimmBackbone']
