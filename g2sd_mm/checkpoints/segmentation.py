"""Published segmentors (mmseg 0.11 names) under mmseg 1.x names."""

from __future__ import annotations

from torch import Tensor

from .read import below

# The published ViT makes its own four scales; here mmseg's Feature2Pyramid does, with the same
# layers: up-sampling by 4 (deconvolution, norm, GELU, deconvolution) and by 2 (deconvolution).
_PYRAMID = {'backbone.fpn1.': 'neck.upsample_4x.', 'backbone.fpn2.': 'neck.upsample_2x.'}


def published_segmentor(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A plain segmentor; one that has mmseg 1.x names already stays as it is.

    The stored relative-position indices are left out: they are computed. Both heads have the same
    names in both versions.
    """
    renamed = {}
    for name, tensor in state.items():
        if name.endswith('.relative_position_index'):
            continue
        for old, new in _PYRAMID.items():
            if name.startswith(old):
                name = new + name.removeprefix(old)
        renamed[name] = tensor
    return renamed


def published_segmentation_distiller(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The student of a distiller's file.

    Such a file also holds the whole teacher and, by an oversight, the last activations of both
    networks (``student_decode_head_conv_seg``, ``teacher_decode_head_conv_seg``).
    """
    return published_segmentor(below(state, 'student.'))
