"""Where the arguments of a loss come from: taps, teachers' answers, fields of the batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..engine.tensors import tensors_in
from ..errors import ConfigError
from .several import listed

#: A place that a loss argument may come from if it comes from no other: it is None then.
NOTHING = 'nothing'
#: Entries of a loss in a config that are not arguments of its class.
LOSS_OPTIONS = ('tap', 'inputs', 'warmup')


def loss_inputs(tap: str | None, inputs: Mapping[str, Any], needs_view: bool) -> dict[str, Any]:
    """Argument of a loss -> where it comes from, see :func:`look_up`."""
    both = {'student': f'student.{tap}', 'teacher': f'teacher.{tap}'} if tap else {}
    return {**both, **({'view': 'batch.view'} if needs_view else {}), **inputs}


def look_up(
    place: str | Sequence[str], sources: Mapping[str, Mapping], data_samples: Sequence | None
) -> Any:
    """A loss argument: ``student.TAP``, ``teacher.TAP``, ``batch.FIELD``, or the first of several.

    ``batch.view`` is the masking of both networks. A teacher that answers with features has
    ``teacher.cls``, ``teacher.patches`` and ``teacher.tokens``, which are both of them. Of several
    teachers it is ``teacher.NAME.TAP``.

    Raises:
        KeyError: if no tap or field of that name is there.
    """
    places = [place] if isinstance(place, str) else list(place)
    for candidate in places:
        side, _, name = candidate.partition('.')
        if candidate == NOTHING:
            return None
        if name in sources.get(side, ()):
            return sources[side][name]
        prefix, _, last = name.rpartition('tokens')
        if side == 'teacher' and not last and f'{prefix}features' in sources[side]:
            return sources[side][f'{prefix}features'].tokens
        if side == 'batch':
            values = [sample.get(name) for sample in data_samples or ()]
            if values and all(value is not None for value in values):
                stacked = torch.stack(values)
                return stacked.squeeze(1) if stacked.shape[1:] == (1,) else stacked
    raise KeyError(
        f'no {" or ".join(places)} for a distillation loss: there are student taps '
        f'{list(sources["student"])}, teacher taps {list(sources["teacher"])}, and batch.FIELD'
    )


def student_tensors(inputs: Mapping[str, Any], student: Mapping[str, Any]) -> list[Tensor]:
    """Tensors of the student's records that a loss with these inputs is given."""
    places = [place.partition('.') for place in listed(inputs.values())]
    return [
        tensor
        for side, _, tap in places
        if side == 'student' and tap in student
        for tensor in tensors_in(student[tap])
    ]


def check_trained(losses: Mapping[str, Mapping[str, Any]], heard: Mapping[str, Any]) -> None:
    """Refuse a loss that hears the student only where no gradient passes.

    Args:
        losses: name -> inputs, see :func:`loss_inputs`.
        heard: the student's records by tap, before any adapter.

    Raises:
        ConfigError: naming the loss.
    """
    for name, inputs in losses.items():
        tensors = student_tensors(inputs, heard)
        if tensors and not any(tensor.requires_grad for tensor in tensors):
            raise ConfigError(
                f'distillation.losses.{name} trains nothing of the student: what its taps hear is '
                'frozen or detached; tap a module that trains, or leave the loss out'
            )
