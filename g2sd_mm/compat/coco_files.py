"""mmdet's data sets and its metric read an annotation file by the same reader as everything here.

The metric opens the file by itself, long after the data set has: what is filled in or passed over
for one would be missing for the other, and end a run at its first validation.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from g2sd_mm.compat.import_hooks import replace_function
from g2sd_mm.text import some


def indexed(coco: Any, content: dict[str, Any]) -> Any:
    """Give an empty ``COCO`` its content, and index that."""
    coco.dataset = content
    coco.createIndex()
    coco.img_ann_map, coco.cat_img_map = coco.imgToAnns, coco.catToImgs
    return coco


def read_in_data_set(module: ModuleType) -> None:
    """Of ``mmdet.datasets.coco``."""
    make = module.COCO

    def read(path: str) -> Any:
        from g2sd_mm.data_layouts.coco_file import read_annotations

        annotations = read_annotations(path)
        say(path, annotations.notes)
        return indexed(make(), annotations.content)

    module.CocoDataset.COCOAPI = staticmethod(read)


def say(path: str, notes: tuple[str, ...]) -> None:
    """Tell the log what was filled in."""
    from mmengine.logging import print_log

    for note in notes:
        print_log(f'{path}: {note}', logger='current')


def read_in_metric(module: ModuleType) -> None:
    """Of ``mmdet.evaluation.metrics.coco_metric``, which also says what it leaves out."""
    make = module.COCO

    def read(path: str) -> Any:
        from g2sd_mm.data_layouts.coco_file import read_for_metric

        coco = indexed(make(), read_for_metric(path))
        coco.loadRes = functools.partial(_results_on, make, coco)
        return coco

    replace_function(module, 'COCO', read)
    metric = module.CocoMetric
    compute = metric.compute_metrics

    def compute_metrics(self: Any, results: list) -> dict[str, float]:
        values = compute(self, results)
        if not self.format_only:
            _say_what_is_left_out(self)
        return values

    compute_metrics.__doc__ = compute.__doc__
    metric.compute_metrics = compute_metrics


def _results_on(make: Any, coco: Any, found: Any) -> Any:
    """``coco.loadRes``, which cannot read that nothing was found: an average precision of 0."""
    if found == []:
        return indexed(make(), {**coco.dataset, 'annotations': []})
    return make.loadRes(coco, found)


def _say_what_is_left_out(metric: Any) -> None:
    """AP is a mean over the classes that have an object, of any number of classes."""
    coco, images = metric._coco_api, set(metric.img_ids)
    present = {
        entry['category_id']
        for entry in coco.dataset['annotations']
        if not entry.get('iscrowd') and entry['image_id'] in images
    }
    names = [coco.cats[key]['name'] for key in metric.cat_ids if key not in present]
    _say_left_out('AP', names, len(metric.cat_ids), 'have no object that counts')


def _say_left_out(metric: str, names: Sequence[str], number: int, reason: str) -> None:
    """A line in the log on the classes of all ``number`` that a metric leaves out, if any."""
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


def count_left_out(module: ModuleType) -> None:
    """Of ``mmseg.evaluation.metrics.iou_metric``: the log says which classes it leaves out."""
    metric = module.IoUMetric
    compute = metric.compute_metrics

    @functools.wraps(compute)
    def compute_metrics(self: Any, results: list) -> dict[str, float]:
        if not self.format_only and self.nan_to_num is None:
            union = sum(areas[1] for areas in results)
            classes = self.dataset_meta['classes']
            names = [name for name, area in zip(classes, union.tolist(), strict=False) if not area]
            _say_left_out('mIoU', names, len(classes), 'neither occur nor are predicted')
        return compute(self, results)

    metric.compute_metrics = compute_metrics
