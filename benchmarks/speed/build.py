"""The model and the optimizer of a stage, as ``tools/train.py`` makes them."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.registry import MODELS

import g2sd_mm
from g2sd_mm.config.load import load_config
from g2sd_mm.config.parts import plain_model, sync_batch_norm, use_random_weights
from g2sd_mm.engine.optimizers import MIXED
from g2sd_mm.seeding import seed_everything

from .stages import Stage
from .toy import shrink_config

#: Small enough that the weights stay what they were: every step then does the same work.
_LR = 1e-7


def stage_config(stage: Stage, size: str = 'full', teacher_dtype: str = 'float32') -> Config:
    """The stage's config with random weights instead of checkpoints.

    The file's schedule, data and optimizer stay, but every step updates (no accumulation). A stage
    without a teacher ignores its precision.
    """
    g2sd_mm.register_all()
    cfg = load_config(stage.config, dict(stage.options))
    if size == 'toy':
        shrink_config(cfg, stage.task)
    if stage.task == 'generic':
        cfg.model.data_preprocessor = cfg.pop('data_preprocessor')
    use_random_weights(cfg, teacher_dtype)
    cfg.optim_wrapper.accumulative_counts = 1
    cfg.optim_wrapper.optimizer.lr = _LR
    return sync_batch_norm(cfg, 'none')


def build_model(cfg: Config, device: str, seed: int = 0) -> Any:
    """The distiller, or the plain model, in training mode; the same weights for the same seed."""
    MMLogger.get_current_instance().setLevel('WARNING')  # a line for every parameter otherwise
    seed_everything(seed)
    model = MODELS.build(plain_model(g2sd_mm.distill_config(cfg)))
    model.init_weights()
    return model.to(device).train()


def build_optimizer(cfg: Config, model: Any, dtype: str) -> OptimWrapper:
    """The config's optimizer; with autocast around the forward pass unless ``dtype`` is float32."""
    settings = cfg.optim_wrapper.copy()
    settings.setdefault('type', 'OptimWrapper')
    if dtype != 'float32':
        settings.update(MIXED[dtype])
    return build_optim_wrapper(model, settings)


def synchronise(device: str) -> None:
    """Wait for a GPU; nothing on a CPU."""
    if device.startswith('cuda'):
        torch.cuda.synchronize()
