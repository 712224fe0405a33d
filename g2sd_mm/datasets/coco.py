"""COCO-format annotations, with what mmdet passes over in silence said aloud."""

from __future__ import annotations

import difflib
from collections import Counter
from pathlib import Path
from typing import Any

from mmdet.datasets import CocoDataset
from mmdet.datasets.api_wrappers import COCO
from mmdet.registry import DATASETS
from mmengine.logging import print_log

from ..compat.coco_files import indexed, say
from ..data_checks.coco import has_mask
from ..data_layouts.coco_file import read_annotations
from ..data_layouts.coco_mended import categories_of
from ..errors import DataError
from ..text import some


@DATASETS.register_module()
class CheckedCocoDataset(CocoDataset):
    """mmdet's ``CocoDataset``, checked against the config's classes and pipeline.

    - An entry that no reader survives is an error that names it: see
      :func:`~g2sd_mm.data_layouts.coco_file.malformed`.
    - A class that the annotations lack would shift the labels of all classes after it: an error.
    - Annotations of categories that the config does not list are left out, and counted in the log.
    - An instance without a mask would end training with a ``KeyError``: it is ignored, as mmdet
      ignores those with a broken polygon.
    - In evaluation a broken polygon would stop pycocotools at the very end: an error at the start.
    - Run-length masks in a pipeline that keeps polygons would be ignored one and all: an error.
    """

    def COCOAPI(self, path: str) -> COCO:
        """The indexed annotation file (mmdet opens it by this name), its content checked."""
        annotations = read_annotations(path)
        say(self.ann_file, annotations.notes)
        self._check_categories(annotations.content)
        return indexed(COCO(), annotations.content)

    def load_data_list(self) -> list[dict]:
        """Entries of all images.

        Raises:
            DataError: see the class.
        """
        data_list = super().load_data_list()
        self._check_masks(data_list)
        return data_list

    def parse_data_info(self, raw_data_info: dict) -> dict:
        """Entry of one image; every instance has a ``mask``, if only an empty one."""
        info = super().parse_data_info(raw_data_info)
        for instance in info['instances']:
            instance.setdefault('mask', [])
        return info

    def filter_data(self) -> list[dict]:
        """Entries that ``filter_cfg`` keeps.

        Raises:
            DataError: if there is none; mmengine would fail to join their bytes.
        """
        kept = super().filter_data()
        if not kept:
            raise DataError(
                f'{self.ann_file} has no image that is read: {len(self.data_list)} are listed, and '
                'filter_cfg keeps those with an object of the classes'
            )
        return kept

    def _check_categories(self, content: dict[str, Any]) -> None:
        wanted = self.metainfo['classes']
        there = {category['id']: category['name'] for category in content['categories']}
        lacking = [name for name in wanted if name not in there.values()]
        if lacking:
            names = list(categories_of(content).values())
            near = difflib.get_close_matches(lacking[0], there.values(), n=1)
            raise DataError(
                f'{self.ann_file} has no category {some(list(map(repr, lacking)), 5)}'
                + (f' (did you mean {near[0]!r}?)' if near else '')
                + f'; its categories are {some(names, 20)}: list them as '
                'metainfo=dict(classes=(...)) of the data sets'
            )
        unlisted = Counter(
            there.get(annotation['category_id'], annotation['category_id'])
            for annotation in content['annotations']
            if there.get(annotation['category_id']) not in wanted
        )
        if unlisted:
            print_log(
                f'{self.ann_file}: {unlisted.total()} annotations of categories that the config '
                f'does not list are left out: {", ".join(map(str, sorted(unlisted, key=str)))}',
                logger='current',
            )

    def _check_masks(self, data_list: list[dict]) -> None:
        steps = self.pipeline.transforms
        instances = [(info, instance) for info in data_list for instance in info['instances']]
        if not all(getattr(step, 'poly2mask', True) for step in steps):
            coded = sum(isinstance(i['mask'], dict) and not i['ignore_flag'] for _, i in instances)
            if coded:
                raise DataError(
                    f'{self.ann_file} has {coded} instances with run-length masks, and the '
                    'pipeline keeps polygons: set poly2mask=True in its LoadAnnotations'
                )
        if self.test_mode and any(getattr(step, 'with_mask', False) for step in steps):
            broken = [
                Path(info['img_path']).name
                for info, instance in instances
                if not has_mask(instance['mask'], whole=True)
            ]
            if broken:
                raise DataError(
                    f'{self.ann_file} has {len(broken)} instances whose mask is no polygon, which '
                    f'the evaluation of masks cannot read (images {", ".join(broken[:3])}): mend '
                    'or remove them, or evaluate boxes alone: --cfg-options boxes_only=True'
                )
