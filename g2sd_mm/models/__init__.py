"""Networks: one vision transformer and its arrangements. Knows nothing of distillation."""

from .backbones import G2SDViT
from .mae import MAEPretraining, MaskedAutoencoder
from .vit import Attention, Block, PatchEmbed, VisionTransformer

__all__ = [
    'Attention',
    'Block',
    'G2SDViT',
    'MAEPretraining',
    'MaskedAutoencoder',
    'PatchEmbed',
    'VisionTransformer',
]
