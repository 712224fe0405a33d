"""Where the time of a step at demo size goes: arithmetic, optimizer, Python, reading.

``python -m benchmarks.overhead --out docs/results/speed/overhead.json`` times the parts of a step
of the mini suite's classifier (0.8 M parameters) in seconds of one core, which other work on the
machine does not change much, and says how much of it the matrix products need at their peak.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmengine.registry import DATASETS, DefaultScope
from torch.utils.flop_counter import FlopCounterMode

from .growth import make_links
from .reference import plain_attention
from .speed import surroundings
from .speed.batches import random_batch
from .speed.build import build_model, build_optimizer, stage_config
from .speed.stages import Stage

STAGE = Stage('mini_cls', 'cls', 'configs/mini/vitb_cls.py', 56, 64, 64)
_PEAK = 512  # side of the products whose rate is the limit
_PICTURES = 32


def clocked(work: Callable[[], Any], rounds: int) -> tuple[float, Any]:
    """Median seconds of this core, and what the last call gave."""
    seconds, given = [], work()
    for _ in range(rounds):
        began = time.process_time()
        given = work()
        seconds.append(time.process_time() - began)
    return statistics.median(seconds), given


def measure(batch: int, rounds: int) -> dict[str, Any]:
    """Milliseconds an image of every part, and of products at their peak."""
    cfg = stage_config(STAGE)
    model = build_model(cfg, 'cpu')
    optimizer = build_optimizer(cfg, model, 'float32')
    classes = cfg.model.head.num_classes
    raw = random_batch(STAGE, batch)
    for sample in raw['data_samples']:
        sample.set_gt_label(sample.gt_label % classes)

    def ready() -> Any:
        return model.data_preprocessor(raw, True)

    def forward() -> Any:
        return model.parse_losses(model(**batch_, mode='loss'))[0]

    def backward() -> None:
        loss.backward(retain_graph=True)

    def update() -> None:
        optimizer.optimizer.step()

    parts: dict[str, float] = {}
    parts['preprocessing'], batch_ = clocked(ready, rounds)
    parts['forward'], loss = clocked(forward, rounds)
    parts['backward'], _ = clocked(backward, rounds)
    parts['optimizer'], _ = clocked(update, rounds)
    parts['whole step'], _ = clocked(lambda: model.train_step(raw, optimizer), rounds)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / 'images'
        make_links(folder, _PICTURES, 2)
        dataset = cfg.train_dataloader.dataset
        while 'pipeline' not in dataset:
            dataset = dataset.dataset
        kind = dict(type='SeededDataset', dataset=dict(
            type='CustomDataset', data_root=str(folder), pipeline=dataset.pipeline))
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            data = DATASETS.build(kind)
            seconds, _ = clocked(lambda: [data[i] for i in range(_PICTURES)], rounds)
    a, b = torch.randn(2, _PEAK, _PEAK)
    peak = 2 * _PEAK**3 / min(clocked(lambda: a @ b, 1)[0] for _ in range(20))
    plain_attention(model)
    with FlopCounterMode(display=False) as counter:
        forward().backward()
    return {
        'batch': batch,
        'parameters': sum(p.numel() for p in model.parameters()),
        'ms_an_image': {
            **{name: 1000 * part / batch for name, part in parts.items()},
            'reading': 1000 * seconds / _PICTURES,
            'products at their peak': 1000 * counter.get_total_flops() / peak / batch,
        },
        'flops_an_image': counter.get_total_flops() / batch, 'peak': peak,
    }


def main() -> None:
    """Entry point."""
    p = argparse.ArgumentParser(prog='python -m benchmarks.overhead', description=__doc__)
    p.add_argument('--batch', type=int, default=64, help='images a step (64)')
    p.add_argument('--rounds', type=int, default=11, help='of every part (11)')
    p.add_argument('--out', type=Path, help='write the figures to this JSON file')
    args = p.parse_args()
    torch.set_num_threads(1)
    loads = [surroundings.load_average()]
    figures = measure(args.batch, args.rounds)
    for name, milliseconds in figures['ms_an_image'].items():
        print(f'{name}: {milliseconds:.3f} ms an image')
    if args.out:
        content = {
            'command': shlex.join(['python', '-m', 'benchmarks.overhead', *sys.argv[1:]]),
            'environment': surroundings.describe('cpu', [*loads, surroundings.load_average()]),
            **figures,
        }
        args.out.write_text(json.dumps(content, indent=1) + '\n')


if __name__ == '__main__':
    main()
