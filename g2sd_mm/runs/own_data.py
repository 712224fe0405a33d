"""Folders of one's own as entries of a config, whatever tool wrote them.

What they are is known by a fingerprint: the same for the same data, wherever they lie.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..config.boxes_alone import needs_masks
from ..config.classes import class_counts
from ..config.parts import EVALUATORS, LOADERS, innermost_dataset, task_of_config, typed_parts
from ..config.project import find_config
from ..data_checks.contents import numbered
from ..data_checks.depth import ARRAY, PICTURE, DepthReading
from ..data_checks.masks import IGNORED, Labels
from ..data_layouts import Choices, Layout, Split, find_layout, find_trainable
from ..data_layouts.coco_file import read_annotations
from ..data_layouts.coco_mended import categories_of
from ..errors import DataError, UserError
from ..image_files import ENDINGS, files_below, folders_in, is_image
from ..provenance import file_digest
from .own_depth import fitted, range_of, reading_in, usual_reading, whole_images

CROP, SCENE = 56, 128  # px, as the mini configs have them


def fingerprint(
    root: Path, images: Iterable[Path], labels: Iterable[Path] = (), copy: Path | None = None
) -> str:
    """Digest of files by their paths from ``root``, or a copy, so that the folder can be moved.

    Images may be many and large, and are known by name and size. Labels are small, and a corrected
    one is often as large as before: they are known by what is in them.
    """
    digest = hashlib.sha256()
    for kind, paths in (('image', images), ('labels', labels)):
        for path in paths:
            known_by = file_digest(path) if kind == 'labels' else path.stat().st_size
            # fsencode: names need not be UTF-8
            base = copy if copy and path.is_relative_to(copy) else root
            digest.update(os.fsencode(f'{kind} {path.relative_to(base)} {known_by}\n'))
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Source:
    """One folder of data.

    task: cls, det, seg or depth.
    train: folder of its training images, which pre-training reads without labels.
    options: config entries that make a config of the task read it.
    mark: makes the :attr:`fingerprint`.
    sizes: folder of training data, as a config names it -> images that training finds in it.
    layout: how it was found.
    """

    task: str
    root: Path
    train: Path
    options: dict[str, Any]
    mark: Callable[[], str]
    sizes: Mapping[str, int]
    layout: Layout | None = None

    @cached_property
    def fingerprint(self) -> str:
        """Of its files; it stands for the path in digests. A run alone does without: it is made
        from every file's size, and from all that is in the labels."""
        return self.mark()

    @property
    def notes(self) -> tuple[str, ...]:
        """What was found and decided in the folder, a line each."""
        return self.layout.notes if self.layout else ()

    @property
    def places(self) -> dict[str, str]:
        """Folders in ``options`` -> what stands for them wherever the data lie."""
        mark = f'{self.fingerprint}/{self.task}'
        places = {str(self.root): mark}
        if self.layout and self.layout.copy:
            places[str(self.layout.copy)] = f'{mark}/copy'
        return places


def find_source(
    root: Path,
    choices: Choices | None = None,
    task: str | None = None,
    reading: Callable[[str], DepthReading] = usual_reading,
) -> Source:
    """Look at a folder, and say how a config reads it.

    Args:
        root: absolute path of the folder.
        choices: where it can be read in two ways.
        task: that it has to be of; None takes any.
        reading: how depth maps of an ending are read.

    Raises:
        UserError: for a folder that is none of :data:`~g2sd_mm.data_layouts.LAYOUTS`, several at
            once, or without images to validate with.
    """
    if not root.is_dir():
        raise UserError(f'{root}: no such folder')
    layout = find_trainable(root, choices, task)
    train, val = layout.split('train') or layout.splits[0], layout.split('val')
    assert val is not None
    if layout.task == 'depth':
        return _depths(layout, train, val, reading)
    return {'cls': _image_folder, 'det': _coco, 'seg': _masks}[layout.task](layout, train, val)


def _number(files: Iterable[Path], endings: Sequence[str] = ENDINGS) -> int:
    return sum(is_image(path.name, endings) for path in files)


def _image_folder(layout: Layout, train: Split, val: Split) -> Source:
    classes = [[folder.name for folder in folders_in(split.images)] for split in (train, val)]
    if not classes[0] or classes[0] != classes[1]:
        raise DataError(
            f'{layout.root}: train and val need the same class folders; only one of them has '
            f'{", ".join(sorted(set(classes[0]) ^ set(classes[1]))) or "none"}'
        )
    load, pack = dict(type='LoadImageFromFile'), dict(type='PackInputs')
    resized = dict(backend='pillow', interpolation='bicubic')
    # shapes fill their pictures; photographs are cropped less tightly than for ImageNet's 224 px
    crop = dict(type='RandomResizedCrop', scale=CROP, crop_ratio_range=(0.3, 1.0), **resized)
    flip = dict(type='RandomFlip', prob=0.5, direction='horizontal')
    edge = dict(type='ResizeEdge', scale=CROP * 8 // 7, edge='short', **resized)
    middle = dict(type='CenterCrop', crop_size=CROP)
    options: dict[str, Any] = {'shapes': None, 'num_classes': len(classes[0])}
    for loader, place, split in _loaders(train, val):
        steps = [crop, flip] if loader == 'train' else [edge, middle]
        options[f'{place}.data_root'] = str(split.images)
        options[f'{place}.pipeline'] = [load, *steps, pack]
    files = [list(files_below(split.images)) for split in (train, val)]
    mark = partial(fingerprint, layout.root, [*files[0], *files[1]])
    sizes = {str(train.images): _number(files[0])}
    return Source('cls', layout.origin, train.images, options, mark, sizes, layout)


def _coco(layout: Layout, train: Split, val: Split) -> Source:
    root = layout.root
    files = _labels(train), _labels(val)
    content = read_annotations(files[0]).content
    names = categories_of(content)
    classes = tuple(names[key] for key in sorted(names))
    options: dict[str, Any] = {'shapes': None, 'classes': classes}
    for _, place, split in _loaders(train, val):
        options |= {
            f'{place}.data_root': f'{root}/',
            f'{place}.ann_file': str(_below(_labels(split), root)),
            f'{place}.data_prefix.img': f'{_below(split.images, root)}/',
        }
    options |= {f'{name}_evaluator.ann_file': str(files[1]) for name in ('val', 'test')}
    known = {image['id'] for image in content['images']}
    with_objects = known & {entry['image_id'] for entry in content['annotations']}
    pictures = list(files_below(train.images))
    others = [] if val.images == train.images else files_below(val.images)
    mark = partial(fingerprint, root, [*pictures, *others], files, layout.copy)
    sizes = {f'{root}/': len(with_objects), str(train.images): _number(pictures)}
    return Source('det', layout.origin, train.images, options, mark, sizes, layout)


def _loaders(train: Split, val: Split) -> Iterator[tuple[str, str, Split]]:
    """Each loader, where its data set is in a config, and what it reads."""
    for loader, split in (('train', train), ('val', val), ('test', val)):
        inner = '.dataset' if loader == 'train' else ''  # in what seeds it
        yield loader, f'{loader}_dataloader.dataset{inner}', split


def _below(path: Path, root: Path) -> Path:
    """A path as it is joined to the root: in it, or as it is."""
    return path.relative_to(root) if path.is_relative_to(root) else path


def _labels(split: Split) -> Path:
    assert split.labels is not None
    return split.labels


def _one_ending(folder: Path, pictures: Iterable[Path]) -> str:
    endings = {path.suffix for path in pictures if is_image(path.name)}
    if len({ending.lower() for ending in endings}) != 1:
        raise UserError(f'{folder}: images of one kind, not {sorted(endings)}')
    return min(endings)


def _masks(layout: Layout, train: Split, val: Split) -> Source:
    root = layout.root
    pictures = list(files_below(train.images))
    ending = _one_ending(train.images, pictures)
    masks = [p for split in (train, val) for p in files_below(_labels(split)) if p.suffix == '.png']
    load, annotate = dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')
    number = max(_mask_classes(root / 'annotations', masks), len(layout.classes))
    check, pack = dict(type='CheckMasks', num_classes=number), dict(type='PackSegInputs')
    options: dict[str, Any] = {'shapes': None, 'classes': numbered(layout.classes, number)}
    # resized before the annotations are loaded: scores are counted at the size of the original
    testing = [load, dict(type='Resize', scale=(SCENE, SCENE)), annotate, check, pack]
    for loader, place, split in _loaders(train, val):
        options |= {
            f'{place}.data_root': str(root),
            f'{place}.data_prefix.img_path': f'images/{split.name}',
            f'{place}.data_prefix.seg_map_path': f'annotations/{split.name}',
            f'{place}.img_suffix': ending,
        }
        if loader != 'train':
            options[f'{place}.pipeline'] = testing
            options[f'{loader}_dataloader.batch_size'] = 1  # pictures of many sizes
    mark = partial(fingerprint, root, [*pictures, *files_below(val.images)], masks)
    sizes = {str(root): _number(pictures, (ending,)), str(train.images): _number(pictures)}
    return Source('seg', layout.origin, train.images, options, mark, sizes, layout)


def _mask_classes(folder: Path, masks: Iterable[Path]) -> int:
    """The largest class number of all masks below a folder, plus 1.

    Raises:
        DataError: for a file that holds no class numbers, and for 255 beside class 0 alone.
        UserError: for masks without a class.
    """
    read, largest, ignored = Labels(), -1, ''
    for path in masks:
        look = read.look(str(path))
        for finding in look.findings:
            if finding.harmful:
                raise DataError(finding.line)
        largest = max(largest, *read.classes_in(look.labels), -1)
        ignored = ignored or (str(path) if IGNORED in look.labels else '')
    if largest < 0:
        raise UserError(f'{folder} has no masks with a class in them')
    if largest == 0 and ignored:
        raise DataError(
            f'{folder} has masks of 0 and {IGNORED} alone ({ignored}): {IGNORED} is ignored, so '
            f'only class 0 is left; --read-as masks=binary reads {IGNORED} as the object'
        )
    return largest + 1


def _depths(
    layout: Layout, train: Split, val: Split, reading: Callable[[str], DepthReading]
) -> Source:
    root = layout.root
    pictures = list(files_below(train.images))
    ending = _one_ending(train.images, pictures)
    labels = [path for split in (train, val) for path in files_below(_labels(split))]
    maps = [path for path in labels if path.suffix.lower() in (PICTURE, ARRAY)]
    kinds = sorted({path.suffix for path in maps})
    if len(kinds) != 1:
        raise UserError(f'{root / "depth"}: maps of one kind, .png or .npy, not {kinds}')
    read = reading(kinds[0])
    near, far = range_of(maps, read, reading is usual_reading)
    known = dict(min_depth=near, max_depth=far)
    load, resize = dict(type='LoadImageFromFile'), dict(type='Resize', scale=(SCENE, SCENE))
    measure = dict(type='LoadDepthAnnotations', scale=read.scale, **known)
    flip, pack = dict(type='RandomFlip', prob=0.5), dict(type='PackSegInputs')
    options: dict[str, Any] = {'shapes': None}
    options |= {f'model.decode_head.{end}': value for end, value in known.items()}
    for loader, place, split in _loaders(train, val):
        steps = [measure, resize, flip] if loader == 'train' else [resize, measure]
        options |= {
            f'{place}.data_root': str(root),
            f'{place}.data_prefix.img_path': str(_below(split.images, root)),
            f'{place}.data_prefix.depth_map_path': str(_below(_labels(split), root)),
            f'{place}.img_suffix': ending,
            f'{place}.depth_suffix': kinds[0],
            f'{place}.pipeline': [load, *steps, pack],
        }
        if loader != 'train':
            options[f'{loader}_dataloader.batch_size'] = 1  # pictures of many sizes
            options |= {f'{loader}_evaluator.{end}_eval': value for end, value in known.items()}
    mark = partial(fingerprint, root, [*pictures, *files_below(val.images)], maps)
    sizes = {str(root): _number(pictures, (ending,)), str(train.images): _number(pictures)}
    note = f'{len(maps)} depth maps {kinds[0]} have {near:g} to {far:g} m by scale={read.scale:g}'
    layout = replace(layout, notes=(*layout.notes, note))
    return Source('depth', layout.origin, train.images, options, mark, sizes, layout)


def own_data_options(
    path: str, root: str, choices: Choices | None = None, notes: list[str] | None = None
) -> dict[str, Any]:
    """Config entries by which a config reads a folder of one's own in the place of its data.

    Configs without labels (pre-training, stage 1) read the training images of any layout, or all
    images below a folder that has none. The pipelines of a config stay as they are but for the
    range of depth; those on generated data, which have none for photographs, get those of the
    suites.

    Args:
        path: config file.
        root: folder, laid out as one of :data:`~g2sd_mm.data_layouts.LAYOUTS`.
        choices: where it can be read in two ways, and what is held out.
        notes: is given what was found and decided, a line each.

    Raises:
        UserError: if the folder is laid out for another task than the config's, or cannot be read.
    """
    cfg = Config.fromfile(find_config(path), import_custom_modules=False)
    own = bool(cfg.get('shapes'))
    options: dict[str, Any] = {'shapes': None} if own else {}
    if not any(map(cfg.get, LOADERS)):
        return options  # whoever asks for the data says that the config has none
    if not (cfg.get('val_dataloader') or cfg.get('test_dataloader')):
        images = {**_PLAIN['cls'], 'data_root': str(_any_images(Path(root), choices))}
        labelled = any(class_counts(cfg.get('model')))  # a classifier that is not validated
        return options | _plain(cfg, 'train_dataloader', **images, with_label=labelled)
    task = task_of_config(cfg)
    reading = usual_reading if own else partial(reading_in, cfg)
    source = find_source(Path(root).absolute(), choices, task.key if task else None, reading)
    if task is None or task.key != source.task:
        raise UserError(
            f'--data-root {root}: {path} is of {task.name if task else "no task"}, and the folder '
            f'is laid out for {source.task} (docs/own_layouts.md)'
        )
    if notes is not None:
        notes += source.notes
    for loader in filter(cfg.get, () if own or source.task == 'depth' else LOADERS):
        options |= _plain(cfg, loader, **_PLAIN[source.task])
    if not own and source.task == 'det':
        judged = ['bbox', 'segm'] if needs_masks(cfg) else ['bbox']
        metric = dict(_delete_=True, type='CocoMetric', metric=judged)
        for name in filter(cfg.get, EVALUATORS):
            given = cfg[name]
            if not (isinstance(given, Mapping) and str(given.get('type')).endswith('CocoMetric')):
                options |= {f'{name}.{key}': value for key, value in metric.items()}
    for key, value in source.options.items():
        loader = key.partition('.')[0]
        if key == 'shapes' or (loader in LOADERS and not cfg.get(loader)):
            continue
        if not own and key.endswith('.pipeline') and source.task == 'depth':
            measure = next(step for step in value if step['type'] == 'LoadDepthAnnotations')
            value = fitted(cfg, loader, measure)
        elif not own and key.endswith(('.pipeline', '.batch_size')):
            continue
        options[_placed(cfg, key)] = value
    if source.task == 'depth':
        options |= whole_images(cfg)
    if cfg.get('num_classes') and 'classes' in options:
        options['num_classes'] = len(options['classes'])
    return options


def _any_images(root: Path, choices: Choices | None) -> Path:
    """The training images of a layout, or the folder itself."""
    if not root.is_dir():
        raise UserError(f'{root}: no such folder')
    try:
        find = find_trainable if choices and choices.val_share else find_layout
        train = find(root, choices).training
        return train.images if train else root
    except DataError as error:
        if '--read-as' in str(error):
            raise
        return root


#: Task -> data set that reads what :func:`find_source` finds, and its entries whatever stood there.
_PLAIN: dict[str, dict[str, Any]] = {
    'cls': dict(type='CustomDataset', ann_file='', data_prefix=''),
    'det': dict(type='CocoDataset'),
    'seg': dict(type='BaseSegDataset', ann_file='', seg_map_suffix='.png', reduce_zero_label=False),
}


def _plain(cfg: Config, loader: str, type: str, **plain: Any) -> dict[str, Any]:
    """Entries that make a loader's data set a plain one; of VOC's and others the pipeline stays."""
    place, part = _innermost(cfg, loader)
    if not str(part.get('type')).endswith(type):
        stays = 'pipeline', 'test_mode', 'filter_cfg'
        kept = {key: v for key, v in innermost_dataset(part).items() if key in stays}
        for step in typed_parts(kept, stays):  # those of ADE20K say it again
            step.pop('reduce_zero_label', None)
        plain |= dict(_delete_=True, type=type, **kept)
    return {f'{place}.{key}': value for key, value in plain.items()}


def _placed(cfg: Config, key: str) -> str:
    """An entry of a data set where the config has it."""
    loader, _, rest = key.partition('.')
    if loader not in LOADERS or not rest.startswith('dataset.'):
        return key
    return f'{_innermost(cfg, loader)[0]}.{rest.rpartition("dataset.")[2]}'


def _innermost(cfg: Config, loader: str) -> tuple[str, Any]:
    """Place and content of a loader's data set: inside of what seeds or repeats it."""
    path, part = f'{loader}.dataset', cfg[loader].dataset
    while isinstance(part.get('dataset'), Mapping):
        path, part = f'{path}.dataset', part.dataset
    return path, part
