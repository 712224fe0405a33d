"""Write the weights that the next stage, or a stock library, loads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ...checkpoints import read_weights
from ...checkpoints.fitting import grid_text
from ...checkpoints.record import Record, describe_network, describe_origin
from ...checkpoints.sidecar import write_sidecar
from ...checkpoints.write import write_weights
from ...version import __version__
from .access import bare_model

#: What is watched for the best file: the first of these that validation reports.
_METRICS = ('accuracy/top1', 'coco/segm_mAP', 'coco/bbox_mAP', 'mIoU')


@HOOKS.register_module()
class WeightsExportHook(Hook):
    """Writes ``weights.pth`` at the end of training, ``best_weights.pth`` at the best validation.

    They hold plain weights without teacher, adapters or optimizer state: of a distiller the student
    (stage 1: its encoder), of any other model the model itself. The JSON beside each says what
    network it is, and where it comes from (:mod:`g2sd_mm.checkpoints.sidecar`); training
    checkpoints carry the same under ``meta.student``, so that a student can be taken out of them.
    """

    priority = 'LOW'

    def __init__(self) -> None:
        self._best: float | None = None
        self._validated: Record = {'metrics': {}}
        self._files: Record | None = None

    def before_train(self, runner: Runner) -> None:
        """Take the digests of the files that this run starts from, before anybody changes them.

        A resumed run takes the best of before from the file that it wrote. (An epoch's checkpoint
        is saved before its validation, so it does not know.)
        """
        if is_main_process():
            self._files = describe_origin(runner.cfg)
        path = Path(runner.work_dir) / 'best_weights.pth'
        if runner.iter > 0 and path.is_file():
            self._best = max(read_weights(path).meta.get('metrics', {}).values(), default=None)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Keep the best weights; larger is better for every metric watched."""
        metrics = {name: float(value) for name, value in (metrics or {}).items()}
        self._validated = {'metrics': metrics, 'metrics_iter': runner.iter}
        name = next((m for m in _METRICS if m in metrics), None)
        if name is None:
            return
        if self._best is None or metrics[name] > self._best:
            self._best = metrics[name]
            self._write(runner, 'best_weights.pth', {name: metrics[name]})

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Training checkpoints say what their student is."""
        record, meta = self._record(runner), checkpoint['meta']
        # it is saved inside of the epoch or iteration that it completes
        record['origin'].update(epoch=meta['epoch'], iter=meta['iter'])
        meta['student'], meta['grid'] = record, grid_text(bare_model(runner))

    def after_train(self, runner: Runner) -> None:
        """Keep the last weights."""
        self._write(runner, 'weights.pth', {})

    def _write(self, runner: Runner, name: str, metrics: dict[str, float]) -> None:
        model = bare_model(runner)
        # by all ranks: the parts of a sharded model are gathered
        state = getattr(model, 'deployable_state', model.state_dict)()
        if not is_main_process():
            return
        record = self._record(runner)
        meta: dict[str, Any] = {
            'g2sd_mm': __version__,
            'model': type(getattr(model, 'student', model)).__name__,
            'experiment': runner.experiment_name,
            'epoch': runner.epoch,
            'iter': runner.iter,
            'seed': runner.seed,
            'metrics': metrics,
            'norm_pix': getattr(model, 'norm_pix', None),
            'grid': grid_text(model),
            'student': record,
        }
        path = Path(runner.work_dir) / name
        write_weights(path, state, meta)
        write_sidecar(path, record, sum(tensor.numel() for tensor in state.values()))
        runner.logger.info('weights for the next stage or a stock library: %s', path)

    def _record(self, runner: Runner) -> Record:
        """What the student is now, in plain values."""
        if self._files is None:  # validation outside of training
            self._files = describe_origin(runner.cfg)
        return {
            'network': describe_network(runner.cfg, _class_names(runner)),
            'origin': {
                **self._files,
                **self._validated,
                'experiment': runner.experiment_name,
                'epoch': runner.epoch,
                'iter': runner.iter,
                'seed': runner.seed,
            },
        }


def _class_names(runner: Runner) -> tuple[str, ...]:
    """Names of the classes of the training data; empty if it has none."""
    dataset = getattr(getattr(runner.train_loop, 'dataloader', None), 'dataset', None)
    return tuple((getattr(dataset, 'metainfo', None) or {}).get('classes') or ())
