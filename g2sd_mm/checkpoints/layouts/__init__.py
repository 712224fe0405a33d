"""The layouts that weights are moved between: one declarative table each."""

from __future__ import annotations

from .huggingface import HUGGING_FACE
from .openmmlab import MMPRETRAIN, MMSEG, OURS
from .published import DETECTRON2, G2SD, MAE, TIMM, Family, Layout, family_of

#: By the name that ``--to`` takes.
LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (OURS, G2SD, MAE, TIMM, HUGGING_FACE, DETECTRON2, MMPRETRAIN, MMSEG)
}

__all__ = ['LAYOUTS', 'Family', 'Layout', 'family_of']
