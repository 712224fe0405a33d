"""Build the student of a config and fill it from any file that fits."""

from __future__ import annotations

from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS
from torch import nn

from ..checkpoints import load_verified, read_weights
from ..checkpoints.layouts import task_model_state
from ..checkpoints.load import Fit


def fill_student(model: nn.Module, checkpoint: str, config: str) -> Fit:
    """Load a student's weights; every name must be accounted for.

    Args:
        model: plain model of mmpretrain, mmdet or mmseg.
        checkpoint: ``weights.pth``, a training checkpoint, or a published file.
        config: its config's path, for the message.

    Returns:
        what was loaded.

    Raises:
        CheckpointError: if the file is of another kind or size.
    """
    weights = read_weights(checkpoint, mmap=True)
    return load_verified(
        model,
        task_model_state(weights),
        weights,
        purpose=f'weights of {config}',
        may_ignore=('data_preprocessor.*',),
        advice='Give the config that the file was trained with, or that of its kind and size.',
    )


def build_student(cfg: Config, checkpoint: str, config: str) -> nn.Module:
    """The student of a config in eval mode, filled by :func:`fill_student`."""
    model_cfg = ConfigDict(cfg.model)
    model_cfg.setdefault('_scope_', cfg.get('default_scope') or 'mmengine')
    if cfg.get('data_preprocessor'):
        model_cfg.setdefault('data_preprocessor', cfg.data_preprocessor)
    model_cfg.backbone.init_cfg = None  # everything comes from the checkpoint
    model = MODELS.build(model_cfg)
    fill_student(model, checkpoint, config)
    model.eval()
    return model
