"""In bfloat16 the loss falls as in float32."""

from __future__ import annotations

import numpy as np
import pytest

from ..helpers.runs import loader, runner
from ..helpers.toys import distiller

STEPS = 150
pytestmark = pytest.mark.slow


def curve(folder, dtype: str, seed: int) -> np.ndarray:
    """Losses of stage 1: teacher and autocast in one precision."""
    model = distiller(teacher={'random_weights': True, 'dtype': dtype}, seed=seed)
    wrapper = 'AutocastOptimWrapper' if dtype == 'bfloat16' else 'OptimWrapper'
    run = runner(
        folder, model, train_dataloader=loader(STEPS, 16, stacked=True),
        train_cfg=dict(by_epoch=True, max_epochs=1), randomness=dict(seed=seed),
        optim_wrapper=dict(
            type=wrapper, constructor='ViTLayerDecayConstructor',
            optimizer=dict(type='AdamW', lr=3e-3),
        ),
        default_hooks=dict(
            runtime_info=dict(type='MetricsHook'), logger=dict(type='LoggerHook', interval=50)
        ),
        custom_hooks=[dict(type='StepSeedHook')],
    )
    run.train()
    return run.message_hub.get_scalar('train/loss').data[0]


def test_the_loss_in_bfloat16_stays_within_the_noise_between_seeds(tmp_path):
    one, other = (curve(tmp_path / str(seed), 'float32', seed) for seed in range(2))
    half = curve(tmp_path / 'bfloat16', 'bfloat16', 0)
    assert one[-10:].mean() < 0.8 * one[:10].mean()  # it learns
    noise = np.abs(one - other).mean()
    assert 0 < np.abs(one - half).mean() < noise / 2
