"""Data of one's own in the place of Shapes: folders recognised by how they are laid out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..data_checks.coco_file import read_coco, refuse_malformed
from ..data_checks.masks import IGNORED
from ..errors import DataError, UserError
from .suites import Step, Suite

LAYOUTS = (
    'classification: {train,val}/<class>/<image>; '
    'detection: train*/ and val*/ with [annotations/]instances_<folder>.json; '
    'segmentation: {images,annotations}/{train*,val*}/ with masks as PNG of the same names'
)
_IMAGES = ('.jpg', '.jpeg', '.png', '.bmp')
CROP, SCENE = 56, 128  # px, as the mini configs have them


@dataclass(frozen=True)
class Source:
    """One folder of data.

    task: cls, det or seg.
    train: folder of its training images, which pre-training reads without labels.
    options: config entries that make a config of the task read it.
    """

    task: str
    root: Path
    train: Path
    options: dict[str, Any]


@dataclass(frozen=True)
class OwnData:
    """Folders for some of the tasks; at most one for each.

    name: of the first folder, for file names.
    fingerprint: of names and sizes of all files; it stands for the paths in digests.
    """

    sources: tuple[Source, ...]
    name: str
    fingerprint: str

    @property
    def tasks(self) -> list[str]:
        """Tasks that there are data for."""
        return [source.task for source in self.sources]

    def hide(self, text: str) -> str:
        """``text`` with the fingerprint for every path: the same data elsewhere are the same."""
        for source in self.sources:
            text = text.replace(str(source.root), f'{self.fingerprint}/{source.task}')
        return text

    def apply(self, suite: Suite) -> Suite:
        """The suite's steps and rows of these tasks, on these data.

        Pre-training reads the images of classification, or of the first folder without one.
        """
        by_task = {source.task: source for source in self.sources}
        pictures = by_task.get('cls', self.sources[0])
        rows = tuple(row for row in suite.rows if row.task in by_task)
        tasks = {name: row.task for row in rows for name in [row.step]}

        def change(step: Step) -> Step:
            source = by_task.get(tasks.get(step.name, ''))
            own = source.options if source else _pre_training(pictures)
            return replace(step, options={**step.options, **own})

        return replace(suite, rows=rows).on_own_test_data().with_steps(change)


def find_data(folders: Sequence[str]) -> OwnData:
    """Recognise folders by their layout.

    Raises:
        UserError: for a folder that is none of :data:`LAYOUTS`, or two of the same task.
    """
    sources = [_recognise(Path(folder).absolute()) for folder in folders]
    tasks = [source.task for source in sources]
    twice = next((task for task in tasks if tasks.count(task) > 1), None)
    if twice:
        raise UserError(f'--data-root has more than one folder for {twice}')
    digest = hashlib.sha256()
    for source in sources:
        for path in sorted(p for p in source.root.rglob('*') if p.is_file()):
            digest.update(f'{path.relative_to(source.root)} {path.stat().st_size}\n'.encode())
    name = Path(folders[0]).absolute().name
    return OwnData(tuple(sources), name, digest.hexdigest()[:16])


def _recognise(root: Path) -> Source:
    if not root.is_dir():
        raise UserError(f'--data-root {root}: no such folder')
    for reader in (_coco, _masks, _image_folder):
        source = reader(root)
        if source:
            return source
    raise UserError(f'--data-root {root} is laid out as none of: {LAYOUTS}')


def _split(root: Path, name: str) -> str | None:
    """The sub-folder of a split, e.g. ``train2017`` of ``train``."""
    found = sorted(path.name for path in root.glob(f'{name}*') if path.is_dir())
    return found[0] if found else None


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
    return Source('cls', root, splits[0], options)


def _coco(root: Path) -> Source | None:
    splits = [split for name in ('train', 'val') if (split := _split(root, name))]
    files = [f for split in splits for f in list(root.glob(f'**/instances_{split}.json'))[:1]]
    if len(files) < 2:
        return None
    content = read_coco(files[0])
    refuse_malformed(content, files[0])
    classes = tuple(c['name'] for c in sorted(content['categories'], key=lambda c: c['id']))
    options: dict[str, Any] = {'shapes': None, 'classes': classes}
    for place, split, file in zip(
        ('train_dataloader.dataset.dataset', 'val_dataloader.dataset', 'test_dataloader.dataset'),
        (splits[0], splits[1], splits[1]),
        (files[0], files[1], files[1]),
        strict=True,
    ):
        options |= {
            f'{place}.data_root': f'{root}/',
            f'{place}.ann_file': str(file.relative_to(root)),
            f'{place}.data_prefix.img': f'{split}/',
        }
    options |= {f'{name}_evaluator.ann_file': str(files[1]) for name in ('val', 'test')}
    return Source('det', root, root / splits[0], options)


def _masks(root: Path) -> Source | None:
    splits = [split for name in ('train', 'val') if (split := _split(root / 'images', name))]
    masks = [root / 'annotations' / split for split in splits]
    if len(splits) < 2 or not all(folder.is_dir() for folder in masks):
        return None
    images = sorted((root / 'images' / splits[0]).iterdir())
    endings = {path.suffix for path in images if path.suffix.lower() in _IMAGES}
    if len(endings) != 1:
        raise UserError(f'{root}/images/{splits[0]}: images of one kind, not {sorted(endings)}')
    load, annotate = dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')
    number = _mask_classes(root / 'annotations')
    check, pack = dict(type='CheckMasks', num_classes=number), dict(type='PackSegInputs')
    options: dict[str, Any] = {
        'shapes': None,
        'classes': tuple(f'class {i}' for i in range(number)),
    }
    # resized before the annotations are loaded: scores are counted at the size of the original
    testing = [load, dict(type='Resize', scale=(SCENE, SCENE)), annotate, check, pack]
    for loader, split in (('train', splits[0]), ('val', splits[1]), ('test', splits[1])):
        place = f'{loader}_dataloader.dataset' + ('.dataset' if loader == 'train' else '')
        options |= {
            f'{place}.data_root': str(root),
            f'{place}.data_prefix.img_path': f'images/{split}',
            f'{place}.data_prefix.seg_map_path': f'annotations/{split}',
            f'{place}.img_suffix': endings.copy().pop(),
        }
        if loader != 'train':
            options[f'{place}.pipeline'] = testing
            options[f'{loader}_dataloader.batch_size'] = 1  # pictures of many sizes
    return Source('seg', root, root / 'images' / splits[0], options)


def _mask_classes(folder: Path) -> int:
    """The largest class number of all masks, plus 1."""
    largest = -1
    for path in sorted(folder.rglob('*.png')):
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
