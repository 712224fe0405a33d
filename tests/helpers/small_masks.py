"""A small set of images and masks, and segmentation configs cut down to it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from mmengine.config import Config, ConfigDict

from g2sd_mm.config.parts import sync_batch_norm

from .toys import ROOT

STUDENT, TEACHER, CROP = 24, 32, 64


def shrink(model: ConfigDict, width: int) -> None:
    """The same network with few channels and small crops, random weights."""
    backbone = model.backbone
    depth = max(backbone.out_indices) + 1
    patch = 8 if str(backbone.arch).startswith('demo') else 16
    backbone.update(
        arch=dict(embed_dim=width, depth=depth, num_heads=2, patch_size=patch), img_size=CROP
    )
    backbone.pop('init_cfg')
    model.neck.embed_dim = width
    model.decode_head.update(in_channels=[width] * 4, channels=16)
    model.auxiliary_head.update(in_channels=width, channels=16)
    model.data_preprocessor.size = (CROP, CROP)
    if model.test_cfg.mode == 'slide':
        model.data_preprocessor.test_cfg.size = (CROP, CROP)
        model.test_cfg.update(crop_size=(CROP, CROP), stride=(43, 43))


def small_config(name: str) -> Config:
    """A config at reduced width on one process, its teacher's likewise with random weights."""
    cfg = Config.fromfile(ROOT / 'configs' / name)
    shrink(cfg.model, STUDENT)
    if cfg.get('distillation'):
        block = cfg.distillation
        teacher = Config.fromfile(ROOT / block.teacher.config)
        shrink(teacher.model, TEACHER)
        block.teacher.update(
            config=dict(model=teacher.model, default_scope='mmseg'),
            checkpoint=None,
            random_weights=True,
        )
        for adapter in (block.get('adapters') or {}).values():
            adapter.update(in_channels=STUDENT, out_channels=TEACHER)
        for loss in (block.get('losses') or {}).values():
            if loss.type == 'MaskedGenerationLoss':  # of the head's features
                loss.channels = cfg.model.decode_head.channels
                loss.pop('student_channels', None)
    return sync_batch_norm(cfg, 'none')


def write_data(root: Path, sizes=((80, 96), (72, 64), (50, 40)), labels: int = 150) -> Path:
    """A data set in ADE20K's folders: grey gradients with masks of two classes."""
    rng = np.random.default_rng(0)
    for split in ('training', 'validation'):
        for part in ('images', 'annotations'):
            (root / part / split).mkdir(parents=True)
        for i, (height, width) in enumerate(sizes):
            image = rng.integers(0, 255, (height, width, 3), np.uint8)
            mask = np.ones((height, width), np.uint8)
            mask[height // 2 :] = labels
            mask[0] = 0
            cv2.imwrite(str(root / f'images/{split}/{i}.jpg'), image)
            cv2.imwrite(str(root / f'annotations/{split}/{i}.png'), mask)
    return root


def on_small_data(cfg: Config, root: Path, work_dir: Path, steps: int = 2) -> Config:
    """Train ``cfg`` for a few steps on images of the test's own, at the test's crop size."""
    scaled = dict(scale=(4 * CROP, CROP))
    for step in cfg.train_dataloader.dataset.dataset.pipeline:
        step.update({'RandomResize': scaled, 'RandomCrop': dict(crop_size=(CROP, CROP))}.get(
            step.type, {}))
    for step in (*cfg.val_dataloader.dataset.pipeline, *cfg.test_pipeline):
        step.update(scaled if step.type == 'Resize' else {})
    for dataset in (cfg.train_dataloader.dataset.dataset, cfg.val_dataloader.dataset):
        dataset.data_root = str(root)
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.update(num_workers=0, persistent_workers=False)
    cfg.test_dataloader = cfg.val_dataloader
    cfg.train_cfg.update(max_iters=steps, val_interval=steps)
    cfg.default_hooks.checkpoint.interval = steps
    cfg.update(work_dir=str(work_dir), log_level='ERROR', launcher='none')
    return cfg
