"""What the loaders of a config read, as the data checker takes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from mmengine.config import Config
from mmengine.registry import init_default_scope

import g2sd_mm

from ..config.load import load_config
from ..config.parts import LOADERS, PACKED, innermost_datasets
from ..data_checks import Source
from ..data_checks.class_folders import ClassFolders, ImageList
from ..data_checks.coco import CocoSplit
from ..data_checks.configured import (
    CLASSES,
    MASKS,
    OBJECTS,
    kind_of,
    labels_of,
    outline,
    reading_of,
)
from ..data_checks.crops import crop_of_whole_image
from ..data_checks.duplicates import TRAINING
from ..data_checks.image_masks import ImageMasks
from ..errors import UserError
from ..runs.data import prepare_data
from ..text import some


def sources_of(path: str, options: dict[str, Any] | None = None) -> list[Source]:
    """The splits that a config's loaders read, each place once.

    Raises:
        UserError: if the config has no data, or data that are packed or of a kind that is not
            checked.
    """
    g2sd_mm.register_all()
    cfg = load_config(path, options)
    if packed := dict(chain.from_iterable(_packed(cfg.get(name), name) for name in LOADERS)):
        folders = ' '.join(f'{place}=FOLDER' for place in packed)
        raise UserError(
            f'{path} reads packed data ({some(list(dict.fromkeys(packed.values())))}), which are '
            f'not looked into: check the folder that was packed, --cfg-options {folders}'
        )
    prepare_data(cfg, LOADERS)
    init_default_scope(cfg.default_scope)
    sources = {source.place: source for source in reversed(list(_sources(cfg)))}
    if not sources:
        raise UserError(f'{path} has no data loaders')
    return list(reversed(sources.values()))


def _packed(value: Any, place: str) -> Iterator[tuple[str, str]]:
    """Dotted places of paths of packed data, with those paths."""
    if isinstance(value, str) and value.startswith(PACKED):
        yield place, value
    elif isinstance(value, (Mapping, list, tuple)):
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, item in items:
            yield from _packed(item, f'{place}.{key}')


def _sources(cfg: Config) -> Iterator[Source]:
    known = None
    for loader in LOADERS:
        if not cfg.get(loader):
            continue
        split = loader.removesuffix('_dataloader')
        for dataset in innermost_datasets(cfg[loader].dataset):
            source = _source(cfg, dataset, split, known)
            if split == TRAINING and isinstance(source, ClassFolders) and source.labelled:
                known = source.classes
            yield source


def _source(cfg: Config, dataset: dict[str, Any], split: str, known: Any) -> Source:
    made = outline(cfg, dataset)
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
        reading = reading_of(made, dataset, split == TRAINING, cfg.get(f'{split}_evaluator'))
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
        'COCO annotations and masks'
    )


def _in_batches_as_they_are(cfg: Config, dataset: Mapping[str, Any], split: str) -> bool:
    """Whether images of several sizes would meet in a batch: mmseg pads them in training alone."""
    steps = [str(step.get('type', '')) for step in dataset.get('pipeline') or ()]
    resized = any('Resize' in step or 'Crop' in step for step in steps)
    return split != TRAINING and not resized and cfg[f'{split}_dataloader'].get('batch_size', 1) > 1
