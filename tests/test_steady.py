"""A long run keeps its pace: the last steps take as long as the first."""

from __future__ import annotations

import time

import numpy as np
import pytest
from mmengine.hooks import Hook

from .helpers.runs import loader, runner
from .helpers.toys import distiller

STEPS = 2000
pytestmark = pytest.mark.slow


class Clock(Hook):
    """When every step was done."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def after_train_iter(self, *args, **kwargs):
        self.times.append(time.perf_counter())


def test_two_thousand_steps_take_as_long_at_the_end(tmp_path):
    clock = Clock()
    runner(
        tmp_path, distiller(), train_dataloader=loader(STEPS, stacked=True),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        optim_wrapper=dict(
            constructor='ViTLayerDecayConstructor', optimizer=dict(type='AdamW', lr=1e-4)
        ),
        default_hooks=dict(
            runtime_info=dict(type='MetricsHook'), logger=dict(type='LoggerHook', interval=50),
        ),
        custom_hooks=[dict(type='StepSeedHook'), clock],
    ).train()
    seconds = np.diff(clock.times)
    # the quicker half of either end: other work on the machine comes and goes
    early, late = (np.quantile(part, 0.25) for part in (seconds[100:600], seconds[-500:]))
    assert late < 1.1 * early
