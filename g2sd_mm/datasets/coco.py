"""COCO-format annotations by the name that configs of detection have for them."""

from __future__ import annotations

from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS


@DATASETS.register_module()
class CheckedCocoDataset(CocoDataset):
    """mmdet's ``CocoDataset``; what is checked of both is in :mod:`g2sd_mm.compat.coco_files`."""
