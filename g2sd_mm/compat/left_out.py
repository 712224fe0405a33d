"""Metrics that are means over classes say how many classes they leave out."""

import functools
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from g2sd_mm.compat.import_hooks import after_import
from g2sd_mm.text import some

__all__ = ['count_left_out', 'say_left_out']


def count_left_out() -> None:
    """Wrap mmseg's IoU as soon as it is imported; COCO's AP is :mod:`.coco_files`'s."""
    after_import('mmseg.evaluation.metrics.iou_metric', _in_iou)


def say_left_out(metric: str, names: Sequence[str], number: int, reason: str) -> None:
    """A line in the log, if there is anything to say.

    Args:
        metric: its name.
        names: of the classes that are left out.
        number: of all classes.
        reason: why they are, after their names.
    """
    if not names:
        return
    import logging

    from mmengine.logging import print_log

    print_log(
        f'{metric} is over {number - len(names)} of {number} classes: '
        f'{some([repr(name) for name in names], 5)} {reason}',
        logger='current',
        level=logging.WARNING,
    )


def _in_iou(module: ModuleType) -> None:
    metric = module.IoUMetric
    compute = metric.compute_metrics

    @functools.wraps(compute)
    def compute_metrics(self: Any, results: list) -> dict[str, float]:
        if not self.format_only and self.nan_to_num is None:
            union = sum(areas[1] for areas in results)
            classes = self.dataset_meta['classes']
            names = [name for name, area in zip(classes, union.tolist(), strict=False) if not area]
            say_left_out('mIoU', names, len(classes), 'neither occur nor are predicted')
        return compute(self, results)

    metric.compute_metrics = compute_metrics
