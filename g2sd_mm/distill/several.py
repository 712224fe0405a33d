"""Several teachers at once: names in the config, which teacher a loss is of, and teacher dropping.

A tap ``tokens`` of the teacher called ``a`` is ``a.tokens``. The only teacher of a config has no
name, and its taps are called as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from ..errors import UserError
from ..models.masking import counter_noise, seeds_of

_SIDES = {'student', 'teacher'}
#: A stream of random numbers other than the masking's, which has the samples' seeds as they are.
_STREAM = 0x6A09E667F3BCC908


def check_names(names: Sequence[str]) -> None:
    """Raise UserError for names of teachers that taps could not begin with."""
    for name in names:
        if not name.isidentifier() or name in _SIDES:
            raise UserError(
                f'distillation.teachers has {name!r}: a teacher is called by letters, digits and '
                'underscores, other than student and teacher'
            )
    if not names:
        raise UserError('distillation.teachers is empty: give at least one, or teacher=dict(...)')


def flat(parts: Mapping[str, Any] | None, names: Sequence[str]) -> dict[str, Any]:
    """Taps or adapters by their dotted names: ``a=dict(tokens=...)`` is ``'a.tokens'`` too."""
    flattened: dict[str, Any] = {}
    for key, part in (parts or {}).items():
        nested = isinstance(part, Mapping) and 'type' not in part and not set(part) & _SIDES
        if key in names and nested:
            flattened |= {f'{key}.{inner}': value for inner, value in part.items()}
        else:
            flattened[key] = part
    return flattened


def owner(tap: str, names: Sequence[str]) -> tuple[str, str]:
    """The teacher's name, and the tap's without it.

    Raises:
        UserError: if there are several teachers and the tap names none of them.
    """
    if list(names) == ['']:
        return '', tap
    name, _, rest = tap.partition('.')
    if name not in names or not rest:
        raise UserError(
            f'distillation has {tap!r}, and its teachers are {", ".join(names)}: call it by one of '
            f'them, {names[0]}.{rest or tap}'
        )
    return name, rest


def listed(places: Iterable[str | Sequence[str]]) -> list[str]:
    """All places of a loss's inputs, each of which may be one or the first of several."""
    return [p for place in places for p in ([place] if isinstance(place, str) else place)]


def teacher_of_loss(loss: str, inputs: Mapping[str, Any], names: Sequence[str]) -> str | None:
    """The teacher that a loss compares with; None of a loss that asks none.

    Raises:
        UserError: if there are several.
    """
    places = listed(inputs.values())
    asked = [p.removeprefix('teacher.') for p in places if p.startswith('teacher.')]
    found = list(dict.fromkeys(owner(place, names)[0] for place in asked))
    if len(found) > 1:
        raise UserError(
            f'distillation.losses.{loss} compares with the teachers {" and ".join(found)}: give '
            'each a loss of its own'
        )
    return found[0] if found else None


class TeacherDrop:
    """Leaves teachers out of images by chance (after UNIC, 2024): at least one stays.

    Every teacher is asked, and counts for some images only. Which ones follows from the samples'
    seeds, so that a resumed run, or another number of processes, leaves out the same. Losses are
    divided by the share that stays, so their mean is that without dropping.

    Args:
        names: of the teachers.
        probability: of leaving out each, from 0 to below 1.
    """

    def __init__(self, names: Sequence[str], probability: float = 0.5) -> None:
        if not 0 <= probability < 1:
            raise UserError(
                f'distillation.teacher_drop.probability={probability} is not from 0 to below 1'
            )
        if len(names) < 2:
            raise UserError('distillation.teacher_drop is for several teachers: leave it out')
        self.names, self.probability = list(names), probability
        #: Probability that a teacher stays: by itself, or as the one of a draw that left out all.
        self.share = 1 - probability + probability ** len(names) / len(names)

    def of_images(self, number: int, data_samples: Sequence | None) -> dict[str, Tensor]:
        """Teacher -> numbers of the images that it counts for, int64, on the CPU."""
        seeds, width = seeds_of(data_samples), 1 + len(self.names)
        if seeds is None:
            noise = torch.rand(number, width)
        else:
            noise = counter_noise(seeds ^ _STREAM, width)
        return {
            name: kept.nonzero().flatten()
            for name, kept in zip(self.names, self._kept(noise).T, strict=True)
        }

    def _kept(self, noise: Tensor) -> Tensor:
        """Noise [B, 1 + T] -> bool [B, T]."""
        kept = noise[:, 1:] >= self.probability
        chosen = (noise[:, :1] * len(self.names)).long()
        only = torch.arange(len(self.names)) == chosen
        return torch.where(kept.any(dim=1, keepdim=True), kept, only)


def some_images(value: Any, images: Tensor, batch: int) -> Any:
    """The part of a batch [B, ...] in any nesting of lists, tuples and dicts.

    Args:
        value: tensors with one entry an image are cut; anything else stays as it is.
        images: their numbers, int64, on any device.
        batch: B.
    """

    def some(tensor: Tensor) -> Tensor:
        whole = tensor.ndim > 0 and len(tensor) == batch
        return tensor.index_select(0, images.to(tensor.device)) if whole else tensor

    return tree_map_only(Tensor, some, value)
