"""Learning rates of every update, in mmengine's own loop."""

from __future__ import annotations

import math

import pytest
import torch

from g2sd_mm.engine.schedules import WarmupPolyLR, warmup_cosine, warmup_multistep, warmup_poly

from ..helpers.runs import Slope, loader, runner, updates
from ..helpers.toys import words

EPOCHS, WARMUP, LOW = 6, 2, 0.01


def published(epoch: float) -> float:
    """The published rate at a fractional epoch, over the base rate."""
    if epoch < WARMUP:
        return epoch / WARMUP
    share = (epoch - WARMUP) / (EPOCHS - WARMUP)
    return LOW + (1 - LOW) * 0.5 * (1 + math.cos(math.pi * share))


def cosine(**options) -> dict:
    return dict(
        type='WarmupCosineLR',
        warmup=WARMUP,
        min_ratio=LOW,
        by_epoch=True,
        convert_to_iter_based=True,
        **options,
    )


def train(
    folder,
    batches: int,
    accumulation: int = 1,
    scheduler: dict | None = None,
    epochs: int = EPOCHS,
    **changes,
):
    """Rates of a run's updates."""
    run = runner(
        folder,
        Slope(),
        train_dataloader=loader(batches),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        optim_wrapper=dict(
            type='OptimWrapper',
            optimizer=dict(type='SGD', lr=2.0),
            accumulative_counts=accumulation,
        ),
        param_scheduler=[scheduler or cosine(accumulation=accumulation)],
        **changes,
    )
    rates = updates(run)
    run.train()
    return rates


def test_every_update_has_the_published_rate(tmp_path):
    rates = train(tmp_path, batches=5)
    assert rates == pytest.approx([2 * published(i / 5) for i in range(EPOCHS * 5)], rel=1e-9)
    assert rates[0] == 0


def test_an_accumulated_update_has_the_rate_of_its_first_micro_batch(tmp_path):
    rates = train(tmp_path, batches=6, accumulation=3)
    expected = [2 * published(i / 6) for i in range(0, EPOCHS * 6, 3)]
    assert rates == pytest.approx(expected, rel=1e-9)


def test_a_resumed_run_goes_on_where_it_was(tmp_path):
    hooks = dict(logger=None, checkpoint=dict(type='CheckpointHook', interval=1))
    whole = train(tmp_path / 'whole', batches=5, default_hooks=hooks)
    resumed = train(
        tmp_path / 'resumed',
        batches=5,
        default_hooks=hooks,
        resume=True,
        load_from=str(tmp_path / 'whole' / 'epoch_4.pth'),
    )
    assert resumed == whole[4 * 5 :]


def test_every_group_keeps_its_scale(tmp_path):
    run = runner(tmp_path, Slope(), param_scheduler=[cosine()],
                 train_cfg=dict(by_epoch=True, max_epochs=EPOCHS))
    run.optim_wrapper = run.build_optim_wrapper(run.optim_wrapper)
    groups = run.optim_wrapper.optimizer.param_groups
    groups.append({**groups[0], 'params': [], 'lr': 0.25})
    seen = []
    run.optim_wrapper.optimizer.register_step_pre_hook(
        lambda opt, *_: seen.append([group['lr'] for group in opt.param_groups])
    )
    run.train()
    assert all(b == pytest.approx(0.25 * a) for a, b in seen)
    assert seen[-1][1] > 0


def test_iterations_can_be_the_unit(tmp_path):
    scheduler = dict(type='WarmupPolyLR', by_epoch=False, warmup=4, warmup_ratio=0.1)
    run = runner(tmp_path, Slope(), param_scheduler=[scheduler], train_dataloader=loader(20),
                 train_cfg=dict(type='IterBasedTrainLoop', max_iters=20))
    rates = updates(run)
    run.train()
    assert rates == pytest.approx([warmup_poly(i, 4, 20, 1.0, 0.1) for i in range(20)])


def test_the_rate_falls_at_milestones(tmp_path):
    scheduler = dict(type='WarmupMultiStepLR', warmup=4, milestones=(6, 9), warmup_ratio=0.1)
    run = runner(tmp_path, Slope(), param_scheduler=[scheduler], train_dataloader=loader(12),
                 train_cfg=dict(type='IterBasedTrainLoop', max_iters=12))
    rates = updates(run)
    run.train()
    assert rates[:4] == pytest.approx([0.1, 0.325, 0.55, 0.775])
    assert rates[4:] == pytest.approx([1, 1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01])


def test_milestones_as_shares_of_the_run_fall_on_updates(tmp_path):
    """22 steps of 2 an update are 11 updates: 8/9 of them is 9.8, so the tenth, step 20."""
    scheduler = dict(type='WarmupMultiStepLR', by_epoch=False, accumulation=2, warmup=0,
                     milestones=(1 / 9, 8 / 9))
    run = runner(tmp_path, Slope(), param_scheduler=[scheduler], train_dataloader=loader(22),
                 train_cfg=dict(type='IterBasedTrainLoop', max_iters=22),
                 optim_wrapper=dict(accumulative_counts=2, optimizer=dict(type='SGD', lr=1.0)))
    rates = updates(run)
    run.train()
    assert rates == pytest.approx([1] + 9 * [0.1] + [0.01])


def test_a_run_whose_length_would_be_taken_for_epochs_is_refused(tmp_path):
    """mmengine passes a length of 1 to an iteration-based run that does not say its unit."""
    with pytest.raises(ValueError, match=words('set by_epoch=False', 'or total')):
        train(tmp_path, batches=2, scheduler=dict(type='WarmupPolyLR', warmup=0))


def test_a_schedule_without_a_length_is_refused():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    with pytest.raises(ValueError, match='needs the length of the run: set total'):
        WarmupPolyLR(optimizer, warmup=0)


def test_a_warm_up_longer_than_the_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match=words('warm-up of 6', 'run of 6', 'param_scheduler.0')):
        train(tmp_path, batches=2, scheduler=dict(cosine(), warmup=6))


def test_formulas_at_their_ends():
    assert warmup_cosine(0, 0, 10) == 1
    assert warmup_cosine(5, 5, 10, 0.1) == 1
    assert warmup_cosine(10, 5, 10, 0.1) == pytest.approx(0.1)
    assert warmup_poly(0, 10, 100, warmup_ratio=0.5) == 0.5
    assert warmup_poly(50, 10, 100, power=2.0) == 0.25
    assert warmup_multistep(0, 10, (20,), warmup_ratio=0.25) == 0.25
    assert warmup_multistep(20, 10, (20, 30)) == 0.1


def test_past_its_end_a_rate_stays_where_it_is():
    assert warmup_cosine(15, 5, 10, 0.1) == pytest.approx(0.1)
    assert warmup_poly(150, 10, 100, power=0.9) == 0


def test_a_resumed_run_that_was_lengthened_follows_the_longer_schedule(tmp_path):
    hooks = dict(logger=None, checkpoint=dict(type='CheckpointHook', interval=1))
    train(tmp_path / 'short', batches=5, default_hooks=hooks)
    resumed = train(
        tmp_path / 'resumed',
        batches=5,
        default_hooks=hooks,
        epochs=2 * EPOCHS,
        resume=True,
        load_from=str(tmp_path / 'short' / f'epoch_{EPOCHS}.pth'),
    )
    whole = train(tmp_path / 'whole', batches=5, default_hooks=hooks, epochs=2 * EPOCHS)
    # the first one was set when the short run ended
    assert resumed[1:] == whole[EPOCHS * 5 + 1 :]
    assert resumed[1] > resumed[-1]
