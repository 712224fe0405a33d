"""The data sets of a config, as the checks look at them; needs mmengine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope

from .coco import Reading
from .masks import Labels

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
        return OBJECTS
    return CLASSES if hasattr(made, 'extensions') else None


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
        polygons=any(s.get('with_mask') and not s.get('poly2mask', True) for s in steps),
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
