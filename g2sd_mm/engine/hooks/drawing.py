"""Draw what a test predicts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mmcv
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ...config.parts import task_of_config
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
            image = mmcv.imread(sample.img_path, channel_order='rgb')
            drawn = draw_sample(task, image, sample, classes)
            name = f'{Path(sample.img_path).parent.name}_{Path(sample.img_path).stem}.jpg'
            mmcv.imwrite(mmcv.rgb2bgr(drawn), str(self.folder / name))
