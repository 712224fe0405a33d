"""Where the arguments of a loss come from: taps, teachers' answers, fields of the batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

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
