"""Draw what a test predicts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mmcv
import numpy as np
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ...config.channels import image_channels
from ...config.parts import innermost_dataset, task_of_config
from ...students.reading import read_pixels, shown
from ...tasks.drawing import draw_sample


@HOOKS.register_module()
class DrawPredictionsHook(Hook):
    """Writes ``<image name>.jpg`` with the predictions of every test image, any task.

    Args:
        folder: where the pictures go.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Sequence[Any] | None = None,
    ) -> None:
        """Draw the batch that was just predicted."""
        self.folder.mkdir(parents=True, exist_ok=True)
        task = task_of_config(runner.cfg)
        if task is None:
            return
        classes = runner.test_dataloader.dataset.metainfo.get('classes') or ()
        for sample in outputs or ():
            image = _picture(runner.cfg, sample.img_path)
            drawn = draw_sample(task, image, sample, classes)
            name = f'{Path(sample.img_path).parent.name}_{Path(sample.img_path).stem}.jpg'
            mmcv.imwrite(mmcv.rgb2bgr(drawn), str(self.folder / name))


def _picture(cfg: Config, path: str) -> np.ndarray:
    """What an image file shows, uint8 [height, width, 3], RGB."""
    if image_channels(cfg.model) == 3:
        return mmcv.imread(path, channel_order='rgb')
    dataset = innermost_dataset(cfg.test_dataloader.dataset)
    return shown(read_pixels(dataset.pipeline[0], path))
