"""A suite with runs of a few updates: does it work on these data, before hours go into it?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from .budget import raw_config
from .suites import Step, Suite

UPDATES = 2  # of each run
IMAGES = 16  # of the validation set that each run is judged by, the first ones
NOTE = (
    f'A smoke run: {UPDATES} updates a run, judged by {IMAGES} validation images at most. '
    'It shows that everything runs; its figures mean nothing.'
)


def smoke(suite: Suite, updates: int = UPDATES) -> Suite:
    """The suite with every run of a few updates, the first of its seeds, no record.

    Everything else stays as it is: networks, batches, loops, hooks, evaluation. The suite has a
    name of its own, so that its folder is not that of the real runs.
    """
    return replace(
        suite.on_own_test_data().with_steps(lambda step: _shortened(step, updates)),
        name=f'{suite.name}_smoke',
        seeds=suite.seeds[:1],
        record=None,
        note=NOTE,
    )


def _shortened(step: Step, updates: int) -> Step:
    cfg = raw_config(step.config, step.options)
    steps = updates * cfg.optim_wrapper.get('accumulative_counts', 1)
    options: dict[str, Any] = {
        # one pass over them, for the loops that count in epochs
        'train_dataloader.dataset.samples': steps * cfg.train_dataloader.batch_size,
        'param_scheduler.0.warmup': 0,
        'default_hooks.logger.interval': 1,
    }
    by_epoch = 'max_epochs' in cfg.train_cfg
    length = 1 if by_epoch else steps
    options['train_cfg.max_epochs' if by_epoch else 'train_cfg.max_iters'] = length
    if cfg.get('val_dataloader'):
        options['train_cfg.val_interval'] = length
        options['val_dataloader.dataset.indices'] = IMAGES
    if cfg.model.type == 'MaskRCNN':
        # a network that has learnt nothing is sure of nothing, and without boxes are no figures
        options['model.test_cfg.rcnn.score_thr'] = 0.0
    return replace(step, options={**step.options, **options})
