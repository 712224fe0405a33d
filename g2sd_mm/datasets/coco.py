"""COCO-format annotations, with what mmdet passes over in silence said aloud."""

from __future__ import annotations

import difflib
from collections import Counter
from typing import Any

from mmdet.datasets import CocoDataset
from mmdet.datasets.api_wrappers import COCO
from mmdet.registry import DATASETS
from mmengine.logging import print_log


@DATASETS.register_module()
class CheckedCocoDataset(CocoDataset):
    """mmdet's ``CocoDataset``, checked against the config's classes and pipeline.

    - A class that the annotations lack would shift the labels of all classes after it: an error.
    - Annotations of categories that the config does not list are left out, and counted in the log.
    - An instance without a mask would end training with a ``KeyError``: it is ignored, as mmdet
      ignores those with a broken polygon.
    - Run-length masks in a pipeline that keeps polygons would be ignored one and all: an error.
    """

    def COCOAPI(self, path: str) -> COCO:
        """The indexed annotation file (mmdet opens it by this name), its categories checked."""
        coco = COCO(path)
        self._check_categories(coco.dataset)
        return coco

    def load_data_list(self) -> list[dict]:
        """Entries of all images.

        Raises:
            ValueError: see the class.
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

    def _check_categories(self, content: dict[str, Any]) -> None:
        wanted = self.metainfo['classes']
        there = {category['id']: category['name'] for category in content.get('categories', [])}
        lacking = [name for name in wanted if name not in there.values()]
        if lacking:
            near = difflib.get_close_matches(lacking[0], there.values(), n=1)
            raise ValueError(
                f'{self.ann_file} has no category {", ".join(map(repr, lacking[:5]))}'
                + (f' and {len(lacking) - 5} more' if len(lacking) > 5 else '')
                + (f'; did you mean {near[0]!r}?' if near else '')
                + f' Its categories are {", ".join(list(there.values())[:20])}: list them as '
                'metainfo=dict(classes=(...)) of the data sets'
            )
        unlisted = Counter(
            there.get(annotation['category_id'], annotation['category_id'])
            for annotation in content.get('annotations', [])
            if there.get(annotation['category_id']) not in wanted
        )
        if unlisted:
            print_log(
                f'{self.ann_file}: {unlisted.total()} annotations of categories that the config '
                f'does not list are left out: {", ".join(map(str, sorted(unlisted, key=str)))}',
                logger='current',
            )

    def _check_masks(self, data_list: list[dict]) -> None:
        if all(getattr(step, 'poly2mask', True) for step in self.pipeline.transforms):
            return
        coded = sum(
            isinstance(instance['mask'], dict) and not instance['ignore_flag']
            for info in data_list
            for instance in info['instances']
        )
        if coded:
            raise ValueError(
                f'{self.ann_file} has {coded} instances with run-length masks, and the pipeline '
                'keeps polygons: set poly2mask=True in its LoadAnnotations'
            )
