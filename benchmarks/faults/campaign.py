"""Series of faults, with a record of each. The quick tests do a little of it.

Each function yields records in plain values: the fault, what became of the run, and ``ok``.
"""

from __future__ import annotations

import hashlib
import itertools
import random
import re
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from g2sd_mm.checkpoints.integrity import damage, newest_whole
from g2sd_mm.compat.safe_load import load_checkpoint

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


def finish(
    reference: Reference, work_dir: Path, to: Path | None = None, **arguments: Any
) -> tuple[str, list[str]]:
    """Let a disturbed run go on to its end; where it went on from, and what differs there.

    Args:
        reference: its undisturbed run.
        work_dir: of the disturbed one.
        to: work dir that it is compared with; by default the reference's.
        arguments: of the run.
    """
    run = Run(reference.task, work_dir, **arguments)
    codes = run.wait()
    if set(codes) != {0}:
        return '', [f'exit codes {codes}: {last_line(run.said)}']
    return went_on_from(run.said), differences(to or reference.folder, work_dir)


#: What becomes of a work dir between a kill and the next start, and how often. A doubled one is
#: copied, and both go on.
PLACES = {'in place': 4, 'moved': 2, 'copied': 2, 'doubled': 2}


def kills_at_random(
    reference: Reference, folder: Path, number: int, seed: int, in_a_row: int = 3
) -> Iterator[Record]:
    """SIGKILL or SIGTERM at random moments, up to some in a row, then to the end.

    After each the work dir stays, or is moved or copied, and the run goes on from there. What it
    leaves behind must not be touched by that.
    """
    rng, done = random.Random(f'{seed} {reference.task.name} {reference.task.world}'), 0
    for chain in itertools.count():
        if done >= number:
            return
        work_dir = folder / f'{reference.task.name}_{reference.task.world}_kills_{chain}'
        records: list[Record] = []
        left: list[tuple[Path, str, bool]] = []
        for _ in range(min(in_a_row, number - done)):
            if (record := _end_once(reference, work_dir, rng)) is None:
                break  # it had come to its end before the moment
            place = rng.choices(list(PLACES), weights=list(PLACES.values()))[0]
            work_dir, behind = _placed(work_dir, place, len(records))
            if behind is not None:
                left.append((behind, digest(behind), place == 'doubled'))
            records.append(record | {'then': place})
        start, differs = finish(reference, work_dir)
        for behind, before, goes_on in left:
            if digest(behind) != before:
                differs.append(f'{behind.name} was touched by a run in a copy of it')
            elif goes_on:
                differs += finish(reference, behind)[1]
        done += len(records)
        for record in records:
            well = not differs and record.pop('ended_well')
            yield record | {'finished_from': start, 'differs': differs[:3], 'ok': well}


def _placed(work_dir: Path, place: str, number: int) -> tuple[Path, Path | None]:
    """Where the run goes on, and the folder that is left behind."""
    if place == 'in place' or not work_dir.is_dir():
        return work_dir, None
    new = work_dir.with_name(f'{work_dir.name}_{place}_{number}')
    if place == 'moved':
        work_dir.rename(new)
        return new, None
    shutil.copytree(work_dir, new)
    return new, work_dir


def digest(folder: Path) -> str:
    """Of the names and bytes of all files in a folder."""
    found = hashlib.sha256()
    for path in sorted(path for path in folder.rglob('*') if path.is_file()):
        found.update(f'{path.relative_to(folder)}\0'.encode() + path.read_bytes())
    return found.hexdigest()


def changed_batches(
    reference: Reference, folder: Path, number: int, seed: int, batch: int
) -> Iterator[Record]:
    """Ended at random, then resumed with another batch, and ended once more there.

    What is documented: the run ends after as many epochs or iterations as the config says, with the
    learning rate of a run that always had that batch; and a run with the changed batch that is
    interrupted is the same to the last bit as one that is not.
    """
    rng = random.Random(f'{seed} batch {reference.task.name} {reference.task.world}')
    options = {'train_dataloader.batch_size': batch}
    name = f'{reference.task.name}_{reference.task.world}_batch'
    always = folder / f'{name}_always'
    codes = Run(reference.task, always, options=options).wait()
    assert set(codes) == {0}, codes
    end = state_of_end(always)
    done = 0
    for chain in itertools.count():
        if done >= number:
            return
        work_dir = folder / f'{name}_{chain}'
        first = _end_once(reference, work_dir, rng, earliest=reference.steps // 3 + 1, latest=0.7)
        saved = first is not None and (work_dir / 'last_checkpoint').is_file()
        if not saved or state_of_end(work_dir)['iter'] == reference.steps:
            continue  # ended before there was a checkpoint, or only at its end: another moment
        smooth = work_dir.with_name(f'{work_dir.name}_smooth')
        shutil.copytree(work_dir, smooth)
        codes = Run(reference.task, smooth, options=options).wait()
        differs = [] if set(codes) == {0} else [f'exit codes {codes}']
        if not differs and state_of_end(smooth) != end:
            differs = [f'it ends at {state_of_end(smooth)}, where it should at {end}']
        records = [first]
        second = _end_once(reference, work_dir, rng, latest=0.6, options=options)
        if second is not None:
            records.append(second)
        start, more = finish(reference, work_dir, to=smooth, options=options)
        for record in records[: number - done]:
            well = not differs and not more and record.pop('ended_well')
            yield record | {
                'then': f'a batch of {batch}', 'finished_from': start,
                'differs': [*differs, *more][:3], 'ok': well,
            }
        done += len(records)


def state_of_end(work_dir: Path) -> dict[str, Any]:
    """Counts and learning rates of a run's last checkpoint."""
    content = load_checkpoint(newest_whole(work_dir)[0])
    rates = sorted({group['lr'] for group in content['optimizer']['param_groups']})
    return {'epoch': content['meta']['epoch'], 'iter': content['meta']['iter'], 'lr': rates}


def _end_once(
    reference: Reference,
    work_dir: Path,
    rng: random.Random,
    earliest: int = 1,
    latest: float = 0.5,
    **arguments: Any,
) -> Record | None:
    """One end in four at any moment, most of them while the run starts; else after some steps.

    Args:
        reference: undisturbed run of the same task.
        work_dir: of this one.
        rng: of the moments.
        earliest: steps that are made first; with more than 1, no end is at any other moment.
        latest: the most steps that are waited for, as a share of the reference's.
        arguments: of the run.
    """
    run = Run(reference.task, work_dir, **arguments)
    number = rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM])
    after_steps = reference.task.world > 1 and number == signal.SIGTERM  # else the others wait
    if rng.random() < 0.25 and not after_steps and earliest == 1:
        # a process that has just been forked has not said what it does at a signal
        run.wait_for(lambda: run.listens, timeout=60)
        time.sleep(rng.uniform(0, reference.seconds))
    else:
        steps = rng.randint(earliest, max(int(reference.steps * latest), earliest))
        run.wait_for(lambda: run.steps >= steps, timeout=120)
        time.sleep(rng.uniform(0, 0.2))
    if not run.running:
        run.wait()
        return None
    record: Record = {
        'fault': f'{signal.Signals(number).name} at a random moment',
        'task': reference.task.name,
        'processes': reference.task.world,
        'after_seconds': round(time.perf_counter() - run.began, 2),
        'steps': run.steps,
        'ended_well': True,
    }
    if number == signal.SIGTERM:
        for rank in range(reference.task.world):
            run.signal(number, rank)
        record['exit'] = codes = run.wait()
        record['ended_well'] = set(codes) == {0} and 'Traceback' not in run.said
    elif reference.task.world == 1:
        run.kill()
    else:  # one of them; the others have to notice
        victim = rng.randrange(reference.task.world)
        run.kill([victim])
        codes = run.wait(30)
        record['survivors_exit'] = [code for rank, code in enumerate(codes) if rank != victim]
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
