"""A small set of images with depth maps, and depth configs cut down to it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from mmengine.config import Config

SIDE = 64


def shrink(cfg: Config, width: int) -> None:
    """Few channels and small images, in place."""
    model = cfg.model
    model.backbone.img_size = SIDE
    model.data_preprocessor.size = (SIDE, SIDE)
    if 'size' in model.data_preprocessor.test_cfg:
        model.data_preprocessor.test_cfg.size = (SIDE, SIDE)
    model.decode_head.update(
        embed_dims=width, channels=8, post_process_channels=(8, 8, 8, 8)
    )
    loaders = [cfg.get(f'{name}_dataloader') for name in ('train', 'val', 'test')]
    for dataset in (loader.dataset for loader in loaders if loader):
        for step in dataset.get('dataset', dataset).pipeline:
            if step.type == 'Resize':
                step.scale = (SIDE, SIDE)


def depth_map(height: int = SIDE, width: int = SIDE) -> np.ndarray:
    """Metres: 1 at the left to 5 at the right, and a hole without depth."""
    metres = np.tile(np.linspace(1, 5, width), (height, 1))
    metres[:8, :8] = 0
    return metres


def write_data(root: Path, ending: str = '.png', number: int = 4) -> Path:
    """``{images,depth}/{train,val}``: maps in millimetres (PNG) or metres (``.npy``)."""
    rng = np.random.default_rng(0)
    for split in ('train', 'val'):
        for part in ('images', 'depth'):
            (root / part / split).mkdir(parents=True)
        for i in range(number):
            image = rng.integers(0, 255, (SIDE, SIDE, 3), np.uint8)
            cv2.imwrite(str(root / f'images/{split}/scene{i}.jpg'), image)
            write_map(root / f'depth/{split}/scene{i}{ending}', depth_map())
    return root


def write_map(path: Path, metres: np.ndarray) -> None:
    """A map's file, by its ending."""
    if path.suffix == '.npy':
        np.save(path, metres.astype(np.float32))
    else:
        cv2.imwrite(str(path), np.rint(1000 * metres).astype(np.uint16))


def on_small_data(cfg: Config, root: Path, work_dir: Path | None = None) -> Config:
    """Read :func:`write_data`'s PNG maps, in this process."""
    for split in ('train', 'val', 'test'):
        loader = cfg[f'{split}_dataloader']
        dataset = loader.dataset.get('dataset', loader.dataset)
        folder = 'train' if split == 'train' else 'val'
        prefix = dict(img_path=f'images/{folder}', depth_map_path=f'depth/{folder}')
        dataset.update(data_root=str(root), data_prefix=prefix, img_suffix='.jpg')
        loader.update(num_workers=0, persistent_workers=False, batch_size=2)
    cfg.pop('shapes', None)
    if work_dir is not None:
        cfg.work_dir = str(work_dir)
    return cfg
