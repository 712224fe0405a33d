"""A classifier of ours as timm's own network."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.logging import print_log
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from ..agreement.inputs import cut_of
from ..checkpoints.convert import convert_state
from ..checkpoints.record import restore
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
        the network, for RGB images; ``pretrained_cfg`` has mean and std in timm's units (0 to 1),
        size and crop, so that ``timm.data.resolve_model_data_config`` prepares images as the
        student wants them. (A warning says where timm has no words for the test pipeline.)

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
    order = -1 if student.channels == 'BGR' else 1  # timm's images are RGB
    if order < 0:
        state['patch_embed.proj.weight'] = state['patch_embed.proj.weight'].flip(1)
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
        mlp_ratio=len(state['blocks.0.mlp.fc1.weight']) / backbone.embed_dim,
        global_pool=_POOLS[backbone.out_type],
        norm_layer=partial(nn.LayerNorm, eps=NORM_EPS),
        weight_init='skip',
    )
    model.load_state_dict(state)
    size = height_and_width(backbone.img_size)
    model.pretrained_cfg = {
        'input_size': (backbone.in_channels, *size),
        'num_classes': model.num_classes,
        'mean': tuple(value / 255 for value in student.mean[::order]),
        'std': tuple(value / 255 for value in student.std[::order]),
        'label_names': student.classes,
        **_resizing(restore(student.network['test_pipeline']), size),
    }
    return model.to(next(student.parameters()).device).eval()


def _resizing(pipeline: Sequence[Mapping[str, Any]], size: tuple[int, int]) -> dict[str, Any]:
    """What timm calls the steps of a test pipeline that lead to the network's size."""
    steps = {str(step.get('type')).rpartition('.')[2]: step for step in pipeline}
    edge, cut, whole = (steps.get(name) for name in ('ResizeEdge', 'CenterCrop', 'Resize'))
    told: dict[str, Any] = {'interpolation': 'bicubic', 'crop_pct': 1.0, 'crop_mode': 'center'}
    resized = edge or whole
    if resized:
        told['interpolation'] = resized.get('interpolation', 'bilinear')
    fits = cut_of(pipeline).size == size
    if fits and edge and cut and edge.get('edge', 'short') == 'short' and size[0] == size[1]:
        told['crop_pct'] = _share(size[0], edge['scale'])
    elif fits and whole and not edge and not cut:
        told['crop_mode'] = 'squash'
    else:
        print_log(
            'timm has no words for the test pipeline of this student '
            f'({", ".join(steps) or "it has none"}): prepare images as the pipeline does, not with '
            "timm's transform",
            logger='current',
            level=logging.WARNING,
        )
    return told


def _share(cut: int, edge: int) -> float:
    """The part of an edge that is cut out; timm divides by it, and rounds down."""
    share = cut / edge
    while int(cut / share) < edge:
        share = math.nextafter(share, 0)
    return share
