"""The full series of faults, as figures are published of it."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import campaign, incidents
from .campaign import Record, Reference
from .children import Run
from .compare import differences
from .tasks import OTHER_BATCH, make_tasks

#: Part of the series -> ends at random moments, those before and after a change of the batch, and
#: SIGKILLs while a checkpoint is saved. A part is a task, and on how many processes it runs.
KILLS = {
    ('stage1', 1): (21, 10, 5),
    ('cls', 1): (21, 10, 5),
    ('det', 1): (16, 8, 5),
    ('seg', 1): (16, 8, 5),
    ('stage1', 2): (14, 6, 0),
    ('cls', 2): (14, 6, 0),
}
PARTS = {f'{name}_{world}': (name, world) for name, world in KILLS}


def part(folder: Path, which: str, seed: int = 0, short: bool = False) -> Iterator[Record]:
    """All faults of one part, one record each. ``G2SD_DATA`` has to be the folder.

    With ``short`` it has two of each kind of random end, and no single incidents.
    """
    name, world = PARTS[which]
    random_kills, batch_kills, saving_kills = (2, 2, 0) if short else KILLS[name, world]
    reference = Reference.of(make_tasks(folder, {name: world})[name], folder)
    yield from campaign.kills_at_random(reference, folder, random_kills, seed)
    batch = OTHER_BATCH[name] // world
    yield from campaign.changed_batches(reference, folder, batch_kills, seed, batch)
    if short:
        return
    yield from campaign.kills_while_saving(reference, folder, saving_kills, seed)
    if world == 1:
        yield twice(reference, folder)
        yield incidents.killed_worker(reference, folder)
    for fault in incidents.ALONE if world == 1 else incidents.TOGETHER:
        yield fault(reference, folder)


def twice(reference: Reference, folder: Path) -> Record:
    """No fault: two runs with ``--deterministic`` end with the same checkpoints."""
    places = [folder / f'{reference.task.name}_deterministic_{i}' for i in range(2)]
    codes = [Run(reference.task, place, deterministic=True).wait() for place in places]
    differs = differences(*places) if codes == [[0], [0]] else ['a run failed']
    return {
        'fault': 'none: two runs with --deterministic', 'task': reference.task.name,
        'processes': 1, 'exit': list(itertools.chain(*codes)), 'differs': differs[:3],
        'ok': not differs,
    }


def summary(records: list[Record]) -> dict[str, Any]:
    """How many of each kind there were, and how many ended well."""
    kinds = Counter(kind(record) for record in records)
    well = Counter(kind(record) for record in records if record['ok'])
    skipped = Counter(kind(record) for record in records if 'skipped' in record)
    return {
        name: {'faults': count, 'unhurt': well[name] - skipped[name]}
        | ({'skipped': skipped[name]} if skipped[name] else {})
        for name, count in kinds.items()
    }


def kind(record: Record) -> str:
    """The fault without its moment."""
    names = {'SIGKILL while': 'SIGKILL while saving', 'disk of': 'full disk'}
    fault = record['fault']
    return next((name for start, name in names.items() if fault.startswith(start)), fault)
