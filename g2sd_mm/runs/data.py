"""The data of a config: are they there and laid out as it expects, and what is there to check?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from mmengine import fileio
from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope

import g2sd_mm

from ..agreement.data import TRAINING
from ..config.load import load_config
from ..config.parts import LOADERS, PACKED, all_datasets, data_folder, entries, innermost_datasets
from ..data_checks import Source
from ..data_checks.before_training import (
    CLASSES,
    MASKS,
    OBJECTS,
    choose_boxes_or_masks,
    kind_of,
    labels_of,
    outline,
    reading_of,
)
from ..data_checks.class_folders import ClassFolders, ImageList, crop_of_whole_image
from ..data_checks.coco import CocoSplit
from ..data_checks.image_masks import ImageMasks
from ..data_checks.source import TRAINING as TRAINED
from ..datasets.shapes import ensure_shapes
from ..errors import DataError, UserError
from ..text import one_line, some
from ..unexpected import UNFIT

#: (library, data set that holds others) -> what it lacks for it.
_NOT_UPSTREAM = {
    ('mmseg', 'ClassBalancedDataset'): "mmseg's data sets do not say the classes of an image",
    ('mmpretrain', 'MultiImageMixDataset'): 'mmpretrain has no such data set',
}


def prepare_data(cfg: Config, loaders: tuple[str, ...]) -> list[str]:
    """Generate the embedded data if the config uses it, check that all data are there, and fit a
    detector to boxes without masks.

    Args:
        cfg: with ``shapes=dict(...)`` for generated data and ``data_layout`` for the message.
        loaders: names of the data loaders that will be used.

    Returns:
        lines for the log.

    Raises:
        DataError: if some objects have masks and some have none.
        UserError: naming the folder that is missing and how to lay the data out, or the number of
            training class folders if it is not the config's, or the entry that describes no data.
    """
    find_data(cfg, loaders)
    finding = choose_boxes_or_masks(cfg, loaders)
    if finding is not None and finding.harmful:
        raise DataError(finding.line)
    return [finding.line] if finding is not None else []


def find_data(cfg: Config, loaders: tuple[str, ...]) -> None:
    """The part of :func:`prepare_data` that looks into no annotation."""
    try:
        if cfg.get('shapes'):
            ensure_shapes(Path(data_folder()) / 'shapes', **cfg.shapes)
        for name in filter(cfg.get, loaders):
            _check_wrappers(cfg, name)
            for dataset in innermost_datasets(cfg[name].dataset):
                _check_dataset(dataset, cfg, name == TRAINING)
    except UserError:
        raise
    except UNFIT as error:
        entries = ', '.join(name for name in ('shapes', 'data_layout', *loaders) if cfg.get(name))
        raise UserError(
            f'the config describes no data in {entries}: {one_line(error)}'
        ) from error


def _check_wrappers(cfg: Config, loader: str) -> None:
    for part in all_datasets(cfg[loader].dataset):
        lacking = _NOT_UPSTREAM.get((str(cfg.get('default_scope')), str(part.get('type'))))
        if lacking:
            raise UserError(f'{loader}: {part.type} cannot be used here, {lacking}')


def _check_dataset(dataset: ConfigDict, cfg: Config, trained: bool) -> None:
    root = str(dataset.get('data_root') or '.')
    if not fileio.isdir(root):
        layout, folder = cfg.get('data_layout', root), Path(root)
        data = Path(data_folder())
        inside = folder.relative_to(data).parts if folder.is_relative_to(data) else ()
        raise UserError(
            f'no data at {root}: lay it out as {layout}'
            + (f', or point G2SD_DATA at the folder that holds {inside[0]}' if inside else '')
        )
    if dataset.get('type') == 'CustomDataset' and dataset.get('with_label', True):
        _check_classes(root, dataset, cfg, trained)


def _check_classes(root: str, dataset: ConfigDict, cfg: Config, trained: bool) -> None:
    if dataset.get('ann_file'):
        return  # classes come from a list, not from folders
    prefix = dataset.get('data_prefix') or ''
    prefix = prefix if isinstance(prefix, str) else prefix.get('img_path', '')
    root = fileio.join_path(root, prefix) if prefix else root
    if not fileio.isdir(root):
        raise UserError(f'no data at {root}')
    if not trained:
        return  # labels follow the names of the training data, or of the weights
    found = sum(1 for _ in fileio.list_dir_or_file(root, list_file=False))
    expected = cfg.get('num_classes')
    if expected and found != expected:
        raise UserError(
            f'{root} has {found} class folders and the config num_classes={expected}: '
            f'add --cfg-options num_classes={found}'
        )


def sources_of(path: str, options: dict[str, Any] | None = None) -> list[Source]:
    """The splits that a config's loaders read, each place once.

    Raises:
        UserError: if the config has no data, or data that are packed or of a kind that is not
            checked.
    """
    g2sd_mm.register_all()
    cfg = load_config(path, options)
    if packed := _packed(cfg):
        folders = ' '.join(f'{place}=FOLDER' for place in packed)
        raise UserError(
            f'{path} reads packed data ({some(list(dict.fromkeys(packed.values())))}), which are '
            f'not looked into: check the folder that was packed, --cfg-options {folders}'
        )
    find_data(cfg, LOADERS)
    init_default_scope(cfg.default_scope)
    finding = choose_boxes_or_masks(cfg, LOADERS, keep=False)
    sources = {source.place: source for source in reversed(list(_sources(cfg)))}
    if not sources:
        raise UserError(f'{path} has no data loaders')
    first = next((source for source in sources.values() if isinstance(source, CocoSplit)), None)
    if first is not None and finding is not None:
        first.known.append(finding)
    return list(reversed(sources.values()))


def _packed(cfg: Config) -> dict[str, str]:
    """Dotted places of paths of packed data, with those paths."""
    found = chain.from_iterable(entries(cfg.get(name), name) for name in LOADERS)
    return {place: v for place, v in found if isinstance(v, str) and v.startswith(PACKED)}


def _sources(cfg: Config) -> Iterator[Source]:
    known = None
    for loader in LOADERS:
        if not cfg.get(loader):
            continue
        split = loader.removesuffix('_dataloader')
        for dataset in innermost_datasets(cfg[loader].dataset):
            source = _source(cfg, dataset, split, known)
            if split == TRAINED and isinstance(source, ClassFolders) and source.labelled:
                known = source.classes
            yield source


def _source(cfg: Config, dataset: dict[str, Any], split: str, known: Any) -> Source:
    made = outline(cfg, dataset)
    if hasattr(made, 'source'):  # it knows what of it is looked at
        return made.source(split, dataset)
    kind, prefix = kind_of(made), made.data_prefix
    crop = crop_of_whole_image(dataset.get('pipeline') or ())
    if kind == MASKS:
        listed = made.load_data_list() if made.ann_file else None
        return ImageMasks(
            prefix['img_path'],
            prefix['seg_map_path'],
            split,
            labels_of(made, dataset),
            (made.img_suffix,),
            made.seg_map_suffix,
            names=made.metainfo.get('classes'),
            pairs=listed and {entry['img_path']: entry['seg_map_path'] for entry in listed},
            one_size=_in_batches_as_they_are(cfg, dataset, split),
        )
    if kind == OBJECTS:
        reading = reading_of(made, dataset, split == TRAINED, cfg.get(f'{split}_evaluator'))
        return CocoSplit(made.ann_file, prefix['img'], split, reading)
    if kind == CLASSES:
        folder = prefix['img_path'] or made.data_root
        if made.ann_file:
            return ImageList(made.ann_file, folder, split, made.with_label, crop)
        return ClassFolders(
            folder,
            split,
            known if made.with_label else None,
            made.with_label,
            made.extensions,
            crop,
        )
    raise UserError(
        f'{split}: data sets of type {dataset["type"]} are not checked; checked are class folders, '
        'COCO annotations, masks and depth maps'
    )


def _in_batches_as_they_are(cfg: Config, dataset: Mapping[str, Any], split: str) -> bool:
    """Whether images of several sizes would meet in a batch: mmseg pads them in training alone."""
    steps = [str(step.get('type', '')) for step in dataset.get('pipeline') or ()]
    resized = any('Resize' in step or 'Crop' in step for step in steps)
    return split != TRAINED and not resized and cfg[f'{split}_dataloader'].get('batch_size', 1) > 1
