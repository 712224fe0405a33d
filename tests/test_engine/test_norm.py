"""SyncBN in configs, and what it becomes."""

from __future__ import annotations

import pytest
import torch
from mmengine.config import Config

from g2sd_mm.engine import sync_batch_norm


def config() -> Config:
    norm = dict(type='SyncBN', requires_grad=True)
    return Config(
        dict(
            model=dict(neck=dict(norm_cfg=norm), heads=[dict(norm_cfg=norm), dict(type='GN')]),
            distillation=dict(adapters=dict(x=dict(norm_cfg=norm))),
        )
    )


@pytest.mark.parametrize(
    ('launcher', 'gpu', 'norm'),
    [('none', True, 'BN'), ('none', False, 'BN'), ('pytorch', False, 'BN'),
     ('pytorch', True, 'SyncBN'), ('slurm', True, 'SyncBN')],
)
def test_the_launcher_decides(monkeypatch, launcher, gpu, norm):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: gpu)
    cfg = sync_batch_norm(config(), launcher)
    assert cfg.model.neck.norm_cfg.type == norm
    assert cfg.model.heads[0].norm_cfg.type == norm
    assert cfg.model.heads[0].norm_cfg.requires_grad
    assert cfg.model.heads[1].type == 'GN'
    assert cfg.distillation.adapters.x.norm_cfg.type == norm
