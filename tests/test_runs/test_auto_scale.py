"""The rate is scaled by the images of an update."""

from __future__ import annotations

import pytest
from mmengine.config import Config

from g2sd_mm.runs.prepare import scale_rate

from ..helpers.toys import refused

TEXT = """
optim_wrapper = dict(optimizer=dict(type='SGD', lr=1.0), accumulative_counts={})
auto_scale_lr = dict(base_batch_size={})
"""


def ratio(tmp_path, batch: int, recipe: int, base: int, **options) -> tuple[float, list[str]]:
    path = tmp_path / 'config.py'
    path.write_text(TEXT.format(recipe, base))
    cfg = Config.fromfile(path)
    cfg.merge_from_dict(options)
    notes = scale_rate(cfg, str(path))
    assert cfg.auto_scale_lr.enable
    return batch / cfg.auto_scale_lr.base_batch_size, notes


@pytest.mark.parametrize(('batch', 'recipe', 'base', 'now', 'expected'), [
    (64, 1, 64, 1, 1),
    (32, 1, 64, 2, 1),
    (64, 1, 1024, 16, 1),
    (32, 1, 64, 1, 0.5),
    (2048, 2, 2048, 2, 1),  # the recipe of pre-training counts an iteration
    (2048, 2, 2048, 1, 0.5),
    (512, 2, 2048, 8, 1),
    (10, 3, 10, 4, 4 / 3),
])
def test_the_images_of_an_update_count(tmp_path, batch, recipe, base, now, expected):
    options = {} if now == recipe else {'optim_wrapper.accumulative_counts': now}
    found, notes = ratio(tmp_path, batch, recipe, base, **options)
    assert found == pytest.approx(expected)
    assert bool(notes) == (now != recipe)


def test_a_config_without_a_base_is_refused_with_the_option(tmp_path):
    path = tmp_path / 'config.py'
    path.write_text("optim_wrapper = dict(optimizer=dict(type='SGD', lr=1.0))")
    cfg = Config.fromfile(path)
    with refused(str(path), 'auto_scale_lr.base_batch_size'):
        scale_rate(cfg, str(path))
    cfg.merge_from_dict({'auto_scale_lr.base_batch_size': 8})
    assert scale_rate(cfg, str(path)) == []
