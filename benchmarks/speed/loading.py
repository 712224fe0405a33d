"""How much memory loading a weights file takes, and how long.

Measured in a process of its own, because the highest memory that a process ever had is what counts:
``python -m benchmarks.speed.loading FILE`` prints the figures as JSON. Linux only.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from .process_memory import forget_peak, give_back, status
from .processes import environment


def measure_loading(path: str | Path) -> dict[str, Any]:
    """Read a file and copy every tensor into memory that is there already, as a model's is.

    Args:
        path: weights file, index or folder.

    Returns:
        ``file`` and ``extra`` (bytes; ``extra`` is the highest memory above the baseline),
        ``ratio`` of the two, and ``seconds``.

    Raises:
        FileNotFoundError: there is no such file.
        RuntimeError: if the measuring process fails; the message is its last line.
    """
    if not Path(path).exists():
        raise FileNotFoundError(f'{path}: no such checkpoint file')
    done = subprocess.run(
        [sys.executable, '-m', __name__, str(path)],
        capture_output=True,
        text=True,
        env=environment(OMP_NUM_THREADS='1'),
    )
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ['no message'])[-1])
    return json.loads(done.stdout.splitlines()[-1])


def _measure(path: str) -> dict[str, Any]:
    import torch

    from g2sd_mm.checkpoints.read import read_weights

    # a first look imports what the format needs and tells what memory a model would have
    first = read_weights(path, mmap=True)
    size = sum(file.stat().st_size for file in first.files)
    model = {name: torch.empty(t.shape, dtype=t.dtype).zero_() for name, t in first.state.items()}
    del first
    give_back()
    forget_peak()
    baseline, started = status('VmRSS'), time.perf_counter()
    weights = read_weights(path, mmap=True)
    for name, tensor in weights.state.items():
        model[name].copy_(tensor)
    seconds = time.perf_counter() - started
    extra = status('VmHWM') - baseline
    return dict(file=size, extra=extra, ratio=round(extra / size, 3), seconds=round(seconds, 3))


if __name__ == '__main__':
    print(json.dumps(_measure(sys.argv[1])))
