"""Train a step for each line that comes in, with the package of this folder; say its seconds.

A script of its own, because it also runs with another version of the package: see ``against.py``.
"""

from __future__ import annotations

import copy
import os
import sys
import time
from importlib import import_module

#: Where a checkout has its benchmark: now, and in version 0.1.
HOMES = ('benchmarks.speed', 'g2sd_mm.benchmark')


def main(stage_name: str, size: str, batch: str, threads: str) -> None:
    """Arguments as on the command line."""
    out, sys.stdout = sys.stdout, sys.stderr  # what the libraries print is no answer
    import torch

    torch.set_num_threads(int(threads))
    home = next(h for h in HOMES if os.path.isdir(h.replace('.', '/')))
    build = import_module(home + '.build')
    stage = import_module(home + '.stages').STAGES[stage_name]
    cfg = build.stage_config(stage, size)
    model = build.build_model(cfg, 'cpu')
    optimizer = build.build_optimizer(cfg, model, 'float32')
    data = import_module(home + '.batches').random_batch(stage, int(batch), size)
    print('ready', file=out, flush=True)
    for _ in sys.stdin:
        mine = copy.deepcopy(data)
        begin = time.perf_counter()
        model.train_step(mine, optim_wrapper=optimizer)
        print(time.perf_counter() - begin, file=out, flush=True)


if __name__ == '__main__':
    sys.path[0] = os.getcwd()
    main(*sys.argv[1:])
