"""Build a student's network and fill it from any file that fits."""

from __future__ import annotations

import contextlib

import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS
from torch import nn

from ..checkpoints import read_weights
from ..checkpoints.fill import fill
from ..checkpoints.record import Record, restore
from .described import check_network, no_larger_than, registered_only, without_sources


def build_student(
    network: Record,
    checkpoint: str,
    purpose: str,
    *,
    trusted: bool = False,
    untrained: bool = False,
) -> nn.Module:
    """A record's network in eval mode, filled with a student's weights.

    Args:
        network: see :func:`~g2sd_mm.checkpoints.record.describe_network`.
        checkpoint: ``weights.pth``, a training checkpoint, or a published file.
        purpose: what the network is, e.g. its config's path, for messages.
        trusted: the record was made from a config here; else it was read from a file, and is
            checked (see :mod:`~g2sd_mm.students.described`).
        untrained: see :func:`~g2sd_mm.checkpoints.fill.fill`.

    Raises:
        UserError: if a record that was read asks for something that is no registered layer.
        CheckpointError: if the file does not fit.
    """
    model = _build(network, checkpoint, trusted)
    fill(model, checkpoint, 'student', purpose, untrained=untrained)
    model.eval()
    return model


def network_names(network: Record, checkpoint: str, *, trusted: bool = False) -> list[str]:
    """Names of the state dict that a record's network has; see :func:`build_student`."""
    return list(_build(network, checkpoint, trusted).state_dict())


def _build(network: Record, checkpoint: str, trusted: bool) -> nn.Module:
    cfg = ConfigDict(without_sources(restore(network['model'])), _scope_=network['scope'])
    if trusted:
        return MODELS.build(cfg)
    weights = read_weights(checkpoint, mmap=True)
    check_network(network, weights)
    with registered_only():
        with no_larger_than(weights):
            _build_without_memory(cfg)
        with no_larger_than(weights):
            return MODELS.build(cfg)


def _build_without_memory(cfg: ConfigDict) -> None:
    """Let a network that is too large be noticed before it takes memory.

    Some networks of the libraries compute while they are built, which ends this early.
    """
    with torch.device('meta'), contextlib.suppress(RuntimeError, NotImplementedError):
        MODELS.build(cfg)
