"""How long a run takes to its first batch, next to the bare import of what it needs.

Both are timed from the start of a process of their own, in turns. The bare process imports torch
and all of the stage's task library; the other one everything that ``tools/train.py`` imports, and
then it builds networks, optimizer and loader, and reads a batch.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from .figures import Startup
from .pictures import write_pictures
from .processes import environment, require_success
from .stages import ROOT, STAGES, Stage

LIBRARIES = {'generic': 'mmpretrain', 'cls': 'mmpretrain', 'det': 'mmdet', 'seg': 'mmseg'}
# with this project's repairs: without them the libraries cannot be imported on every machine
_BARE = """
import g2sd_mm, torch
from {library}.utils import register_all_modules
register_all_modules(init_default_scope=False)
"""


def measure_startup(
    stage: Stage, folder: Path, batch: int, rounds: int, size: str = 'full', device: str = 'cpu'
) -> Startup:
    """Seconds to the first batch, and of the bare import.

    Args:
        stage, size, device: see :class:`~benchmarks.speed.formulation.Formulation`.
        folder: for pictures to read.
        batch: images of the batch.
        rounds: timings of each; one more of each comes first and is not counted.

    Raises:
        RuntimeError: if a process fails, with the end of what it said.
    """
    if not any(folder.iterdir()):
        write_pictures(stage.task, folder, batch)
    job = dict(stage=stage.name, folder=str(folder), batch=batch, size=size, device=device)
    ours = ['-m', 'benchmarks.speed.startup', json.dumps(job)]
    bare = ['-c', _BARE.format(library=LIBRARIES[stage.task])]
    timings = [(_seconds(ours), _seconds(bare)) for _ in range(rounds + 1)][1:]
    return Startup(stage.name, *map(tuple, zip(*timings, strict=True)))


def _seconds(arguments: list[str]) -> float:
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, cwd=ROOT,
        env=environment(),
    )
    require_success(done.returncode, done.stderr, 'a process that measures start-up')
    return time.perf_counter() - begun


def first_batch(job: dict[str, Any]) -> None:
    """Import, build and read, in this process."""

    from .formulation import Formulation
    from .pipeline import build_loader

    stage = STAGES[job['stage']]
    formulation = Formulation(stage, job['size'], job['device'])
    folder = Path(job['folder'])
    next(iter(build_loader(formulation.cfg, stage, folder, job['batch'], 0, job['size'])))


if __name__ == '__main__':
    first_batch(json.loads(sys.argv[1]))
