"""A step from a full-image teacher beside its halves, on the mini config."""

import torch

from benchmarks.speed import full_image_teacher
from benchmarks.speed.stages import Stage


def test_the_halves_do_what_the_step_does(monkeypatch):
    stage = Stage('mini', 'generic', 'configs/mini/g2sd_vits_generic_dinov2.py', 56, 2, 2)
    asked, losses = [], []

    def alternate(tasks, rounds):
        asked.extend(tasks)
        for name in tasks:
            losses.append(tasks[name]()())
        return {name: _Fixed(rounds) for name in tasks}

    monkeypatch.setattr(full_image_teacher, 'alternate', alternate)
    found = full_image_teacher.measure(stage, 'float32', batch=2, rounds=4)
    assert asked == ['step', 'teacher', 'student']
    step, answer, student = losses
    assert answer['features'].patches.shape == (2, 7, 7, 384)
    # alike, with an answer that is known; the two steps draw different masks
    torch.testing.assert_close(step['loss'], student['loss'], rtol=0.2, atol=0)
    assert found['step_over_sum'] == 0.5
    assert found['config'] == stage.config


class _Fixed:
    """One second a round."""

    median = 1.0

    def __init__(self, rounds):
        self.seconds = (1.0,) * rounds
