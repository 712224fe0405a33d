"""Data of one's own in the place of Shapes: folders recognised by how they are laid out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ...data_checks.coco_file import read_coco, refuse_malformed
from ...data_checks.masks import IGNORED
from ...errors import DataError, UserError
from ..logs import SHAPES
from .fingerprint import files_below, fingerprint
from .suites import Step, Suite

LAYOUTS = (
    'classification: {train,val}/<class>/<image>; '
    'detection: train*/ and val*/ with [annotations/]instances_<folder>.json; '
    'segmentation: {images,annotations}/{train*,val*}/ with masks as PNG of the same names'
)
_IMAGES = ('.jpg', '.jpeg', '.png', '.bmp')
# what mmpretrain takes for an image, which pre-training reads through
_READ = (*_IMAGES, '.ppm', '.pgm', '.tif')
CROP, SCENE = 56, 128  # px, as the mini configs have them
PRE_TRAINING = 'pre-training'


@dataclass(frozen=True)
class Source:
    """One folder of data.

    task: cls, det or seg.
    train: folder of its training images, which pre-training reads without labels.
    options: config entries that make a config of the task read it.
    fingerprint: of its files; it stands for the path in digests.
    sizes: folder of training data, as a config names it -> images that training finds in it.
    """

    task: str
    root: Path
    train: Path
    options: dict[str, Any]
    fingerprint: str
    sizes: Mapping[str, int]


@dataclass(frozen=True)
class OwnData:
    """Folders for some of the tasks; at most one for each.

    name: of the first folder, for file names.
    """

    sources: tuple[Source, ...]
    name: str

    @property
    def tasks(self) -> list[str]:
        """Tasks that there are data for."""
        return [source.task for source in self.sources]

    @property
    def pictures(self) -> Source:
        """What pre-training reads: the folder of classification, or the first without one."""
        return next((s for s in self.sources if s.task == 'cls'), self.sources[0])

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        """Of each task's data and what pre-training reads; they tell data of one name apart."""
        own = {source.task: source.fingerprint for source in self.sources}
        return {**own, PRE_TRAINING: self.pictures.fingerprint}

    def size(self, root: str) -> int | None:
        """Training images of a folder as configs name it; None if it is none of these."""
        sizes = {folder: n for source in self.sources for folder, n in source.sizes.items()}
        return sizes.get(root)

    def hide(self, content: Any) -> Any:
        """A config's content with fingerprints for paths: the same data elsewhere are the same."""
        if isinstance(content, dict):
            return {key: self.hide(value) for key, value in content.items()}
        if isinstance(content, (list, tuple)):
            return [self.hide(value) for value in content]
        if isinstance(content, str):
            # one folder may lie in another
            for source in sorted(self.sources, key=lambda s: len(str(s.root)), reverse=True):
                root = str(source.root)
                if content == root or content.startswith(f'{root}/'):
                    return f'{source.fingerprint}/{source.task}{content[len(root) :]}'
        return content

    def apply(self, suite: Suite) -> Suite:
        """The suite's steps and rows of these tasks, on these data."""
        by_task = {source.task: source for source in self.sources}
        rows = tuple(row for row in suite.rows if row.task in by_task)
        tasks = {name: row.task for row in rows for name in [row.step]}

        def change(step: Step) -> Step:
            source = by_task.get(tasks.get(step.name, ''))
            own = source.options if source else _pre_training(self.pictures)
            return replace(step, options={**step.options, **own})

        return replace(suite, rows=rows).on_own_test_data().with_steps(change)


def find_data(folders: Sequence[str]) -> OwnData:
    """Recognise folders by their layout.

    Raises:
        UserError: for a folder that is none of :data:`LAYOUTS` or several at once, two of the same
            task, or the name of the generated data.
    """
    # not resolved: a link may give a folder another name
    roots = [Path(os.path.abspath(folder)) for folder in folders]
    if roots[0].name.lower() == SHAPES:
        raise UserError(
            f'--data-root {folders[0]}: {SHAPES} is what files of results call the generated data; '
            'rename the folder, or give a link to it that has another name'
        )
    sources = [_recognise(root) for root in roots]
    tasks = [source.task for source in sources]
    twice = next((task for task in tasks if tasks.count(task) > 1), None)
    if twice:
        raise UserError(f'--data-root has more than one folder for {twice}')
    return OwnData(tuple(sources), roots[0].name)


def _recognise(root: Path) -> Source:
    if not root.is_dir():
        raise UserError(f'--data-root {root}: no such folder')
    for reader in (_coco, _masks, _image_folder):
        source = reader(root)
        if source:
            return source
    raise UserError(f'--data-root {root} is laid out as none of: {LAYOUTS}')


def _split(folder: Path, name: str, labels: Mapping[Path, Path]) -> Path | None:
    """The sub-folder of a split, e.g. ``train2017`` of ``train``.

    Args:
        folder: with the sub-folders.
        labels: sub-folder -> its labels; a sub-folder without is no split.
    """
    found = [split for split in labels if split.name.startswith(name)]
    if len(found) > 1:
        raise UserError(
            f'--data-root: {" and ".join(path.name for path in found)} in {folder} can both be '
            f'{name}: leave one, for example by links to what is wanted in a folder of its own'
        )
    return found[0] if found else None


def _folders(place: Path) -> list[Path]:
    return sorted(path for path in place.glob('*') if path.is_dir())


def _number(files: Iterable[Path], endings: tuple[str, ...] = _READ) -> int:
    return sum(path.name.lower().endswith(endings) for path in files)


def _image_folder(root: Path) -> Source | None:
    splits = [root / 'train', root / 'val']
    classes = [sorted(p.name for p in s.glob('*/')) if s.is_dir() else [] for s in splits]
    if not classes[0] or classes[0] != classes[1]:
        return None
    load, pack = dict(type='LoadImageFromFile'), dict(type='PackInputs')
    resized = dict(backend='pillow', interpolation='bicubic')
    # shapes fill their pictures; photographs are cropped less tightly than for ImageNet's 224 px
    crop = dict(type='RandomResizedCrop', scale=CROP, crop_ratio_range=(0.3, 1.0), **resized)
    flip = dict(type='RandomFlip', prob=0.5, direction='horizontal')
    edge = dict(type='ResizeEdge', scale=CROP * 8 // 7, edge='short', **resized)
    middle = dict(type='CenterCrop', crop_size=CROP)
    train = 'train_dataloader.dataset.dataset'
    options = {
        'shapes': None,
        'num_classes': len(classes[0]),
        f'{train}.data_root': str(splits[0]),
        f'{train}.pipeline': [load, crop, flip, pack],
    }
    for loader in ('val', 'test'):
        options |= {
            f'{loader}_dataloader.dataset.data_root': str(splits[1]),
            f'{loader}_dataloader.dataset.pipeline': [load, edge, middle, pack],
        }
    files = [list(files_below(split)) for split in splits]
    mark = fingerprint(root, [*files[0], *files[1]])
    return Source(
        'cls', root, splits[0], options, mark, {str(splits[0]): _number(files[0])}
    )


def _coco(root: Path) -> Source | None:
    splits = [path for path in _folders(root) if path.name.startswith(('train', 'val'))]
    labels = {split: file for split in splits if (file := _instances(root, split.name))}
    train, val = (_split(root, name, labels) for name in ('train', 'val'))
    if not train or not val:
        return None
    files = labels[train], labels[val]
    content = read_coco(files[0])
    refuse_malformed(content, files[0])
    classes = tuple(c['name'] for c in sorted(content['categories'], key=lambda c: c['id']))
    options: dict[str, Any] = {'shapes': None, 'classes': classes}
    for place, split, file in zip(
        ('train_dataloader.dataset.dataset', 'val_dataloader.dataset', 'test_dataloader.dataset'),
        (train.name, val.name, val.name),
        (files[0], files[1], files[1]),
        strict=True,
    ):
        options |= {
            f'{place}.data_root': f'{root}/',
            f'{place}.ann_file': str(file.relative_to(root)),
            f'{place}.data_prefix.img': f'{split}/',
        }
    options |= {f'{name}_evaluator.ann_file': str(files[1]) for name in ('val', 'test')}
    known = {image['id'] for image in content['images']}
    with_objects = known & {entry['image_id'] for entry in content['annotations']}
    pictures = list(files_below(train))
    mark = fingerprint(root, [*pictures, *files_below(val)], files)
    sizes = {f'{root}/': len(with_objects), str(train): _number(pictures)}
    return Source('det', root, train, options, mark, sizes)


def _instances(root: Path, split: str) -> Path | None:
    """The annotation file of a split: in ``root``, or in a folder there."""
    name = f'instances_{split}.json'
    found = [path for path in (root / name, *(f / name for f in _folders(root))) if path.is_file()]
    if len(found) > 1:
        raise UserError(
            f'--data-root: {" and ".join(map(str, found))} can both be the annotations of {split}: '
            'move one elsewhere'
        )
    return found[0] if found else None


def _masks(root: Path) -> Source | None:
    annotations = root / 'annotations'
    labels = {
        folder: annotations / folder.name
        for folder in _folders(root / 'images')
        if (annotations / folder.name).is_dir()
    }
    train, val = (_split(root / 'images', name, labels) for name in ('train', 'val'))
    if not train or not val:
        return None
    pictures = list(files_below(train))
    endings = {path.suffix for path in pictures if path.suffix.lower() in _IMAGES}
    if len(endings) != 1:
        raise UserError(f'{train}: images of one kind, not {sorted(endings)}')
    (ending,) = endings
    masks = [
        path
        for split in (train, val)
        for path in files_below(labels[split])
        if path.suffix == '.png'
    ]
    load, annotate = dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')
    number = _mask_classes(annotations, masks)
    check, pack = dict(type='CheckMasks', num_classes=number), dict(type='PackSegInputs')
    options: dict[str, Any] = {
        'shapes': None,
        'classes': tuple(f'class {i}' for i in range(number)),
    }
    # resized before the annotations are loaded: scores are counted at the size of the original
    testing = [load, dict(type='Resize', scale=(SCENE, SCENE)), annotate, check, pack]
    for loader, split in (('train', train.name), ('val', val.name), ('test', val.name)):
        place = f'{loader}_dataloader.dataset' + ('.dataset' if loader == 'train' else '')
        options |= {
            f'{place}.data_root': str(root),
            f'{place}.data_prefix.img_path': f'images/{split}',
            f'{place}.data_prefix.seg_map_path': f'annotations/{split}',
            f'{place}.img_suffix': ending,
        }
        if loader != 'train':
            options[f'{place}.pipeline'] = testing
            options[f'{loader}_dataloader.batch_size'] = 1  # pictures of many sizes
    mark = fingerprint(root, [*pictures, *files_below(val)], masks)
    sizes = {str(root): _number(pictures, (ending,)), str(train): _number(pictures)}
    return Source('seg', root, train, options, mark, sizes)


def _mask_classes(folder: Path, masks: Iterable[Path]) -> int:
    """The largest class number of all masks below a folder, plus 1."""
    largest = -1
    for path in masks:
        try:
            with Image.open(path) as mask:
                labels = np.unique(np.asarray(mask))
        except Exception as error:  # damaged data can make a decoder raise anything
            raise DataError(f'{path}: cannot be read as a mask ({error})') from error
        largest = max(largest, *(int(label) for label in labels if label != IGNORED), -1)
    if largest < 0:
        raise UserError(f'{folder} has no masks with a class in them')
    return largest + 1


def _pre_training(source: Source) -> dict[str, Any]:
    return {'shapes': None, 'train_dataloader.dataset.dataset.data_root': str(source.train)}
