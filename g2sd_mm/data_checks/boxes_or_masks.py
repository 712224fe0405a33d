"""Do the objects of a detection run have masks? Without any, it learns boxes alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from mmengine.config import Config

from ..config.boxes_alone import (
    BOXES_ONLY,
    can_do_without_masks,
    leave_mask_head_out,
    needs_masks,
    read_boxes_alone,
)
from ..config.parts import LOADERS, innermost_datasets
from ..errors import UserError
from .before_training import OBJECTS, annotations_of, kind_of, outline, reading_of
from .coco import mask_problems, masks_and_none
from .findings import Finding

_TRAINED = LOADERS[0]


def choose_boxes_or_masks(
    cfg: Config, loaders: Sequence[str], keep: bool = True
) -> Finding | None:
    """Fit a config to data without masks, in place, or say that some objects have masks.

    The data are those of the first of ``loaders`` that the config has: training decides where there
    is training. Then the model is changed too; one that is tested follows its weights instead.
    ``boxes_only=True`` or ``False`` in the config decides without looking.

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
    places, (masks, none, broken) = _counted(cfg, loader, keep)
    if not masks + none + broken:
        return None
    detail = f'{masks} of {masks + none + broken} objects have a mask, {none} have none'
    if masks:
        coded = _draw_run_lengths(cfg, loaders, keep)
        return Finding('mixed-masks', places, detail) if none else coded
    if loader == _TRAINED and not can_do_without_masks(cfg):
        return None  # the check of what there is to learn stops it
    return _boxes_alone(cfg, loader, places, [detail])


def _draw_run_lengths(cfg: Config, loaders: Sequence[str], keep: bool) -> Finding | None:
    """Let pipelines that keep polygons draw masks where some are run lengths, in place."""
    for loader in loaders:
        if not cfg.get(loader):
            continue
        for dataset, made in _of_objects(cfg, loader):
            reading = reading_of(made, dataset, loader == _TRAINED)
            if not reading.polygons:
                continue
            if number := mask_problems(annotations_of(made, keep), reading)['coded-mask']:
                for step in dataset.pipeline:
                    if step.get('with_mask'):
                        step.poly2mask = True
                return Finding('run-lengths', made.ann_file, f'{number} objects')
    return None


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


def _counted(cfg: Config, loader: str, keep: bool) -> tuple[str, tuple[int, int, int]]:
    """Files of a loader, and their objects with a mask, without one, with a broken one."""
    total, places = (0, 0, 0), []
    for dataset, made in _of_objects(cfg, loader):
        reading = reading_of(made, dataset, loader == _TRAINED)
        counts = masks_and_none(annotations_of(made, keep), reading)
        total = (total[0] + counts[0], total[1] + counts[1], total[2] + counts[2])
        places.append(made.ann_file)
    return ', '.join(dict.fromkeys(places)), total
