"""A loss that leaves its place is told of, once."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest
import torch

from g2sd_mm.engine import DivergenceHook

from ..helpers.toys import Lines, words


def told(losses, **arguments) -> list[str]:
    logger = logging.getLogger('divergence under test')
    logger.handlers = [lines := Lines()]
    hook = DivergenceHook(**{**dict(factor=3.0, patience=4, window=20), **arguments})
    for step, loss in enumerate(losses):
        run = SimpleNamespace(logger=logger, iter=step)
        hook.after_train_iter(run, step, outputs={'loss': torch.tensor(loss)})
    return lines.lines


def test_a_loss_that_stays_high_is_told_of_once():
    (line,) = told([1.0] * 15 + [5.0] * 10)
    start = 'the loss diverges: 5 at step 19, above 3 x its running median of 1 for 4 steps'
    assert line.startswith(start)


@pytest.mark.parametrize(
    'losses',
    [
        [1.0] * 40,
        [1.0] * 15 + [5.0] * 3 + [1.0] * 15,  # a spike
        [1.0] * 15 + [2.9] * 20,  # below the limit
        [5.0] * 5 + [1.0] * 20,  # falling
        [1.0] * 5 + [5.0] * 8,  # too early to know what is usual
    ],
    ids=['flat', 'spike', 'small', 'falling', 'early'],
)
def test_other_losses_are_not(losses):
    assert told(losses) == []


def test_the_next_time_is_told_of_again():
    wave = [1.0] * 15 + [5.0] * 5
    assert len(told(wave + wave)) == 2


def test_a_window_that_the_loss_would_fill_is_refused():
    with pytest.raises(ValueError, match=words('window of 10', 'patience of 6')):
        DivergenceHook(window=10, patience=6)
