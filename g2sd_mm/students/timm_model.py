"""A classifier of ours as timm's own network."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.logging import print_log
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from ..checkpoints.convert import convert_state
from ..errors import UserError
from ..models.backbones import G2SDViT, TimmBackbone
from ..models.positions import height_and_width
from ..models.vit import NORM_EPS
from .load import load_student
from .student import Student

_POOLS = {'avg_featmap': 'avg', 'cls_token': 'token', 'dist_token': 'token'}


def as_timm(student: Student | str | Path) -> VisionTransformer:
    """The same network as timm's ``VisionTransformer``, in eval mode.

    A student with a dist token becomes a ``VisionTransformerDistilled``. Patch tokens, pooled
    features and logits agree to rounding (1e-5 in float32). timm's takes images of the student's
    own size [B, 3, size, size] only.

    Args:
        student: a classifier from :func:`~g2sd_mm.students.load.load_student`, or what it takes.

    Returns:
        the network; ``pretrained_cfg`` has mean and std in timm's units (0 to 1), so that
        ``timm.data.resolve_model_data_config`` prepares images as the student wants them.

    Raises:
        UserError: for a detector or segmentor (timm's network has no windows and no relative
            positions), another backbone, or a two-token student that predicts from the class token
            alone (timm averages both heads).
    """
    if not isinstance(student, Student):
        student = load_student(student)
    backbone = student.model.backbone
    if isinstance(backbone, TimmBackbone):
        raise UserError(
            f'this student is a {backbone.model} of timm already: take '
            'student.model.backbone.network for its feature maps; its classifier has another place '
            'than in timm'
        )
    if not isinstance(backbone, G2SDViT):
        raise UserError(
            f"timm's VisionTransformer cannot hold {type(backbone).__name__}: windows and relative "
            'positions are not in it; only classifiers with G2SDViT can be handed to timm'
        )
    if student.image_size != backbone.img_size:
        print_log(
            f'the student was trained on images of {student.image_size} px, and timm\'s network '
            f'takes those of {backbone.img_size} px that it is laid out for',
            logger='current',
            level=logging.WARNING,
        )
    two_tokens = backbone.out_type == 'dist_token'
    if two_tokens and not getattr(student.model.head, 'average', True):
        raise UserError(
            'this student predicts from the class token alone, and timm averages the class and '
            'dist heads: it cannot be handed to timm'
        )
    state = convert_state(student.model.state_dict(), to='timm').state
    attention: Any = backbone.blocks[0].attn
    kind: Any = VisionTransformerDistilled if two_tokens else VisionTransformer
    model = kind(
        img_size=backbone.img_size,
        in_chans=backbone.in_channels,
        patch_size=backbone.patch_embed.patch_size,
        num_classes=len(state['head.weight']),
        embed_dim=backbone.embed_dim,
        depth=backbone.depth,
        num_heads=attention.num_heads,
        global_pool=_POOLS[backbone.out_type],
        norm_layer=partial(nn.LayerNorm, eps=NORM_EPS),
        weight_init='skip',
    )
    model.load_state_dict(state)
    model.pretrained_cfg = {
        'input_size': (backbone.in_channels, *height_and_width(backbone.img_size)),
        'num_classes': model.num_classes,
        'mean': tuple(value / 255 for value in student.mean),
        'std': tuple(value / 255 for value in student.std),
        'interpolation': 'bicubic',
        'crop_pct': 1.0,
        'label_names': student.classes,
    }
    return model.to(next(student.parameters()).device).eval()
