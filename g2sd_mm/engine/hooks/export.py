"""Write the weights that the next stage, or a stock library, loads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ...checkpoints import read_weights
from ...checkpoints.write import write_weights
from ...version import __version__
from .access import bare_model

#: What is watched for the best file: the first of these that validation reports.
_METRICS = ('accuracy/top1', 'coco/segm_mAP', 'coco/bbox_mAP', 'mIoU')


@HOOKS.register_module()
class WeightsExportHook(Hook):
    """Writes ``weights.pth`` at the end of training, ``best_weights.pth`` at the best validation.

    They hold plain weights without teacher, adapters or optimizer state: of a distiller the student
    (stage 1: its encoder), of any other model the model itself.
    """

    priority = 'LOW'

    def __init__(self) -> None:
        self._best: float | None = None

    def before_train(self, runner: Runner) -> None:
        """A resumed run takes the best of before from the file that it wrote.

        (An epoch's checkpoint is saved before its validation, so it does not know.)
        """
        path = Path(runner.work_dir) / 'best_weights.pth'
        if runner.iter > 0 and path.is_file():
            self._best = max(read_weights(path).meta.get('metrics', {}).values(), default=None)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Keep the best weights; larger is better for every metric watched."""
        name = next((m for m in _METRICS if m in (metrics or {})), None)
        if name is None:
            return
        value = float(metrics[name])
        if self._best is None or value > self._best:
            self._best = value
            self._write(runner, 'best_weights.pth', {name: value})

    def after_train(self, runner: Runner) -> None:
        """Keep the last weights."""
        self._write(runner, 'weights.pth', {})

    def _write(self, runner: Runner, name: str, metrics: dict[str, float]) -> None:
        if not is_main_process():
            return
        model = bare_model(runner)
        state = getattr(model, 'deployable_state', model.state_dict)()
        meta: dict[str, Any] = {
            'g2sd_mm': __version__,
            'model': type(getattr(model, 'student', model)).__name__,
            'experiment': runner.experiment_name,
            'epoch': runner.epoch,
            'iter': runner.iter,
            'seed': runner.seed,
            'metrics': metrics,
            'norm_pix': getattr(model, 'norm_pix', None),
        }
        path = Path(runner.work_dir) / name
        write_weights(path, state, meta)
        runner.logger.info('weights for the next stage or a stock library: %s', path)
