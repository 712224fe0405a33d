"""What a run would learn from, looked at before its first step: from the labels alone.

No image is decoded. Class folders are listed by name, annotation files are parsed once for this and
for the data set, a few images tell whether they are as large as those say, and of masks as many are
opened as it takes to see every class.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine import fileio
from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope

from ..config.boxes_alone import (
    BOXES_ONLY,
    can_do_without_masks,
    leave_mask_head_out,
    needs_masks,
    read_boxes_alone,
)
from ..config.parts import LOADERS, innermost_datasets
from ..data_layouts.coco_file import read_annotations
from ..data_layouts.converted import sizes_of
from ..errors import DataError, UserError
from ..image_files import endings_of, is_image, spread
from .class_folders import count_labels
from .coco import Reading, count_objects, lacking_masks, masks_and_none, wrong_size
from .contents import Contents, merged, problems
from .findings import Finding
from .masks import Labels, count_masks, labels_in

#: Kinds of data set that are looked at.
CLASSES, OBJECTS, MASKS = 'class folders', 'COCO annotations', 'masks'


def outline(cfg: Config, dataset: Mapping[str, Any]) -> Any:
    """The data set built without reading, for the defaults and folders that its class knows."""
    scope = cfg.get('default_scope') or 'mmengine'
    with DefaultScope.overwrite_default_scope(scope):
        return DATASETS.build({**dataset, 'lazy_init': True, 'pipeline': []})


def kind_of(made: Any) -> str | None:
    """How a data set keeps its labels; None if it is not of the kinds that are looked at."""
    if hasattr(made, 'seg_map_suffix') and hasattr(made, 'reduce_zero_label'):
        return MASKS if made.data_prefix.get('seg_map_path') else None
    if hasattr(made, 'COCOAPI'):
        from mmdet.datasets import CocoPanopticDataset, LVISV05Dataset

        # segments in a PNG, and images by their address: such files have readers of their own
        return None if isinstance(made, (CocoPanopticDataset, LVISV05Dataset)) else OBJECTS
    return CLASSES if hasattr(made, 'extensions') else None


def annotations_of(made: Any, keep: bool = True) -> dict[str, Any]:
    """The content of a COCO data set's file, see :func:`read_annotations`."""
    with fileio.get_local_path(made.ann_file) as path:
        return read_annotations(path, keep).content


def reading_of(
    made: Any, dataset: Mapping[str, Any], training: bool, evaluator: Any = None
) -> Reading:
    """How a COCO data set is read.

    Args:
        made: from :func:`outline`.
        dataset: its config.
        training: whether it is trained on.
        evaluator: config of the metric, or a list of them.
    """
    steps = _loading(dataset)
    metrics = evaluator if isinstance(evaluator, (list, tuple)) else [evaluator or {}]
    judged = any('segm' in str(metric.get('metric')) for metric in metrics)
    masks = any(step.get('with_mask') for step in steps)
    return Reading(
        classes=made.metainfo.get('classes'),
        training=training,
        masks=masks if training else masks or judged,
        min_size=(dataset.get('filter_cfg') or {}).get('min_size', 0) if training else 0,
    )


def _loading(dataset: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    pipeline = dataset.get('pipeline') or ()
    return [step for step in pipeline if str(step.get('type', '')).endswith('LoadAnnotations')]


def labels_of(made: Any, dataset: Mapping[str, Any]) -> Labels:
    """How masks are read: classes as training checks them, else as many as the data set names."""
    steps = (step for step in dataset.get('pipeline') or () if step['type'] == 'CheckMasks')
    check = next(steps, None)
    number = check['num_classes'] if check else len(made.metainfo.get('classes') or ()) or None
    return Labels(number, made.ignore_index, made.reduce_zero_label)


#: Masks that are opened to find a class; to find that there is more than one, all are.
_LOOKS = 2000
#: Images whose size is compared with the listed one, the share of them that must not be wrong, and
#: what reads them as they are meant to be seen: other colour types leave them unturned.
_SIZES, _WRONG = 20, 0.1
_LOADING, _UPRIGHT = 'LoadImageFromFile', ('color', 'grayscale')
_SPLITS = {'train': True, 'val': False}


def check_training_data(cfg: Config) -> list[str]:
    """Stop a run that would learn from nothing, or be judged by nothing; say what is lacking.

    Args:
        cfg: whose data are there.

    Returns:
        lines for the log on what is worth one without being an error.

    Raises:
        DataError: naming the folder or file, what is wrong with its labels, and what to do.
    """
    notes: list[str] = []
    for split, training in _SPLITS.items():
        loader = cfg.get(f'{split}_dataloader')
        if not loader:
            continue
        evaluator = cfg.get(f'{split}_evaluator')
        contents = list(_contents(cfg, loader.dataset, training, evaluator))
        for finding in problems(merged(contents), training) if contents else ():
            if finding.harmful:
                raise DataError(finding.line)
            notes.append(finding.line)
    return notes


def _contents(
    cfg: Config, dataset: Mapping[str, Any], training: bool, evaluator: Any
) -> Iterator[Contents]:
    for inner in innermost_datasets(dataset):
        made = outline(cfg, inner)
        kind = kind_of(made)
        if kind == OBJECTS:
            yield _objects(made, inner, training, evaluator)
        elif kind == MASKS:
            yield _masks(made, inner)
        elif kind == CLASSES and made.with_label:
            yield _listed(made) if made.ann_file else _class_folders(made)


# Class folders ------------------------------------------------------------------------------------


def _class_folders(made: Any) -> Contents:
    """Which classes have an image; the first one of each is looked for, by name."""
    root = made.img_prefix
    classes = tuple(sorted(fileio.list_dir_or_file(root, list_file=False)))
    counts = {
        i: int(_has_image(fileio.join_path(root, name), made.extensions))
        for i, name in enumerate(classes)
    }
    if not any(counts.values()):
        made.full_init()  # says which files there are instead
    return Contents(root, 'images', classes, counts, sum(counts.values()))


def _has_image(folder: str, endings: Sequence[str]) -> bool:
    names = fileio.list_dir_or_file(folder, list_dir=False, recursive=True)
    return any(is_image(name, endings) for name in names)


def _listed(made: Any) -> Contents:
    """The labels of a list of images."""
    lines = fileio.get_text(made.ann_file).splitlines()
    labels = [line.rpartition(' ')[2] for line in map(str.strip, lines) if line]
    return count_labels(made.ann_file, labels)


# Objects ------------------------------------------------------------------------------------------


def _objects(made: Any, dataset: Mapping[str, Any], training: bool, evaluator: Any) -> Contents:
    content = annotations_of(made)
    reading = reading_of(made, dataset, training, evaluator)
    if lacking := lacking_masks(content, reading):
        detail = f'{lacking} of {len(content["annotations"])} objects'
        raise DataError(Finding('lacking-mask', made.ann_file, detail).line)
    _check_sizes(content['images'], made, dataset)
    return count_objects(content, made.ann_file, reading)


def _check_sizes(
    images: Sequence[Mapping[str, Any]], made: Any, dataset: Mapping[str, Any]
) -> None:
    """Stop if images are of other sizes than listed; training leaves a stray one out."""
    loads = [s for s in dataset.get('pipeline') or () if str(s['type']).endswith(_LOADING)]
    if not loads or loads[0].get('color_type', 'color') not in _UPRIGHT:
        return
    looked, wrong = 0, []
    for image in spread(images, _SIZES)[:_SIZES]:
        path = fileio.join_path(made.data_prefix.get('img', ''), image['file_name'])
        try:
            with fileio.get_local_path(path) as file:
                stored, upright = sizes_of(Path(file))
        except (OSError, DataError):
            continue  # training names and counts it
        looked += 1
        size = image['width'], image['height']
        if size != upright:
            wrong.append(wrong_size(path, size, upright, stored == size))
    if wrong and len(wrong) >= _WRONG * looked:
        one, number = wrong[0], f'{len(wrong)} of {looked} images looked at'
        detail = f'{one.detail}; so are {number} of {made.ann_file}'
        raise DataError(Finding(one.kind, one.path, detail).line)


# Masks --------------------------------------------------------------------------------------------


def _masks(made: Any, dataset: Mapping[str, Any]) -> Contents:
    """Classes that masks show: looked at in steps over all of them until every class is seen."""
    masks = [entry['seg_map_path'] for entry in made.load_data_list()]
    labels = labels_of(made, dataset)
    found: list[tuple[int, ...]] = []
    seen: set[int] = set()
    for path in spread(masks, _LOOKS):
        try:
            numbers = labels_in(fileio.get(path))
        except FileNotFoundError:
            continue  # training names and counts it
        found.append(_mapped(numbers, labels, made.label_map))
        seen.update(labels.classes_in(found[-1]))
        if labels.classes and len(seen) >= labels.classes:
            break
        if len(found) >= _LOOKS and len(seen) > 1:
            break
    total = len(masks) if len(found) < len(masks) else None
    place, names = made.data_prefix['seg_map_path'], made.metainfo.get('classes')
    if masks and not found:  # before ten images in a row cannot be read
        listed = fileio.list_dir_or_file(place, list_dir=False, recursive=True)
        there = endings_of(listed) if fileio.isdir(place) else ''
        raise DataError(
            f'{place} has no mask of any of the {len(masks)} images: the first would be '
            f'{masks[0]}, and there are {there or "no files"}: mend data_prefix.seg_map_path, or '
            f'set seg_map_suffix ({made.seg_map_suffix})'
        )
    return count_masks(place, labels, names, found, total)


def _mapped(
    numbers: tuple[int, ...], labels: Labels, mapping: Mapping[int, int] | None
) -> tuple[int, ...]:
    """Numbers of a mask with the classes renamed, as a data set of some of its classes has it."""
    if not mapping:
        return numbers
    first = int(labels.zero_is_ignored)
    classes = [mapping.get(i, i) for i in labels.classes_in(numbers)]
    kept = {i + first for i in classes if i != labels.ignored}
    return (*sorted(kept), labels.ignored)


# Boxes or masks ----------------------------------------------------------------------------------

_TRAINED = LOADERS[0]


def choose_boxes_or_masks(
    cfg: Config, loaders: Sequence[str], keep: bool = True
) -> Finding | None:
    """Fit a config to data without masks, in place, or say that some objects have masks.

    Without any a detector learns boxes alone. The data are those of the first of ``loaders`` that
    the config has: training decides where there is training. Then the model is changed too; one
    that is tested follows its weights instead. ``boxes_only=True`` or ``False`` in the config
    decides without looking.

    Args:
        cfg: loaded config.
        loaders: names of the data loaders that will be used.
        keep: whether a data set will read the annotations next, see
            :func:`~g2sd_mm.data_layouts.coco_file.read_annotations`.

    Returns:
        what was found; None where nothing is to be said. A harmful one leaves the config as it is.

    Raises:
        UserError: if the model is nothing without masks and the config wants boxes only.
        DataError: for annotations that cannot be read.
    """
    asked = cfg.get(BOXES_ONLY)
    if asked not in (None, True, False):
        raise UserError(f'{BOXES_ONLY}={asked!r}: expected True, False, or no such entry')
    loader = next((name for name in loaders if cfg.get(name)), None)
    if loader is None or asked is False or not needs_masks(cfg):
        return None
    if asked:
        return _boxes_alone(cfg, loader, str(getattr(cfg, 'filename', None) or 'config'), [
            f'{BOXES_ONLY}=True'
        ])
    counts: Counter[str] = Counter()
    files: list[str] = []
    for dataset, made in _of_objects(cfg, loader):
        reading = reading_of(made, dataset, loader == _TRAINED)
        counts += masks_and_none(annotations_of(made, keep), reading)
        files.append(made.ann_file)
    if not counts:
        return None
    places = ', '.join(dict.fromkeys(files))
    masks, none = counts['mask'], counts['none']
    detail = f'{masks} of {counts.total()} objects have a mask, {none} have none'
    if masks:
        return Finding('mixed-masks', places, detail) if none else None
    if loader == _TRAINED and not can_do_without_masks(cfg):
        return None  # the check of what there is to learn stops it
    return _boxes_alone(cfg, loader, places, [detail])


def _of_objects(cfg: Config, loader: str) -> Iterator[tuple[Any, Any]]:
    """Configs and outlines of a loader's data sets with objects."""
    for dataset in innermost_datasets(cfg[loader].dataset):
        made: Any = outline(cfg, dataset)
        if kind_of(made) == OBJECTS:
            yield dataset, made


def _boxes_alone(cfg: Config, loader: str, place: str, reasons: list[str]) -> Finding:
    if loader == _TRAINED and (losses := leave_mask_head_out(cfg)):
        reasons.append(f'left out too: {", ".join(losses)}')
    read_boxes_alone(cfg)
    return Finding('boxes-alone', place, '; '.join(reasons))
