"""Keep a teacher's decisions, or take those that an earlier run has kept."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from mmengine.dist import get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ..engine.hooks.access import bare_model
from ..engine.hooks.seeding import StepSeedHook
from .labels import TeacherLabels


@HOOKS.register_module()
class TeacherLabelsHook(Hook):
    """The teacher of hard-label distillation is asked once for every image that it ever sees.

    What decides its answers makes the name of a folder: seed, teacher, training data and their
    augmentation, batch, processes. Runs that agree in it share the labels; any other run starts
    its own. About 2 bytes an image and epoch: 0.5 GB for 200 epochs of ImageNet.

    Args:
        folder: where the labels are kept.
    """

    _labels: TeacherLabels  # from the start of training on

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def before_train(self, runner: Runner) -> None:
        """Open this process's file.

        Raises:
            ValueError: if the losses need more of the teacher than its decisions, or if nothing
                ties the augmentation of a step to the step.
        """
        if not any(isinstance(hook, StepSeedHook) for hook in runner.hooks):
            raise ValueError(
                'TeacherLabelsHook keeps labels by step, and without StepSeedHook a step has other '
                "images each time: add dict(type='StepSeedHook') to custom_hooks"
            )
        distillation = bare_model(runner).distillation
        batch = runner.train_dataloader.batch_size
        processes = get_world_size()
        path = self.folder / replayed(runner) / f'rank{get_rank()}of{processes}x{batch}.labels'
        self._labels = TeacherLabels(path, runner.max_iters, batch)
        distillation.use_labels(self._labels)
        runner.logger.info('the decisions of the teacher are kept in %s', path)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Turn to the row of this step."""
        self._labels.step = runner.iter

    def after_train(self, runner: Runner) -> None:
        """Say how often the teacher was spared."""
        runner.logger.info(
            'of %d batches the labels were on file, for %d the teacher was asked',
            self._labels.found, self._labels.asked,
        )


def replayed(runner: Runner) -> str:
    """16 hex digits that stand for all that decides what the teacher sees and answers."""
    cfg = runner.cfg
    loader = dict(cfg.train_dataloader)
    for name in ('num_workers', 'persistent_workers', 'pin_memory', 'prefetch_factor'):
        loader.pop(name, None)
    student = cfg.model.get('student', {})
    metainfo = getattr(runner.train_dataloader.dataset, 'metainfo', None) or {}
    parts = {
        'seed': runner.seed,
        'weights': bare_model(runner).teacher.checksum(),
        'teacher': {name: v for name, v in cfg.model.teacher.items() if name != 'checkpoint'},
        'data': loader,
        # labels are numbers: with other folders or another order they are others
        'classes': metainfo.get('classes'),
        # normalisation and mixing
        'preprocessing': [student.get('data_preprocessor'), student.get('train_cfg')],
    }
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
