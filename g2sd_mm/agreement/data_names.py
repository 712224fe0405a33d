"""What the classes of a data set are called, and whether its labels can follow other names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from mmengine import fileio
from mmengine.config import Config, ConfigDict
from mmengine.fileio import list_from_file
from mmengine.registry import DATASETS

from .names import Names, clean_names

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


def data_sets(dataset: Mapping[str, Any]) -> Iterator[Any]:
    """The data sets themselves, inside of what seeds, repeats, balances or joins them."""
    inner = dataset.get('dataset')
    if isinstance(inner, Mapping):
        yield from data_sets(inner)
    elif isinstance(dataset.get('datasets'), (list, tuple)):
        for part in dataset['datasets']:
            yield from data_sets(part)
    else:
        yield dataset


def names_of(cfg: Config, loader: str) -> list[DataNames]:
    """The classes of every data set of a loader; of those without labels, nothing.

    Args:
        cfg: loaded config.
        loader: name of the data loader.
    """
    if not cfg.get(loader):
        return []
    found = [_names(cfg, dataset) for dataset in data_sets(cfg[loader].dataset)]
    return [names for names in found if names is not None]


def _names(cfg: Config, dataset: ConfigDict) -> DataNames | None:
    if not dataset.get('with_label', True):
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
    labels = Labels.BY_NAME if mapped else Labels.BY_NUMBER
    return DataNames(dataset, place, labels, given or fixed, given or fixed)


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
