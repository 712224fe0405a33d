"""Data of one's own in the place of Shapes: folders recognised by how they are laid out.

What they are is known by a fingerprint: the same for the same data, wherever they lie.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ...data_checks.coco_file import categories_of, read_annotations
from ...data_checks.depth import ARRAY, PICTURE, DepthError, DepthReading, depth_numbers
from ...data_checks.findings import KINDS
from ...data_checks.masks import IGNORED
from ...data_layouts import LAYOUTS, Split, find_layout
from ...errors import DataError, UserError
from ...image_files import ENDINGS, files_below, folders_in, is_image
from ...provenance import file_digest
from ..logs import SHAPES
from .suites import Step, Suite

CROP, SCENE = 56, 128  # px, as the mini configs have them
PRE_TRAINING = 'pre-training'


def fingerprint(root: Path, images: Iterable[Path], labels: Iterable[Path] = ()) -> str:
    """Digest of files by their paths from ``root``, so that the folder can be moved.

    Images may be many and large, and are known by name and size. Labels are small, and a corrected
    one is often as large as before: they are known by what is in them.
    """
    digest = hashlib.sha256()
    for kind, paths in (('image', images), ('labels', labels)):
        for path in paths:
            known_by = file_digest(path) if kind == 'labels' else path.stat().st_size
            # fsencode: names need not be UTF-8
            digest.update(os.fsencode(f'{kind} {path.relative_to(root)} {known_by}\n'))
    return digest.hexdigest()[:16]


def difference(there: Mapping[str, str] | None, here: Mapping[str, str]) -> str:
    """What tells data of one name apart, in words; nothing if they are the same.

    Args:
        there: task -> fingerprint, as results have them; None where they have none.
        here: the same of the data at hand. What only one of the two has is no difference.
    """
    if there is None:
        return 'which it does not have the fingerprint of'
    other = [task for task in here if there.get(task, here[task]) != here[task]]
    return f'{other[0]} {there[other[0]]}, not {here[other[0]]}' if other else ''


@dataclass(frozen=True)
class Source:
    """One folder of data.

    task: cls, det, seg or depth.
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

        return replace(suite, rows=rows, on_request=()).on_own_test_data().with_steps(change)


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
            f'{folders[0]}: {SHAPES} is what files of results call the generated data; '
            'rename the folder, or give a link to it that has another name'
        )
    sources = [_recognise(root) for root in roots]
    tasks = [source.task for source in sources]
    twice = next((task for task in tasks if tasks.count(task) > 1), None)
    if twice:
        raise UserError(f'more than one folder for {twice}: give one of each task')
    return OwnData(tuple(sources), roots[0].name)


def _recognise(root: Path) -> Source:
    if not root.is_dir():
        raise UserError(f'{root}: no such folder')
    layout = find_layout(root)
    train, val = (layout.split(name) for name in ('train', 'val'))
    if train is None or val is None:
        raise UserError(
            f'{root} has {", ".join(split.name for split in layout.splits)} and no '
            f'{"train*" if train is None else "val*"}; it is laid out as none of: {LAYOUTS}'
        )
    readers = {'cls': _image_folder, 'det': _coco, 'seg': _masks, 'depth': _depths}
    return readers[layout.task](root, train, val)


def _number(files: Iterable[Path], endings: Sequence[str] = ENDINGS) -> int:
    return sum(is_image(path.name, endings) for path in files)


def _image_folder(root: Path, train_split: Split, val_split: Split) -> Source:
    splits = [train_split.images, val_split.images]
    classes = [[folder.name for folder in folders_in(split)] for split in splits]
    if not classes[0] or classes[0] != classes[1]:
        raise UserError(
            f'{root}: train and val need the same class folders; only one of them has '
            f'{", ".join(sorted(set(classes[0]) ^ set(classes[1]))) or "none"}'
        )
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


def _coco(root: Path, train: Split, val: Split) -> Source:
    files = _labels(train), _labels(val)
    content = read_annotations(files[0]).content
    names = categories_of(content)
    classes = tuple(names[key] for key in sorted(names))
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
    pictures = list(files_below(train.images))
    mark = fingerprint(root, [*pictures, *files_below(val.images)], files)
    sizes = {f'{root}/': len(with_objects), str(train.images): _number(pictures)}
    return Source('det', root, train.images, options, mark, sizes)


def _labels(split: Split) -> Path:
    assert split.labels is not None
    return split.labels


def _one_ending(folder: Path, pictures: Iterable[Path]) -> str:
    endings = {path.suffix for path in pictures if is_image(path.name)}
    if len({ending.lower() for ending in endings}) != 1:
        raise UserError(f'{folder}: images of one kind, not {sorted(endings)}')
    return min(endings)


def _masks(root: Path, train: Split, val: Split) -> Source:
    pictures = list(files_below(train.images))
    ending = _one_ending(train.images, pictures)
    masks = [
        path
        for split in (train, val)
        for path in files_below(_labels(split))
        if path.suffix == '.png'
    ]
    load, annotate = dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')
    number = _mask_classes(root / 'annotations', masks)
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
    mark = fingerprint(root, [*pictures, *files_below(val.images)], masks)
    sizes = {str(root): _number(pictures, (ending,)), str(train.images): _number(pictures)}
    return Source('seg', root, train.images, options, mark, sizes)


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


def _depths(root: Path, train: Split, val: Split) -> Source:
    pictures = list(files_below(train.images))
    ending = _one_ending(train.images, pictures)
    maps = [
        path
        for split in (train, val)
        for path in files_below(_labels(split))
        if path.suffix.lower() in (PICTURE, ARRAY)
    ]
    kinds = sorted({path.suffix for path in maps})
    if len(kinds) != 1:
        raise UserError(f'{root / "depth"}: maps of one kind, .png or .npy, not {kinds}')
    scale = 1.0 if kinds[0].lower() == ARRAY else 0.001  # arrays in metres, PNG in millimetres
    near, far = _range(maps, scale)
    known = dict(min_depth=near, max_depth=far)
    load, resize = dict(type='LoadImageFromFile'), dict(type='Resize', scale=(SCENE, SCENE))
    measure = dict(type='LoadDepthAnnotations', scale=scale, **known)
    flip, pack = dict(type='RandomFlip', prob=0.5), dict(type='PackSegInputs')
    options: dict[str, Any] = {'shapes': None}
    options |= {f'model.decode_head.{name}': value for name, value in known.items()}
    for loader, split in (('train', train.name), ('val', val.name), ('test', val.name)):
        place = f'{loader}_dataloader.dataset' + ('.dataset' if loader == 'train' else '')
        steps = [measure, resize, flip] if loader == 'train' else [resize, measure]
        options |= {
            f'{place}.data_root': str(root),
            f'{place}.data_prefix.img_path': f'images/{split}',
            f'{place}.data_prefix.depth_map_path': f'depth/{split}',
            f'{place}.img_suffix': ending,
            f'{place}.depth_suffix': kinds[0],
            f'{place}.pipeline': [load, *steps, pack],
        }
        if loader != 'train':
            options[f'{loader}_dataloader.batch_size'] = 1  # pictures of many sizes
            # both ends count in the metric too, which leaves them out
            options[f'{loader}_evaluator.min_depth_eval'] = near * (1 - 1e-6)
            options[f'{loader}_evaluator.max_depth_eval'] = far * (1 + 1e-6)
    mark = fingerprint(root, [*pictures, *files_below(val.images)], maps)
    sizes = {str(root): _number(pictures, (ending,)), str(train.images): _number(pictures)}
    return Source('depth', root, train.images, options, mark, sizes)


def _range(maps: Iterable[Path], scale: float) -> tuple[float, float]:
    """The least and the largest depth of all maps, metres."""
    near, far = math.inf, 0.0
    for path in maps:
        try:
            metres = DepthReading(scale).metres(depth_numbers(path.read_bytes(), str(path)))
        except DepthError as error:
            kind = KINDS[error.kind]
            raise DataError(f'{path}: {kind.title} ({error}): {kind.remedy}') from error
        known = metres[metres > 0]
        near, far = min(near, float(known.min())), max(far, float(known.max()))
    if near >= far:
        raise UserError(f'depth maps that all are {far:g} m, or none: there is nothing to learn')
    return near, far


def _pre_training(source: Source) -> dict[str, Any]:
    return {'shapes': None, 'train_dataloader.dataset.dataset.data_root': str(source.train)}
