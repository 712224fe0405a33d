"""What lies on every GPU before the first activation: weights, gradients and moments::

    python -m benchmarks.speed.weights configs/large/*.py

counts them on the meta device, without memory: whole on every process (DDP), and sharded.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch import Tensor

import g2sd_mm
from g2sd_mm.cli.exit_codes import run_command
from g2sd_mm.config.load import load_config
from g2sd_mm.config.parts import sync_batch_norm
from g2sd_mm.engine.hooks.access import frozen_networks
from g2sd_mm.errors import UserError
from g2sd_mm.models.vit import Block

_FLOAT32 = 4
_TRAINED = 4 * _FLOAT32  # weight, gradient and AdamW's two moments
PROCESSES = (4, 8)


def weights_of(cfg: Config) -> dict[str, Any]:
    """Parameters and bytes a process of a config, without activations.

    Returns:
        ``trained`` and ``teacher`` (parameters), ``whole`` (bytes a process under DDP) and
        ``sharded``: number of processes -> bytes a process, with the largest block gathered.

    Raises:
        UserError: for a config of stage 2.
    """
    model: Any = _on_meta(cfg)
    trained = list(model.parameters())
    beside = frozen_networks(model)
    frozen = [parameter for network in beside for parameter in network.parameters()]
    networks = [model, *beside]
    blocks = [m for network in networks for m in network.modules() if isinstance(m, Block)]
    largest = max(_count(block.parameters()) for block in blocks)
    in_blocks = {id(p) for block in blocks for p in block.parameters()}
    outside = [p for p in frozen if id(p) not in in_blocks]  # every process has it whole
    moved = sum(p.numel() * (_TRAINED if p.requires_grad else _FLOAT32) for p in trained)
    return {
        'trained': _count(p for p in trained if p.requires_grad),
        'teacher': _count(frozen),
        'whole': moved + _FLOAT32 * _count(frozen),
        'sharded': {
            n: (moved + _FLOAT32 * (_count(frozen) - _count(outside))) // n
            + _FLOAT32 * (_count(outside) + largest)
            for n in PROCESSES
        },
    }


def _count(parameters: Iterable[Tensor]) -> int:
    return sum(parameter.numel() for parameter in parameters)


def _on_meta(cfg: Config) -> torch.nn.Module:
    if cfg.get('distillation'):
        if 'config' in cfg.distillation.teacher:
            raise UserError('counted are stage 1 and networks without a teacher, not stage 2')
        cfg.distillation.teacher.update(checkpoint=None, random_weights=True)
    cfg = g2sd_mm.distill_config(sync_batch_norm(cfg, 'none'))
    settings = dict(cfg.model)
    settings.setdefault('_scope_', cfg.default_scope)
    with torch.device('meta'), DefaultScope.overwrite_default_scope(cfg.default_scope):
        return MODELS.build(settings)


def main() -> None:
    """Print a line of JSON for every config."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', nargs='+', help='config files')
    args = parser.parse_args()
    run_command(lambda: _print(args.config))


def _print(configs: Iterable[str]) -> None:
    g2sd_mm.register_all()
    for path in configs:
        print(json.dumps({'config': Path(path).stem, **weights_of(load_config(path))}))


if __name__ == '__main__':
    main()
