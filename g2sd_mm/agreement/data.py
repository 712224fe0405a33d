"""One order of classes for all data of a run: by name where that is possible, else refused.

The order is that of the weights where those say it, else of the config's ``classes``, else of the
training data.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import chain
from typing import Any

from mmengine import fileio
from mmengine.config import Config, ConfigDict
from mmengine.fileio import list_from_file
from mmengine.registry import DATASETS

from ..config.parts import LOADERS, innermost_datasets
from ..errors import UserError
from ..text import some
from .inputs import Inputs

Names = tuple[str, ...]

#: The option that says that labels of the same number mean the same, whatever they are called.
BY_POSITION = 'classes_by_position'
_SHOWN = 8
_WORDNET = re.compile(r'n\d{8}')
_CONTROL = re.compile(r'[\x00-\x1f\x7f-\x9f]')


def clean_names(value: Any) -> Names:
    """Class names that a file gives, without control characters; empty if it gives none."""
    if not isinstance(value, (list, tuple)) or not all(isinstance(name, str) for name in value):
        return ()
    return tuple(_CONTROL.sub('?', name) for name in value)


def comparable(first: Sequence[str], second: Sequence[str]) -> bool:
    """Whether both name classes in one language: WordNet numbers and words do not."""
    return bool(first and second) and _are_numbers(first) == _are_numbers(second)


def _are_numbers(names: Sequence[str]) -> bool:
    return all(_WORDNET.fullmatch(name) for name in names)


def difference(first: Sequence[str], second: Sequence[str], what: tuple[str, str]) -> str:
    """Both lists and the first class in which they differ, in words; nothing if they are equal.

    Args:
        first, second: names by number.
        what: what each is of, such as ``('the weights', 'data/val')``.
    """
    if tuple(first) == tuple(second):
        return ''
    length = max(len(first), len(second))
    padded = [[*names, *[None] * (length - len(names))] for names in (first, second)]
    at = next(i for i, (a, b) in enumerate(zip(*padded, strict=True)) if a != b)
    shown = [f'{w} has {_listed(names)}' for w, names in zip(what, (first, second), strict=True)]
    said = [repr(names[at]) if names[at] is not None else 'missing' for names in padded]
    return f'{shown[0]}; {shown[1]}; the first difference: class {at} is {said[0]} and {said[1]}'


def _listed(names: Sequence[str]) -> str:
    return f'{len(names)} classes ({some(names, _SHOWN)})' if names else 'no classes'


#: Data sets whose labels are the numbers of an ``ann_file`` or of class folders.
_FOLDERS = 'CustomDataset'


class Labels(Enum):
    """What decides the number of a label."""

    BY_FOLDER = 'class folders: any order of their names can be asked for'
    BY_NAME = 'names in the annotations: any order can be asked for'
    BY_NUMBER = 'numbers in the data, which stay as they are'


@dataclass(frozen=True)
class DataNames:
    """The classes of one data set.

    dataset: its config.
    place: where its images are, for messages.
    labels: what decides the number of a label.
    names: those that are there, empty if nothing tells them.
    order: names by number, as the config is.
    """

    dataset: ConfigDict
    place: str
    labels: Labels
    names: Names
    order: Names


def names_of(cfg: Config, loader: str) -> list[DataNames]:
    """The classes of every data set of a loader; of those without labels, nothing.

    Args:
        cfg: loaded config.
        loader: name of the data loader.
    """
    if not cfg.get(loader):
        return []
    found = [_names(cfg, dataset) for dataset in innermost_datasets(cfg[loader].dataset)]
    return [names for names in found if names is not None]


def _names(cfg: Config, dataset: ConfigDict) -> DataNames | None:
    if not dataset.get('with_label', True) or _of_depth(dataset):
        return None
    scope = dataset.get('_scope_') or cfg.get('default_scope')
    kind = dataset.get('type')
    if isinstance(kind, str):
        with DATASETS.switch_scope_and_registry(scope) as registry:
            kind = registry.get(kind)
    module = getattr(kind, '__module__', '')
    fixed = clean_names((getattr(kind, 'METAINFO', None) or {}).get('classes'))
    given = _given((dataset.get('metainfo') or {}).get('classes') or dataset.get('classes'))
    place = _place(dataset)
    if getattr(kind, '__name__', '') == _FOLDERS and not dataset.get('ann_file'):
        found = _folders(place)
        return DataNames(dataset, place, Labels.BY_FOLDER, found, given or found)
    if dataset.get('numbering'):  # of a variant of ImageNet, the folder that numbers its classes
        found = _folders(str(dataset['numbering']))
        return DataNames(dataset, place, Labels.BY_NUMBER, found, found)
    # mmdet's look categories up by name; mmseg's map the labels that their class lists
    mapped = module.startswith(('mmdet.', 'g2sd_mm.datasets.coco')) or (
        bool(fixed) and module.startswith('mmseg.')
    )
    if mapped and fixed and module.startswith('mmseg.') and not set(given) <= set(fixed):
        strange = next(name for name in given if name not in fixed)
        raise UserError(
            f'{place}: {kind.__name__} maps the labels of its own {len(fixed)} classes, and '
            f"{strange!r} is none of them: set type='BaseSegDataset' and reduce_zero_label=False"
        )
    labels = Labels.BY_NAME if mapped else Labels.BY_NUMBER
    return DataNames(dataset, place, labels, given or fixed, given or fixed)


def _of_depth(dataset: Mapping[str, Any]) -> bool:
    """Depth is measured: it has no classes, though mmseg's ``NYUDataset`` names the rooms."""
    prefix = dataset.get('data_prefix')
    return isinstance(prefix, Mapping) and 'depth_map_path' in prefix


def _given(classes: Any) -> Names:
    """Names that a config gives, as a list or as a file with one name a line."""
    if isinstance(classes, str):
        classes = list_from_file(classes) if fileio.isfile(classes) else None
    return clean_names(classes)


def _place(dataset: Mapping[str, Any]) -> str:
    root, prefix = str(dataset.get('data_root') or ''), dataset.get('data_prefix') or ''
    if isinstance(prefix, Mapping):
        prefix = prefix.get('img_path') or prefix.get('img') or ''
    file = dataset.get('ann_file')
    inside = file if isinstance(file, str) and file else str(prefix)
    return fileio.join_path(root, inside) if root and inside else root or inside or '.'


def _folders(place: str) -> Names:
    if not fileio.isdir(place):
        return ()
    return tuple(sorted(fileio.list_dir_or_file(place, list_file=False)))


TRAINING = LOADERS[0]


@dataclass(frozen=True)
class Agreement:
    """What weights, config and data have in common.

    classes: names by number; empty if nobody says.
    notes: lines for the log: what is unknown, and what was matched by name.
    inputs: the images that the weights were trained on, as far as they or the config say.
    """

    classes: Names = ()
    notes: tuple[str, ...] = ()
    inputs: Inputs = field(default_factory=Inputs)


def agree_on_classes(
    cfg: Config, loaders: Sequence[str], wanted: Sequence[str] = (), source: str = ''
) -> Agreement:
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
    return Agreement(wanted, tuple(dict.fromkeys(notes)))


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


def class_names(cfg: Config) -> tuple[str, ...]:
    """Names of the classes that a config's test data have; empty if nothing tells them.

    From ``metainfo`` in the config, else from the data set's class, else from the class folders.
    A config without test data has those of validation or training.
    """
    for loader in reversed(LOADERS):
        if found := names_of(cfg, loader):
            return found[0].order
    return ()
