"""Move weights from any known layout to any other, and account for every name on the way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..compat.safe_load import CheckpointError
from ..text import some
from .identify import TRAINED, Kind, describe, identify
from .layouts import LAYOUTS, Family, Layout, family_of
from .layouts.openmmlab import MMPRETRAIN, MMSEG, OURS
from .layouts.published import G2SD
from .layouts.rules import State, Translated, fits, to_published, to_theirs
from .read import Weights, below
from .record import own_record

_SIDES = ('student', 'teacher')
#: What stands around a network: its prefix, names beside it that are its own, and names that are
#: left out.
_WRAPPINGS: dict[Kind, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    Kind.STAGE1_RUN: (
        'student.', ('*feature_pred.*',), ('distillation.*', 'relation.*', 'data_preprocessor.*')
    ),
    Kind.STAGE2_RUN: ('student.', (), ('distillation.*', 'data_preprocessor.*')),
    Kind.MAE_RUN: ('autoencoder.', (), ('data_preprocessor.*',)),
    Kind.SEG_DISTILLER: ('{side}.', (), ('student.*', 'teacher.*', '*_decode_head_conv_seg')),
}


@dataclass(frozen=True)
class Conversion:
    """A state dict under the names of another layout than its file's, or under published ones.

    Attributes:
        state: the tensors. They share memory with the source where nothing but the name changed.
        kind: what the source was.
        family: what the network is.
        layout: that the names are of; under published ones, that of the file.
        dropped: names of the source that carry no weights, or that the layout cannot hold.
        origin: published name -> the file's names.
    """

    state: State
    kind: Kind
    family: Family
    layout: str
    dropped: tuple[str, ...]
    origin: Mapping[str, tuple[str, ...]]


def convert_state(state: Mapping[str, Tensor], to: str, side: str = 'student') -> Conversion:
    """A state dict of any known layout in another one.

    Args:
        state: tensors under the names of their file; meta tensors are fine.
        to: a name of :data:`~g2sd_mm.checkpoints.layouts.LAYOUTS`.
        side: of a file that holds two networks, the one that is taken: ``student`` or ``teacher``.

    Raises:
        CheckpointError: if the source is not known, has names that its layout does not have, or is
            a network that the target layout cannot hold.
        ValueError: for an unknown ``to`` or ``side``.
    """
    if to not in LAYOUTS:
        raise ValueError(f'unknown layout {to!r}: known are {", ".join(LAYOUTS)}')
    published = to_published_names(state, side)
    return from_published_names(published, LAYOUTS[to])


def in_published_names(weights: Weights) -> State:
    """A file's tensors, those of other libraries under published names; for loading.

    Unlike :func:`to_published_names` this leaves a file alone that has published names, or no known
    ones: its loader reports what is off.

    Raises:
        CheckpointError: if a file of another library has names that its layout does not have.
    """
    kind = identify(weights.state, weights.grid)
    foreign = kind.layout in ('huggingface', 'mmpretrain', 'mmseg')
    if foreign or kind is Kind.TIMM_DISTILLED:
        return to_published_names(weights.state, grid=weights.grid).state
    return weights.state


def to_published_names(
    state: Mapping[str, Tensor], side: str = 'student', grid: tuple[int, int] | None = None
) -> Conversion:
    """A state dict of any known layout under published names.

    Args:
        state, side: see :func:`convert_state`.
        grid: rows and columns of patches, where the file says them.

    Raises:
        CheckpointError: if its layout is not known or has no such names.
    """
    outer = identify(state, grid)
    inner, wrapped, dropped = _unwrap(state, outer, side)
    kind = identify(inner, grid)
    if not kind.layout:
        raise CheckpointError(
            f'cannot convert {describe(state)}: none of the layouts {", ".join(LAYOUTS)} has names '
            f'like {some(list(state))}'
        )
    layout = LAYOUTS[kind.layout]
    tidy = layout.tidy(inner)
    # the file's own name of what `tidy` has renamed in order
    names = dict(zip(tidy, inner, strict=True))
    kept = {name: t for name, t in tidy.items() if not fits(name, layout.not_weights)}
    done = _best(kept, layout)
    if done.unknown or done.incomplete:
        unknown = [wrapped.get(names[name], names[name]) for name in done.unknown]
        lacking = f'; only a part is there of {some(done.incomplete)}' if done.incomplete else ''
        raise CheckpointError(
            f'cannot convert {describe(state)}: {len(unknown)} names are not of the layout '
            f'{layout.name} ({some(unknown)}){lacking}'
        )
    dropped += [wrapped.get(names[n], names[n]) for n in tidy if n not in kept]
    origin = {
        name: tuple(wrapped.get(names[n], names[n]) for n in sources)
        for name, sources in done.origin.items()
    }
    published = layout.undo(done.state)
    family = family_of(published)
    return Conversion(published, outer, family, layout.name, tuple(dropped), origin)


def from_published_names(published: Conversion, layout: Layout) -> Conversion:
    """Published names -> a layout's.

    Raises:
        CheckpointError: if the layout cannot hold the network, or a name of it that it needs.
    """
    family = published.family
    if family not in layout.tables:
        held = ', '.join(f.value for f in layout.tables)
        raise CheckpointError(
            f'{layout.name} cannot hold {family.value}: it holds {held}'
        )
    done = to_theirs(layout.arrange(published.state), layout.tables[family])
    lost = [name for name in done.unknown if not fits(name, layout.cannot_hold)]
    if lost:
        raise CheckpointError(
            f'{layout.name} cannot hold {len(lost)} names of {family.value}: '
            f'{some([n for name in lost for n in _sources(name, published)])}'
        )
    dropped = [n for name in (*done.unknown, *done.lost) for n in _sources(name, published)]
    return replace(
        published, state=done.state, layout=layout.name, dropped=(*published.dropped, *dropped)
    )


def _unwrap(
    state: Mapping[str, Tensor], kind: Kind, side: str
) -> tuple[State, dict[str, str], list[str]]:
    """The network inside of a run's checkpoint, its names' names in the file, and what is left."""
    if side not in _SIDES:
        raise ValueError(f'side {side!r} is none of {", ".join(_SIDES)}')
    if kind not in _WRAPPINGS:
        return dict(state), {}, []
    prefix, beside, left = _WRAPPINGS[kind]
    prefix = prefix.format(side=side)
    inner = below(state, prefix)
    wrapped = {name: prefix + name for name in inner}
    outside = [name for name in state if not name.startswith(prefix)]
    named = {name: published_name(name) for name in outside}
    unknown = [n for n in outside if not fits(named[n], beside) and not fits(n, left)]
    if unknown:
        raise CheckpointError(
            f'cannot convert {describe(state)}: {len(unknown)} names are not of its layout '
            f'({some(unknown)})'
        )
    kept = {name: published for name, published in named.items() if fits(published, beside)}
    inner |= {published: state[name] for name, published in kept.items()}
    wrapped |= {published: name for name, published in kept.items()}
    return inner, wrapped, [name for name in outside if name not in kept]


def _best(state: State, layout: Layout) -> Translated:
    """The reading by the table that leaves the fewest names over."""
    readings = [to_published(state, rules) for rules in layout.tables.values()]
    return min(readings, key=lambda done: len(done.unknown) + len(done.incomplete))


def _sources(name: str, published: Conversion) -> list[str]:
    """The file's names behind a published one, or behind ``NAME (part 2 of 3)`` of it."""
    whole, space, part = name.partition(' ')
    return [source + space + part for source in published.origin.get(whole, (whole,))]


def state_for(weights: Weights, names: Iterable[str] = ()) -> State:
    """The tensors of a file under the names that a task model has: renamed only where needed.

    Weights of this project, and weights whose names are those of the model, stay as they are: a
    stock network may have names that also occur in a published layout.

    Args:
        weights: a file of this project, of the model's own library, or a published one.
        names: of the model's state dict; none if it is not known. Parts of the file that the model
            does not have at all (heads that a teacher does not run) do not count.

    Returns:
        tensors as they are in the file (of a distilled run, the student), or renamed. What is
        missing or unknown is for :func:`~g2sd_mm.checkpoints.fill.fill` to report.

    Raises:
        CheckpointError: if a published file has names that its layout does not have.
    """
    own, state = set(names), weights.state
    if own and not _off(state, own):
        return dict(state)
    kind = identify(state)
    if kind in (Kind.STAGE2_RUN, Kind.SEG_DISTILLER):
        state = below(state, TRAINED[kind])
        kind = identify(state)
    off = _off(state, own)
    if (own and not off) or own_record(weights) is not None:
        return dict(state)
    # of our own names, a segmentor's may still hold indices that are computed
    if kind.layout in ('', 'ours') and kind is not Kind.MM_SEGMENTOR:
        return dict(state)
    try:
        published = in_published_names(weights) if state is weights.state else state
    except CheckpointError:
        if off > len(own) // 2:  # not even similar
            raise
        return dict(state)
    family = family_of(published)
    if family is Family.MAE:
        return dict(state)  # no task model: the loader says what it is
    # a stock network has the names of its library
    layouts = (layout for layout in (OURS, MMPRETRAIN, MMSEG) if family in layout.tables)
    readings = (in_our_names(published, layout) for layout in layouts)
    renamed = min(readings, key=lambda reading: _off(reading, own))
    return dict(state) if off < _off(renamed, own) else renamed


def _off(state: Mapping[str, Tensor], own: set[str]) -> int:
    """How many names are missing or, in a part that the model has, unknown."""
    parts = {name.partition('.')[0] for name in own}
    extra = [n for n in state if n not in own and n.partition('.')[0] in parts]
    return len(own - set(state)) + len(extra)


def in_our_names(state: Mapping[str, Tensor], layout: Layout = OURS) -> State:
    """A classifier, detector or segmentor under published names -> under the mm libraries'."""
    family = family_of(state)
    kept = {name: t for name, t in state.items() if not fits(name, G2SD.not_weights)}
    done = to_theirs(layout.arrange(kept), layout.tables[family])
    # unknown names stay, among the backbone's where that is where a bare ViT's belong
    prefix = '' if family in (Family.DETECTOR, Family.SEGMENTOR) else 'backbone.'
    return done.state | {prefix + name: kept[name] for name in done.unknown}


#: Adapters of the distiller -> published names, which training checkpoints of version 0.1 have too.
_PUBLISHED = {
    'distillation.adapters.tokens.': 'decoderfeature_pred.',
    'distillation.adapters.encoder.': 'encoderfeature_pred.',
}


def published_name(name: str) -> str:
    """A predictor's published name; any other name as it is."""
    for ours, published in _PUBLISHED.items():
        if name.startswith(ours):
            return published + name.removeprefix(ours)
    return name


def with_our_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A stage-1 training checkpoint's tensors, its predictors named as the distiller names them."""
    ours = {published: own for own, published in _PUBLISHED.items()}
    named = {}
    for name, tensor in state.items():
        head, dot, tail = name.partition('.')
        named[ours[head + dot] + tail if head + dot in ours else name] = tensor
    return named


def halved(state: Mapping[str, Tensor]) -> State:
    """The same with float16 for every floating-point tensor.

    Raises:
        CheckpointError: for a tensor with a value that float16 cannot hold.
    """
    done = {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in state.items()
    }
    if lost := [n for n, tensor in done.items() if tensor.isinf().any() > state[n].isinf().any()]:
        raise CheckpointError(
            f'float16 ends at {torch.finfo(torch.float16).max:.0f}, and {some(lost)} have larger '
            'values: leave --half out'
        )
    return done
