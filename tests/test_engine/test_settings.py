"""What of a model and its losses changed since a checkpoint."""

from __future__ import annotations

from mmengine.config import Config

import g2sd_mm
from g2sd_mm.engine.hooks.resuming import changed_settings, model_settings

HEAD = dict(type='LinearClsHead', num_classes=3, loss=dict(type='LabelSmoothLoss', label=0.1))


def settings(weight: float = 1.0, **head) -> dict:
    """Of a distilled config, as a run has it."""
    cfg = Config(
        dict(
            model=dict(type='ImageClassifier', head={**HEAD, **head}, backbone=dict(
                type='G2SDViT', size=(8, 8), init_cfg=dict(checkpoint='a.pth'))),
            distillation=dict(
                teacher=dict(config='a.py', checkpoint='/here/a.pth', forward=('backbone',)),
                taps=dict(logits='head.fc'),
                losses=dict(loss_kd=dict(type='NKDLoss', tap='logits', loss_weight=weight)),
            ),
        )
    )
    return model_settings(g2sd_mm.distill_config(cfg))


def test_settings_have_the_places_of_the_config():
    found = settings()
    assert found['distillation.losses.loss_kd.loss_weight'] == 1.0
    assert found['model.head.loss.label'] == 0.1 and found['model.backbone.size'] == '[8, 8]'
    assert not [place for place in found if 'checkpoint' in place or 'student' in place]


def test_what_changed_is_named_with_both_values():
    assert changed_settings(settings(), settings()) == []
    assert changed_settings(settings(), settings(weight=5)) == [
        'changed since the checkpoint: distillation.losses.loss_kd.loss_weight: 1.0, now 5'
    ]
    (line,) = changed_settings(settings(), settings(bias=False))
    assert line.endswith('model.head.bias: not set, now False')


def test_a_model_that_is_another_one_has_few_lines():
    lines = changed_settings(settings(), {f'model.{i}': i for i in range(100)})
    assert len(lines) == 6 and 'more entries' in lines[-1]
