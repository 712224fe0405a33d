"""A small COCO-format set with everything that real ones have wrong, and configs cut down to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.config import Config

CLASSES = ('disc', 'square')
#: file name -> (height, width)
IMAGES = {
    'plain.png': (96, 128),
    'empty.png': (64, 64),  # no objects
    'crowd.png': (80, 60),  # one crowd region, nothing else
    'large.png': (1400, 900),
    'grey.png': (100, 100),
    'broken.png': (90, 90),  # polygons that are none
}


def write_set(folder: Path) -> Path:
    """Write images, ``train.json``, and ``val.json`` without the broken masks."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for image_id, (name, (height, width)) in enumerate(IMAGES.items(), start=7):
        channels = () if name == 'grey.png' else (3,)
        cv2.imwrite(str(folder / name), rng.integers(0, 255, (height, width, *channels), np.uint8))
        images.append(dict(id=image_id, file_name=name, height=height, width=width))
        for record in _annotations(name, height, width):
            middle = [0.2 * width, 0.2 * height, width / 2, height / 2]
            x, y, w, h = record.setdefault('bbox', middle)
            record.setdefault('segmentation', [[x, y, x + w, y, x + w, y + h, x, y + h]])
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=image_id,
                    category_id=3,
                    area=w * h,
                    iscrowd=0,
                )
                | record
            )
    content = dict(
        images=images,
        annotations=annotations,
        categories=[dict(id=3, name='disc'), dict(id=90, name='square')],
    )
    (folder / 'train.json').write_text(json.dumps(content))
    content['annotations'] = [a for a in annotations if not _is_broken(a['segmentation'])]
    (folder / 'val.json').write_text(json.dumps(content))
    return folder


def _is_broken(mask: list | dict) -> bool:
    return isinstance(mask, list) and (not mask or len(mask[0]) < 6)


def _annotations(name: str, height: int, width: int) -> list[dict[str, Any]]:
    if name == 'empty.png':
        return []
    if name == 'crowd.png':
        runs = {'size': [height, width], 'counts': [100, height * width - 100]}  # uncompressed
        return [dict(iscrowd=1, segmentation=runs)]
    if name == 'broken.png':
        return [
            dict(segmentation=[[10, 10, 50]]),  # half a point
            dict(segmentation=[[10, 10, 50, 10]]),  # a line
            dict(segmentation=[]),  # nothing
            dict(segmentation=[[10, 10, 60, 60, 60, 10, 10, 60]]),  # crosses itself
            dict(bbox=[10, 10, 0, 30]),  # a box without area
            dict(segmentation=[[-20, -20, 200, -20, 200, 200, -20, 200]]),  # beyond the image
        ]
    return [{}, dict(category_id=90, bbox=[5, 5, 30, 30])]


def small(config: str, folder: Path, work_dir: Path, **options: Any) -> Config:
    """A config of ``configs/`` at toy size, reading the set in ``folder``.

    The student is a tiny ViT at 128 px with all parts of the large one; data steps stay.
    """
    cfg = Config.fromfile(config)
    cfg = Config(shrink(cfg._cfg_dict.to_dict()))
    model = cfg.model
    model.backbone.update(
        arch=dict(embed_dim=24, depth=2, num_heads=3, patch_size=16),
        img_size=128,
        window_size=3,
        global_blocks=(1,),
        init_cfg=None,
    )
    model.neck.in_channels = 24
    model.rpn_head.anchor_generator.scales = [2]
    for head in (model.roi_head.bbox_head, model.roi_head.mask_head):
        head.num_classes = len(CLASSES)
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        dataset = cfg[loader].dataset
        dataset = dataset.get('dataset', dataset)
        dataset.update(
            data_root=f'{folder}/',
            ann_file='train.json' if loader.startswith('train') else 'val.json',
            data_prefix=dict(img=''),
            metainfo=dict(classes=CLASSES),
        )
        cfg[loader].update(num_workers=0, persistent_workers=False, pin_memory=False, batch_size=2)
    # training reads the image without objects too
    cfg.train_dataloader.dataset.dataset.filter_cfg = None
    for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
        evaluator.ann_file = f'{folder}/val.json'
    cfg.train_cfg.update(max_iters=4, val_interval=4)
    cfg.default_hooks.checkpoint.interval = 4
    cfg.work_dir, cfg.log_level = str(work_dir), 'ERROR'
    cfg.merge_from_dict(options)
    return cfg


_SMALLER = {1024: 128, 832: 96, 256: 16}
_KEPT = ('max_per_img', 'num', 'nms_pre', 'base_batch_size')


def shrink(value: Any) -> Any:
    """Sizes in pixels and channels divided by eight and more."""
    if isinstance(value, dict):
        return {k: v if k in _KEPT else shrink(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(shrink(item) for item in value)
    return _SMALLER.get(value, value) if isinstance(value, int) else value
