"""mmdet's data sets and its metric read an annotation file by the same reader as everything here.

The metric opens the file by itself, long after the data set has: what is filled in or passed over
for one would be missing for the other, and end a run at its first validation.
"""

from __future__ import annotations

import functools
import os
from collections import Counter
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from g2sd_mm.compat.import_hooks import replace_function
from g2sd_mm.errors import DataError
from g2sd_mm.text import some


def indexed(coco: Any, content: dict[str, Any], file: str) -> Any:
    """Give an empty ``COCO`` its content, and index that; the file is for messages."""
    coco.dataset, coco.file = content, file
    coco.createIndex()
    coco.img_ann_map, coco.cat_img_map = coco.imgToAnns, coco.catToImgs
    return coco


def read_in_data_set(module: ModuleType) -> None:
    """Of ``mmdet.datasets.coco``: what mmdet passes over in silence is said aloud.

    - An entry that no reader survives is an error that names it: see
      :func:`~g2sd_mm.data_layouts.coco_file.malformed`.
    - Annotations of categories that the config does not list are left out, and counted in the log.
    - An instance without a mask would end training with a ``KeyError``: it is ignored, as mmdet
      ignores those with a broken polygon.
    - In evaluation a broken polygon would stop pycocotools at the very end: an error at the start.
    - Run-length masks in a pipeline that keeps polygons would be ignored one and all: they are
      drawn.
    """
    make, dataset = module.COCO, module.CocoDataset
    load, parse = dataset.load_data_list, dataset.parse_data_info

    def COCOAPI(self: Any, path: str) -> Any:
        from g2sd_mm.data_layouts.coco_file import read_annotations

        annotations = read_annotations(path)
        say(self.ann_file, (*annotations.notes, *_unlisted(annotations.content, self.metainfo)))
        return indexed(make(), annotations.content, self.ann_file)

    @functools.wraps(load)
    def load_data_list(self: Any) -> list[dict]:
        entries = load(self)
        _check_masks(self, entries)
        return entries

    @functools.wraps(parse)
    def parse_data_info(self: Any, raw_data_info: dict) -> Any:
        info = parse(self, raw_data_info)
        for instance in info['instances']:
            instance.setdefault('mask', [])
        return info

    dataset.COCOAPI, dataset.load_data_list = COCOAPI, load_data_list
    dataset.parse_data_info = parse_data_info


def _unlisted(content: dict[str, Any], metainfo: dict[str, Any]) -> list[str]:
    there = {category['id']: category['name'] for category in content['categories']}
    names = (there.get(a['category_id'], a['category_id']) for a in content['annotations'])
    found = Counter(name for name in names if name not in metainfo['classes'])
    if not found:
        return []
    return [
        f'{found.total()} annotations of categories that the config does not list are left out: '
        f'{", ".join(sorted(map(str, found)))}'
    ]


def _check_masks(dataset: Any, entries: list[dict]) -> None:
    from g2sd_mm.data_checks.coco import has_mask

    drawn = [s for s in dataset.pipeline.transforms if getattr(s, 'with_mask', False)]
    polygons = [step for step in drawn if not getattr(step, 'poly2mask', True)]
    judged = dataset.test_mode and drawn
    if not polygons and not judged:
        return
    # other data sets on this one, such as the panoptic one, read masks in their own way
    pairs = ((info, instance) for info in entries for instance in info.get('instances') or ())
    instances = [(info, instance) for info, instance in pairs if 'mask' in instance]
    coded = sum(isinstance(i['mask'], dict) and not i['ignore_flag'] for _, i in instances)
    for step in polygons if coded else ():
        step.poly2mask = True
        note = f'{coded} masks are run lengths: they are drawn, as with poly2mask=True'
        say(dataset.ann_file, [note])
    if judged:
        broken = [
            os.path.basename(info['img_path'])
            for info, instance in instances
            if not has_mask(instance['mask'], whole=True)
        ]
        if broken:
            raise DataError(
                f'{dataset.ann_file} has {len(broken)} instances whose mask is no polygon, which '
                f'the evaluation of masks cannot read (images {", ".join(broken[:3])}): mend '
                'or remove them, or evaluate boxes alone: --cfg-options boxes_only=True'
            )


def say(path: str, notes: Sequence[str]) -> None:
    """Tell the log what was filled in."""
    from mmengine.logging import print_log

    for note in notes:
        print_log(f'{path}: {note}', logger='current')


def read_in_metric(module: ModuleType) -> None:
    """Of ``mmdet.evaluation.metrics.coco_metric``, which also says what it leaves out."""
    make = module.COCO

    def read(path: str) -> Any:
        from g2sd_mm.data_layouts.coco_file import read_for_metric

        coco = indexed(make(), read_for_metric(path), path)
        coco.loadRes = functools.partial(_results_on, make, coco)
        return coco

    replace_function(module, 'COCO', read)
    metric = module.CocoMetric
    compute = metric.compute_metrics

    def compute_metrics(self: Any, results: list) -> dict[str, float]:
        if things := self.dataset_meta.get('thing_classes'):  # of panoptic data, with stuff beside
            self.dataset_meta = {**self.dataset_meta, 'classes': things}
        values = compute(self, results)
        if not self.format_only:
            _say_what_is_left_out(self)
        return values

    compute_metrics.__doc__ = compute.__doc__
    metric.compute_metrics = compute_metrics


def _results_on(make: Any, coco: Any, found: Any) -> Any:
    """``coco.loadRes``, which cannot read that nothing was found: an average precision of 0."""
    if found == []:
        return indexed(make(), {**coco.dataset, 'annotations': []}, coco.file)
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
