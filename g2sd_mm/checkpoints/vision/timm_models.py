"""Which of timm's models a file fills, found by building them without memory."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ...devices import on_meta_device
from ..timm_file import by_timm_rules
from .encoders import VisionEncoder

#: How timm spells widths in the names of its ViTs.
_WORDS = {
    192: 'tiny',
    384: 'small',
    768: 'base',
    1024: 'large',
    1152: 'so400m',
    1280: 'huge',
    1408: 'giant',
    1536: 'giant',
    1664: 'gigantic',
    4096: '7b',
}
#: The same for hierarchies, by the width of their last stage, and where it takes that, the depth.
_HIERARCHIES: dict[int, str | dict[int, str]] = {
    320: 'atto',
    384: 'femto',
    512: {12: 'pico', 8: 'resnet18', 16: 'resnet34'},
    640: 'nano',
    768: {12: 'tiny', 18: 'tiny', 16: 'small', 24: 'small|base', 36: 'small'},
    896: 'base_plus',
    1024: 'base|xlarge',
    1152: 'large|huge',
    1536: 'large|giant',
    2048: {16: 'resnet50', 33: 'resnet101', 50: 'resnet152', 36: 'xlarge'},
}
#: What a teacher of features does not run, and a file need not have; positions can be resized.
_HEADS = ('head', 'fc.', 'fc_norm.', 'norm.', 'attn_pool.', 'pre_logits.')
_RESIZED = ('pos_embed', 'relative_position_bias_table')
_NOT_NEEDED = ('mask_token', 'lm_head.', 'projectors.', 'dist_token')
_MOST = 8  # models that are built at most; each takes a fraction of a second


@dataclass(frozen=True)
class TimmModel:
    """A model of timm that a file fills.

    Attributes:
        name: in timm.
        block: the features to teach with: of a ViT the last block, of a hierarchy the last stage
            with a place for every 16 px or less.
        width: channels of those.
        has_norm: whether the file has the norm behind the last block, if the model has one.
    """

    name: str
    block: int
    width: int
    has_norm: bool


def timm_model(state: Mapping[str, Tensor], encoder: VisionEncoder) -> TimmModel | None:
    """A model whose encoder the file fills, all names and shapes compared; None if timm has none.

    Of several with the same layout, the one made for images nearest to the file's positions.
    """
    close: TimmModel | None = None
    for name in _candidates(encoder):
        model = _outline(name)
        wrong = None if model is None else _of_other_shape(state, model)
        if wrong == []:
            return _described(name, model, state)
        if wrong and all(n.endswith(_RESIZED) for n in wrong) and encoder.family.network == 'ViT':
            close = close or _described(name, model, state)
    return close


def _candidates(encoder: VisionEncoder) -> list[str]:
    from timm.models import list_models

    if encoder.architecture:
        return [encoder.architecture] if encoder.architecture in list_models() else []
    names: dict[str, int] = {}
    for number, pattern in enumerate(encoder.family.timm):
        for name in list_models(pattern):
            names.setdefault(name, number)
    vit = encoder.family.network == 'ViT'
    if vit:
        names = {n: i for n, i in names.items() if f'patch{encoder.patch}_' in n}
    word = (_WORDS if vit else _HIERARCHIES).get(encoder.width)
    if isinstance(word, dict):
        word = word.get(encoder.depth)
    named = {n: i for n, i in names.items() if word and re.search(rf'(^|_)({word})', n)}
    names = named or names
    side = encoder.grid[0] * encoder.patch if vit and encoder.grid else 224
    return sorted(names, key=lambda name: (_distance(name, side), names[name], len(name)))[:_MOST]


def _distance(name: str, side: int) -> int:
    """How far the images that a model is named after are from ``side`` px."""
    found = re.search(r'_(\d{3})$', name)
    return abs(int(found[1]) - side) if found else 0


def _outline(name: str) -> nn.Module | None:
    """A model without memory; None of one that cannot be built so."""
    import timm

    try:
        with on_meta_device():
            return timm.create_model(name, num_classes=0)
    except (RuntimeError, NotImplementedError, ValueError, TypeError):
        return None


def teaching_block(model: Any) -> tuple[int, int]:
    """The features that a network of timm teaches with, and their width, as of a TimmModel."""
    stages = list(model.feature_info)
    near = [n for n, stage in enumerate(stages) if _side(stage['reduction']) <= 16]
    block = near[-1] if near else len(stages) - 1
    return block if block < len(stages) - 1 else -1, int(stages[block]['num_chs'])


def _described(name: str, model: Any, state: Mapping[str, Tensor]) -> TimmModel:
    block, width = teaching_block(model)
    norm = any(n.startswith('norm.') for n in model.state_dict())
    return TimmModel(
        name=name,
        block=block,
        width=width,
        has_norm=not norm or any(n == 'norm.weight' or n.endswith('.norm.weight') for n in state),
    )


def _side(reduction: Any) -> int:
    return int(max(reduction)) if isinstance(reduction, (tuple, list)) else int(reduction)


def _of_other_shape(state: Mapping[str, Tensor], model: nn.Module) -> list[str] | None:
    """Names whose shapes differ between a file and a model; None if their names do."""
    own, theirs = model.state_dict(), state
    if any(name not in own and not name.startswith((*_HEADS, *_NOT_NEEDED)) for name in state):
        try:
            theirs = by_timm_rules({n: t.to('meta') for n, t in state.items()}, model)
        except (RuntimeError, NotImplementedError, KeyError, ValueError, TypeError, AttributeError):
            return None
    lacking = [n for n in own if n not in theirs and not n.startswith(_HEADS)]
    extra = [n for n in theirs if n not in own and not n.startswith((*_HEADS, *_NOT_NEEDED))]
    if lacking or extra:
        return None
    return [n for n in own if n in theirs and own[n].shape != theirs[n].shape]
