"""Build a student's network and fill it from any file that fits."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.config import ConfigDict
from mmengine.registry import MODELS
from torch import nn

from ..checkpoints import load_verified, read_weights
from ..checkpoints.load import Fit
from ..checkpoints.naming import state_for
from ..checkpoints.record import TASKS, Record, restore
from ..errors import UserError

_ADVICE = 'Give the config that the file was trained with, or that of its kind and size.'
#: A registered name, with or without its library. Registries take any other text for the address
#: of something to import and call.
_REGISTERED = re.compile(rf'((mmengine|mmcv|{"|".join(TASKS)})\.)?\w+')


def fill_student(model: nn.Module, checkpoint: str, purpose: str) -> Fit:
    """Load a student's weights; every name must be accounted for.

    Args:
        model: plain model of mmpretrain, mmdet or mmseg.
        checkpoint: ``weights.pth``, a training checkpoint, or a published file.
        purpose: what the model is, e.g. its config's path, for the message.

    Returns:
        what was loaded.

    Raises:
        CheckpointError: if the file is of another kind or size.
    """
    weights = read_weights(checkpoint, mmap=True)
    return load_verified(
        model,
        state_for(weights, model.state_dict()),
        weights,
        purpose=f'weights of {purpose}',
        may_ignore=('data_preprocessor.*',),
        advice=_ADVICE,
    )


def build_student(network: Record, checkpoint: str, purpose: str) -> nn.Module:
    """A record's network in eval mode, filled by :func:`fill_student`.

    Args:
        network: see :func:`~g2sd_mm.checkpoints.record.describe_network`.
        checkpoint, purpose: as in :func:`fill_student`.

    Raises:
        UserError: if the record asks for something that is no registered component.
        CheckpointError: if the file does not fit.
    """
    model = _build(network)
    fill_student(model, checkpoint, purpose)
    model.eval()
    return model


def network_names(network: Record) -> list[str]:
    """Names of the state dict that a record's network has."""
    return list(_build(network).state_dict())


def _build(network: Record) -> nn.Module:
    check_network(network)
    return MODELS.build(ConfigDict(restore(network['model']), _scope_=network['scope']))


def check_network(network: Record) -> None:
    """A sidecar is data: what it names is built, and nothing else is imported or called.

    Raises:
        UserError: for a library, a component or an import that does not belong.
    """
    for key, value in _entries(network):
        if key in ('scope', '_scope_') and value not in TASKS:
            raise UserError(f'the record of a student has the scope {value!r}, expected '
                            f'{", ".join(TASKS)}')  # fmt: skip
        if key == 'type' and not _REGISTERED.fullmatch(str(value)):
            raise UserError(f'the record of a student names {value!r}, which is no component')
    for module in network['imports']:
        if module.split('.')[0] == 'g2sd_mm':
            importlib.import_module(module)
        elif module not in sys.modules:
            raise UserError(
                f'the student needs {module}: if you trust it, import {module} before loading'
            )


def _entries(value: Any) -> Iterator[tuple[str, Any]]:
    """All keys of nested dicts, with their values."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield key, item
            yield from _entries(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _entries(item)
