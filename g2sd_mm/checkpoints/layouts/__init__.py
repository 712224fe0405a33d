"""The layouts that weights are moved between: one declarative table each."""

from __future__ import annotations

from .detectron2 import DETECTRON2
from .huggingface import HUGGING_FACE
from .layout import Layout
from .mae import G2SD, MAE
from .mmpretrain import MMPRETRAIN
from .mmseg import MMSEG
from .ours import OURS
from .published import Family, family_of
from .timm import TIMM

#: By the name that ``--to`` takes.
LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (OURS, G2SD, MAE, TIMM, HUGGING_FACE, DETECTRON2, MMPRETRAIN, MMSEG)
}

__all__ = ['LAYOUTS', 'Family', 'Layout', 'family_of']
