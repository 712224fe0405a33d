"""Series of faults, with a record of each. The quick tests do a little of it.

Each function yields records in plain values: the fault, what became of the run, and ``ok``.
"""

from __future__ import annotations

import itertools
import random
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from g2sd_mm.checkpoints.whole import damage, newest_whole

from .children import Run
from .compare import differences
from .sabotage import MOMENTS, dies_while_saving
from .tasks import Task

Record = dict[str, Any]
_LINE = re.compile(r'^error: .*$', re.MULTILINE)


@dataclass
class Reference:
    """A task's undisturbed run.

    Attributes:
        task: what was run.
        folder: its work dir.
        seconds: that it took.
        steps: that it made.
    """

    task: Task
    folder: Path
    seconds: float
    steps: int

    @classmethod
    def of(cls, task: Task, folder: Path) -> Reference:
        """Run it.

        Raises:
            AssertionError: if it fails.
        """
        work_dir = folder / f'{task.name}_{task.world}_undisturbed'
        run = Run(task, work_dir)
        codes = run.wait()
        assert set(codes) == {0}, run.said[-3000:]
        return cls(task, work_dir, time.perf_counter() - run.began, run.steps)


def finish(reference: Reference, work_dir: Path) -> tuple[str, list[str]]:
    """Let a disturbed run go on to its end; where it went on from, and what differs there."""
    run = Run(reference.task, work_dir)
    codes = run.wait()
    if set(codes) != {0}:
        return '', [f'exit codes {codes}: {last_line(run.said)}']
    return went_on_from(run.said), differences(reference.folder, work_dir)


def kills_at_random(
    reference: Reference, folder: Path, number: int, seed: int, in_a_row: int = 3
) -> Iterator[Record]:
    """SIGKILL at random moments of the whole process, up to some in a row, then to the end."""
    rng, done = random.Random(seed), 0
    for chain in itertools.count():
        if done >= number:
            return
        work_dir = folder / f'{reference.task.name}_{reference.task.world}_kills_{chain}'
        records = []
        for _ in range(min(in_a_row, number - done)):
            if (record := _kill_once(reference, work_dir, rng)) is None:
                break  # it had come to its end before the moment
            records.append(record)
        start, differs = finish(reference, work_dir)
        done += len(records)
        for record in records:
            yield record | {'finished_from': start, 'differs': differs[:3], 'ok': not differs}


def _kill_once(reference: Reference, work_dir: Path, rng: random.Random) -> Record | None:
    """One kill in four at any moment, most of them while the run starts; else after some steps."""
    run = Run(reference.task, work_dir)
    if rng.random() < 0.25:
        time.sleep(rng.uniform(0, reference.seconds))
    else:
        steps = rng.randint(1, reference.steps // 2)
        run.wait_for(lambda: run.steps >= steps, timeout=120)
        time.sleep(rng.uniform(0, 0.2))
    if not run.running:
        run.wait()
        return None
    record: Record = {
        'fault': 'SIGKILL at a random moment',
        'task': reference.task.name,
        'processes': reference.task.world,
        'after_seconds': round(time.perf_counter() - run.began, 2),
        'steps': run.steps,
    }
    if reference.task.world == 1:
        run.kill()
    else:  # one of them; the others have to notice
        victim = rng.randrange(reference.task.world)
        run.kill([victim])
        codes = run.wait(30)
        survivors = [code for rank, code in enumerate(codes) if rank != victim]
        record['survivors_exit'] = survivors
    return record


def kills_while_saving(
    reference: Reference, folder: Path, number: int, seed: int
) -> Iterator[Record]:
    """SIGKILL at all moments of saving, in turn, of checkpoints chosen at random."""
    rng = random.Random(seed)
    for count, moment in zip(range(number), itertools.cycle(MOMENTS), strict=False):
        work_dir = folder / f'{reference.task.name}_{reference.task.world}_saving_{count}'
        which, share = rng.randint(1, 3), rng.random()
        if moment == 'pruning':
            which = 3  # the first for which an old one goes
        run = Run(reference.task, work_dir, dies_while_saving(moment, which, share))
        codes = run.wait()
        damaged = _damaged(work_dir)
        start, differs = finish(reference, work_dir)
        struck = signal.SIGKILL in [-(code or 0) for code in codes]
        yield {
            'fault': f'SIGKILL while checkpoint {which} was saved: {moment}',
            'task': reference.task.name,
            'processes': reference.task.world,
            'finished_from': start,
            'differs': [*damaged, *differs][:3],
            'ok': struck and not damaged and not differs,
        }


def _damaged(work_dir: Path) -> list[str]:
    """Files that are not whole under a name that promises it, or that a resume passed over."""
    found = [f'{path.name}: {what}' for path in work_dir.glob('*.pth') if (what := damage(path))]
    return found + newest_whole(work_dir)[1]


def went_on_from(said: str) -> str:
    """File that a resumed run loaded; ``the beginning`` if there was none."""
    found = re.findall(r'Load checkpoint from (\S+)', said)
    return Path(found[-1]).name if found else 'the beginning'


def last_line(said: str) -> str:
    """The error line of a run, or whatever it said last."""
    return ([*_LINE.findall(said)] or said.strip().splitlines() or [''])[-1]
