"""Put weights into a module and account for every name: nothing is left out in silence."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from ..compat.safe_load import CheckpointError
from ..text import some
from .identify import describe, doubt, has_square_grid
from .layouts.rules import fits
from .read import Weights

#: How the names of weights end; other tensors (indices, counts) may be integers, or zero.
_WEIGHTS = ('weight', 'bias', '_token', 'pos_embed')
#: Those of which a network has nothing left if they are zero. Biases and tables may be.
_NEEDED = ('weight', 'pos_embed')
#: Layers that start at zero: what shifts the points of deformable ones, what refines boxes.
_ZERO_AT_FIRST = re.compile(r'offset|attention_weights\.|reg_branches\.|fc_reg\.|rfp_weight\.')


def defects(state: Mapping[str, Tensor], *, zeros: bool = True) -> list[str]:
    """One phrase for each tensor that no training has left: NaN, infinite, all zero, no floats.

    Reads every value once; tensors on the meta device have none.
    """
    found = ((name, _defect(name, tensor, zeros)) for name, tensor in state.items())
    return [f'{name} {what}' for name, what in found if what]


def _defect(name: str, tensor: Tensor, zeros: bool) -> str:
    if not tensor.is_floating_point():
        kind = str(tensor.dtype).removeprefix('torch.')
        return f'is {kind}, not a float' if name.endswith(_WEIGHTS) else ''
    if tensor.is_meta or not tensor.numel():
        return ''
    if tensor.element_size() == 1:
        tensor = tensor.float()  # torch can compare no floats of 8 bits
    # in one pass; NaN anywhere makes both of them NaN
    low, high = (value.item() for value in torch.aminmax(tensor))
    if math.isnan(low) or math.isnan(high):
        return 'has NaN'
    if math.isinf(low) or math.isinf(high):
        return 'has infinite values'
    counts = zeros and tensor.ndim > 1 and not _ZERO_AT_FIRST.search(name)
    if counts and name.endswith(_NEEDED) and low == high == 0:
        return 'is all zeros'
    return ''


@dataclass(frozen=True)
class Fit:
    """How the names and shapes of a file go with those of a module.

    Attributes:
        loaded: names that both have.
        random: the module's names that the file lacks and may lack.
        missing: those that it must not lack.
        extra: the file's names that the module has no use for and should have.
        wrong: one phrase for each tensor of another shape.
        odd: one for each whose numbers are no floats where the module's are.
    """

    loaded: tuple[str, ...]
    random: tuple[str, ...]
    missing: tuple[str, ...]
    extra: tuple[str, ...]
    wrong: tuple[str, ...]
    odd: tuple[str, ...] = ()

    def summary(self, file: str) -> str:
        """How many tensors were taken from a file, and what stays random, for the log."""
        random = f'; left random: {", ".join(sorted(self.random))}' if self.random else ''
        return f'{len(self.loaded)} tensors from {file}{random}'

    def problems(self) -> str:
        """What is off, in one phrase; empty if nothing is."""
        phrases = {
            f'{len(self.wrong)} of another size ({some(self.wrong)})': self.wrong,
            f'{len(self.odd)} of another type ({some(self.odd)})': self.odd,
            f'{len(self.missing)} missing ({some(self.missing)})': self.missing,
            f'{len(self.extra)} unknown ({some(self.extra)})': self.extra,
        }
        return ', '.join(phrase for phrase, names in phrases.items() if names)


def compare(
    own: Mapping[str, Tensor],
    state: Mapping[str, Tensor],
    may_miss: Iterable[str] = (),
    may_ignore: Iterable[str] = (),
) -> Fit:
    """Names and shapes of a module's state dict ``own`` beside those of ``state``.

    Args:
        own, state: under the module's own names; meta tensors are fine.
        may_miss: patterns (``fnmatch``) of names that ``state`` need not have.
        may_ignore: patterns of names that ``own`` need not have.
    """
    lacking = [name for name in own if name not in state]
    return Fit(
        loaded=tuple(name for name in own if name in state),
        random=tuple(name for name in lacking if fits(name, may_miss)),
        missing=tuple(name for name in lacking if not fits(name, may_miss)),
        extra=tuple(
            name for name in state
            if name not in own and not fits(name, may_ignore) and not _is_twin(name, own, state)
        ),
        wrong=tuple(
            f'{name} is {_shape(state[name])}, expected {_shape(own[name])}'
            for name in own
            if name in state and state[name].shape != own[name].shape
        ),
        odd=tuple(
            f'{name} is {_type(state[name])}, expected {_type(own[name])}'
            for name in own
            if name in state and _other_numbers(state[name], own[name])
        ),
    )


def _is_twin(name: str, own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> bool:
    """Whether it is the second name of a tensor, whose part of the module another one got in
    training, as the decoder of mmdet's DDQ gets branches of its head."""
    tensor, end = state[name], name.partition('.')[2]
    twins = (state[n] for n in own if end and n.partition('.')[2] == end and n in state)
    return any(
        not tensor.is_meta and twin.dtype == tensor.dtype and torch.equal(twin, tensor)
        for twin in twins
    )


def load_verified(
    module: nn.Module,
    state: Mapping[str, Tensor],
    weights: Weights,
    *,
    purpose: str,
    may_miss: Iterable[str] = (),
    may_ignore: Iterable[str] = (),
    advice: str = '',
    untrained: bool = False,
) -> Fit:
    """Load ``state`` into ``module`` unless a name or shape is off.

    Args:
        module: gets the tensors; its dtype and device stay. On the meta device it is only compared.
        state: tensors of the file ``weights`` under the module's own names.
        purpose: what the module is for, e.g. ``'stage-1 teacher'``.
        may_miss, may_ignore: see :func:`compare`.
        advice: what the reader should do instead; ends the message.
        untrained: admit weights that are all zero, as some layers start.

    Raises:
        CheckpointError: naming the file, what it is, and the first names that are off: missing,
            unknown, of another shape or type of numbers, or with values that no training leaves.
    """
    own = module.state_dict()
    fit = compare(own, state, may_miss, may_ignore)
    problems = fit.problems()
    if problems:
        raise CheckpointError(
            f'{weights.name} cannot serve as {purpose}: it is {describe(weights.state)}; '
            f'parameters: {problems}.' + (f' {advice}' if advice else '')
        )
    taken = {name: state[name] for name in fit.loaded}
    if broken := defects(taken, zeros=not untrained):
        raise CheckpointError(
            f'{weights.name} cannot serve as {purpose}: its tensors are {len(broken)} broken '
            f'({some(broken)}); take an earlier checkpoint of its training, or fetch the file again'
        )
    if not is_outline(module):
        for note in weights.notes:
            print_log(f'{weights.name}: {note}', logger='current')
        if unsure := doubt(weights):
            level = logging.INFO if has_square_grid(weights) else logging.WARNING
            print_log(unsure, logger='current', level=level)
        module.load_state_dict(taken, strict=False)
    return fit


def is_outline(module: nn.Module) -> bool:
    """True for a module that was built on the meta device, to be compared and not used."""
    return any(parameter.is_meta for parameter in module.parameters())


def _shape(tensor: Tensor) -> str:
    return 'x'.join(map(str, tensor.shape)) or 'scalar'


def _type(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix('torch.')


def _other_numbers(theirs: Tensor, own: Tensor) -> bool:
    """Whether copying would change what the numbers are: integers, bools, complex to floats."""
    if own.is_floating_point():
        return not theirs.is_floating_point()
    return theirs.is_complex() and not own.is_complex()
