"""What the loaders of a config read, as the data checker takes it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope, init_default_scope

import g2sd_mm

from ..config.load import load_config
from ..config.parts import LOADERS, innermost_datasets
from ..data_checks import Source
from ..data_checks.class_folders import ClassFolders, ImageList
from ..data_checks.coco import CocoSplit
from ..data_checks.duplicates import TRAINING
from ..data_checks.image_masks import ImageMasks
from ..data_checks.masks import Labels
from ..errors import UserError
from ..runs.data import prepare_data


def sources_of(path: str, options: dict[str, Any] | None = None) -> list[Source]:
    """The splits that a config's loaders read, each place once.

    Raises:
        UserError: if the config has no data, or a data set of a kind that is not checked.
    """
    g2sd_mm.register_all()
    cfg = load_config(path, options)
    prepare_data(cfg, LOADERS)
    init_default_scope(cfg.default_scope)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        sources = {source.place: source for source in reversed(list(_sources(cfg)))}
    if not sources:
        raise UserError(f'{path} has no data loaders')
    return list(reversed(sources.values()))


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
    # built without reading, for the defaults and folders that the class itself knows
    made = DATASETS.build({**dataset, 'lazy_init': True, 'pipeline': []})
    prefix = made.data_prefix
    if hasattr(made, 'seg_map_suffix') and prefix.get('seg_map_path'):
        return ImageMasks(
            prefix['img_path'],
            prefix['seg_map_path'],
            split,
            Labels(_mask_classes(made, dataset), made.ignore_index, made.reduce_zero_label),
            (made.img_suffix,),
            made.seg_map_suffix,
        )
    if hasattr(made, 'COCOAPI'):
        return CocoSplit(made.ann_file, prefix['img'], split, made.metainfo.get('classes'))
    if hasattr(made, 'extensions'):
        folder = prefix['img_path'] or made.data_root
        if made.ann_file:
            return ImageList(made.ann_file, folder, split, made.with_label)
        return ClassFolders(folder, split, known if made.with_label else None, made.with_label)
    raise UserError(
        f'{split}: data sets of type {dataset["type"]} are not checked; checked are class folders, '
        'COCO annotations and masks'
    )


def _mask_classes(made: Any, dataset: dict[str, Any]) -> int | None:
    """As training checks them, else as many as the data set names."""
    steps = (step for step in dataset.get('pipeline') or () if step['type'] == 'CheckMasks')
    check = next(steps, None)
    return check['num_classes'] if check else len(made.metainfo.get('classes') or ()) or None
