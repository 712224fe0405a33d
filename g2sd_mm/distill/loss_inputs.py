"""Where the arguments of a loss come from: taps, teachers' answers, fields of the batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..engine.tensors import tensors_in
from ..errors import ConfigError, UserError
from ..precision import full
from .losses.alignment import as_patches
from .several import listed

#: What a teacher of features answers, by the names that losses take it.
_ANSWERS = ('tokens', 'cls', 'patches')
#: A place that a loss argument may come from if it comes from no other: it is None then.
NOTHING = 'nothing'
#: First of a loss's places: what comes from the next is a tap's, and may be patches.
MAP = 'map'
#: Entries of a loss in a config that are not arguments of its class.
LOSS_OPTIONS = ('tap', 'inputs', 'warmup')


def loss_inputs(tap: str | None, inputs: Mapping[str, Any], needs_view: bool) -> dict[str, Any]:
    """Argument of a loss -> where it comes from, see :func:`look_up`."""
    both = {'student': f'student.{tap}', 'teacher': f'teacher.{tap}'} if tap else {}
    return {**both, **({'view': 'batch.view'} if needs_view else {}), **inputs}


def with_features(
    places: Mapping[str, Any], name: str | None, taps: Iterable[str]
) -> dict[str, Any]:
    """Inputs of a loss that puts tokens in order itself: a teacher's features with the view.

    Args:
        places: see :func:`loss_inputs`.
        name: of the loss's teacher, or None.
        taps: names of those that hear that teacher.
    """
    place = places.get('teacher')
    prefix = f'teacher.{name}.' if name else 'teacher.'
    if name is None or not isinstance(place, str):
        return dict(places)
    asked = place.removeprefix(prefix)
    if asked in taps:
        return {**places, 'teacher': [MAP, place]}
    if asked not in _ANSWERS:
        return dict(places)
    given = [f'{prefix}features', place] if asked == 'tokens' else place
    return {'view': ['batch.view', NOTHING], **places, 'teacher': given}


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


def argument(
    place: str | Sequence[str],
    sources: Mapping[str, Mapping],
    data_samples: Sequence | None,
    images: Tensor,
    part: bool = False,
) -> Any:
    """What :func:`look_up` finds, as the losses of a batch of these images take it: float32.

    ``part`` where the teacher sees a part of each image.
    """
    value = full(look_up(place, sources, data_samples))
    return as_patches(value, images, part) if place[0] == MAP else value


@contextmanager
def naming_loss(name: str, loss: nn.Module, given: Mapping[str, Any]) -> Iterator[None]:
    """Say which loss it is that cannot compute with what its taps heard.

    Raises:
        UserError: where one heard a list, of a module that runs several times or has several
            outputs, and the loss takes a tensor.
    """
    try:
        yield
    except (AttributeError, TypeError) as error:
        several = {
            side: f'{len(value)} outputs'
            for side, value in given.items()
            if isinstance(value, (list, tuple)) and not hasattr(value, '_fields')
        }
        if not several:
            raise
        heard = ', '.join(f'{side}: {number}' for side, number in several.items())
        raise UserError(
            f'distillation.losses.{name}: {type(loss).__name__} does not take what its taps hear '
            f'({heard}; {error}): tap a module with one output, such as a layer of that one, or '
            'take a loss of several, such as LayerwiseMSELoss'
        ) from error


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
