"""``tools/benchmark.py``: training throughput on random images, and memory of loading files."""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .guard import run_command

if TYPE_CHECKING:
    from torch import nn

EXAMPLES = """examples:
  python tools/benchmark.py --quick
  python tools/benchmark.py --workloads generic_vits --batch 64 --repeats 10 --out speed.json
  python tools/benchmark.py --loading mae_pretrain_vit_base_full.pth
"""
WORKLOADS = {
    'generic_vits': 'configs/imagenet/g2sd_vits_generic.py',
    'generic_vitt': 'configs/imagenet/g2sd_vitt_generic.py',
    'cls_vits': 'configs/imagenet/g2sd_vits_cls.py',
}


def parser() -> argparse.ArgumentParser:
    """The command line of ``benchmark``."""
    p = argparse.ArgumentParser(
        prog='benchmark.py',
        description='Time whole training steps (teacher, student, backward, AdamW) at full size, '
        'float32, with random weights and images of 224 px.',
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument('--workloads', nargs='+', choices=WORKLOADS, default=list(WORKLOADS))
    p.add_argument('--batch', type=int, default=16, help='images a step (16)')
    p.add_argument('--repeats', type=int, default=5, help='timed steps (5)')
    p.add_argument('--quick', action='store_true', help='two images, three steps')
    p.add_argument(
        '--loading',
        nargs='+',
        metavar='FILE',
        help='instead: memory and time that loading weights files takes',
    )
    p.add_argument('--out', help='write the figures to this JSON file')
    return p


def measure(workload: str, batch: int, repeats: int) -> dict[str, Any]:
    """Time the training step of one workload.

    Returns:
        ``images_per_second`` (median), ``fastest``, ``slowest`` (images per second), ``batch``.
    """
    import torch

    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    model = _random_model(WORKLOADS[workload]).to(device).train()
    optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=1e-4)
    images = torch.randn(batch, 3, 224, 224, device=device)
    samples = _samples(workload, batch, device)

    def step() -> None:
        losses = model(images, samples, mode='loss')
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()

    step()  # the first one allocates
    rates = sorted(batch / _seconds(step, device) for _ in range(repeats))
    return {
        'workload': workload,
        'batch': batch,
        'images_per_second': round(statistics.median(rates), 2),
        'slowest': round(rates[0], 2),
        'fastest': round(rates[-1], 2),
    }


def _random_model(config: str) -> nn.Module:
    from mmengine.registry import MODELS

    import g2sd_mm

    from .config import load_config

    g2sd_mm.register_all()
    cfg = load_config(config)
    cfg.model.setdefault('data_preprocessor', cfg.data_preprocessor)
    if cfg.get('distillation'):
        cfg.model.backbone.init_cfg = None
        cfg.distillation.teacher.update(checkpoint=None, random_weights=True)
    else:
        cfg.model.teacher.update(checkpoint=None, random_weights=True)
    model_cfg = g2sd_mm.distill_config(cfg).model
    model_cfg.setdefault('_scope_', cfg.default_scope)
    return MODELS.build(model_cfg)


def _samples(workload: str, batch: int, device: str) -> list | None:
    if not workload.startswith('cls'):
        return None
    import torch
    from mmpretrain.structures import DataSample

    return [DataSample().set_gt_label(torch.tensor([i])).to(device) for i in range(batch)]


def _seconds(step: Callable[[], None], device: str) -> float:
    import torch

    started = time.perf_counter()
    step()
    if device == 'cuda':
        torch.cuda.synchronize()
    return time.perf_counter() - started


def _run(args: argparse.Namespace) -> None:
    from ..reproduce.environment import describe_environment

    figures = _loading(args.loading) if args.loading else _throughput(args)
    if args.out:
        command = shlex.join(['python', 'tools/benchmark.py', *sys.argv[1:]])
        environment = describe_environment()
        content = {'command': command, 'environment': environment, 'figures': figures}
        Path(args.out).write_text(json.dumps(content, indent=2))


def _loading(files: list[str]) -> list[dict[str, Any]]:
    from ..checkpoints.memory import measure_loading

    figures = []
    for file in files:
        figures.append(figure := {'loading': Path(file).name, **measure_loading(file)})
        print(
            f'{file}: {figure["extra"] / 2**20:.0f} MB above the baseline for '
            f'{figure["file"] / 2**20:.0f} MB ({figure["ratio"]:.2f} x) in {figure["seconds"]} s',
            flush=True,
        )
    return figures


def _throughput(args: argparse.Namespace) -> list[dict[str, Any]]:
    batch, repeats = (2, 3) if args.quick else (args.batch, args.repeats)
    figures = []
    for workload in args.workloads:
        figures.append(figure := measure(workload, batch, repeats))
        print(
            f'{workload:14} batch {batch}: {figure["images_per_second"]} img/s '
            f'({figure["slowest"]} to {figure["fastest"]})',
            flush=True,
        )
    return figures


def main() -> None:
    """Entry point of ``tools/benchmark.py``."""
    args = parser().parse_args()
    run_command(lambda: _run(args))
