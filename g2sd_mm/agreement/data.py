"""One order of classes for all data of a run: by name where that is possible, else refused.

The order is that of the weights where those say it, else of the config's ``classes``, else of the
training data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from mmengine.config import Config

from ..config.parts import LOADERS
from ..errors import UserError
from ..text import some
from .data_names import DataNames, Labels, names_of
from .names import BY_POSITION, Names, comparable, difference

TRAINING = LOADERS[0]


@dataclass(frozen=True)
class Classes:
    """The classes of a run: ``names`` by number, and ``notes`` for its log, a line each."""

    names: Names
    notes: tuple[str, ...] = ()


def agree_on_classes(
    cfg: Config, loaders: Sequence[str], wanted: Sequence[str] = (), source: str = ''
) -> Classes:
    """Let the labels of all data follow one order of names, in place.

    Class folders and annotations with names are asked for that order. Data whose labels are mere
    numbers must have it already.

    Args:
        cfg: loaded config; ``classes_by_position=True`` in it asks nothing of names.
        loaders: names of the data loaders that will be used.
        wanted: names by number that weights were trained with; empty if those do not say.
        source: what gives ``wanted``, for messages.

    Raises:
        UserError: with both lists and the first difference, and what to do.
    """
    parts = {loader: names_of(cfg, loader) for loader in loaders}
    wanted, given = tuple(wanted), tuple(cfg.get('classes') or ())
    if not wanted and given:
        wanted, source = given, 'the config'
    elif not wanted:
        named = (part for part in chain.from_iterable(parts.values()) if part.order)
        first = next(named, None)
        wanted, source = (first.order, first.place) if first else ((), '')
    notes = [
        note
        for loader, found in parts.items()
        for part in found
        if (note := _agree(cfg, part, loader == TRAINING, wanted, source))
    ]
    return Classes(wanted, tuple(dict.fromkeys(notes)))


def _agree(cfg: Config, part: DataNames, training: bool, wanted: Names, source: str) -> str:
    """Fit one data set to the order, in place; returns a line for the log, or nothing."""
    if not part.names or not wanted:
        return f'{part.place}: its classes have no names, so labels count by number alone'
    lacking = [name for name in wanted if name not in part.names]
    if part.order == wanted and not (training and lacking):
        return _lacking(part, lacking, wanted)
    if not comparable(part.names, wanted):
        return (
            f'{part.place} calls its classes by WordNet numbers or in words, {source} in the other '
            'way: labels count by number alone'
        )
    differs = difference(part.names, wanted, (part.place, source))
    if cfg.get(BY_POSITION) and len(part.names) == len(wanted):
        if part.labels is Labels.BY_FOLDER:
            _ask_for(part, wanted, by_position=True)
        return f'{BY_POSITION}: {differs}'
    by_folder = part.labels is Labels.BY_FOLDER
    unknown = any(name not in wanted for name in part.names)
    incomplete = bool(lacking) and (training or not by_folder)
    if unknown or incomplete or part.labels is Labels.BY_NUMBER:
        raise UserError(f'{differs}. {_remedy(part, unknown)}')
    _ask_for(part, wanted)
    if lacking:
        return _lacking(part, lacking, wanted)
    return f'{part.place} has the classes in another order than {source}: labels follow the names'


def _ask_for(part: DataNames, wanted: Names, **more: bool) -> None:
    part.dataset['metainfo'] = {
        **(part.dataset.get('metainfo') or {}), 'classes': wanted, **more
    }
    part.dataset.pop('classes', None)  # another name of the same


def _lacking(part: DataNames, lacking: Sequence[str], wanted: Names) -> str:
    if not lacking:
        return ''
    return (
        f'{part.place} has no folder for {len(lacking)} of {len(wanted)} classes '
        f'({some(lacking, 5)}): labels follow the names of the folders'
    )


def _remedy(part: DataNames, unknown: bool) -> str:
    position = f'if only the names differ, --cfg-options {BY_POSITION}=True'
    if part.labels is Labels.BY_FOLDER and not unknown:
        return 'Add the missing class folders with their images'
    if part.labels is Labels.BY_FOLDER:
        return f'Give the class folders the same names, or, {position}'
    if part.labels is Labels.BY_NAME:
        return 'Give both the same classes, by classes=(...) in the config, or other data'
    return f'Number the labels alike, or, {position}'
