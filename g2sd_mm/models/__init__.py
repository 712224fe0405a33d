"""Networks: one vision transformer and its arrangements. Knows nothing of distillation."""

from .backbones import G2SDViT, G2SDViTDet, G2SDViTSeg, TimmBackbone
from .mae import MAEPretraining, MaskedAutoencoder
from .pixel_cross_entropy import PixelCrossEntropyLoss
from .simple_pyramid import ChannelLayerNorm, SimpleFeaturePyramid
from .vit import Attention, Block, PatchEmbed, VisionTransformer

__all__ = [
    'Attention',
    'Block',
    'ChannelLayerNorm',
    'G2SDViT',
    'G2SDViTDet',
    'G2SDViTSeg',
    'MAEPretraining',
    'MaskedAutoencoder',
    'PatchEmbed',
    'PixelCrossEntropyLoss',
    'SimpleFeaturePyramid',
    'TimmBackbone',
    'VisionTransformer',
]
