"""How much the runs on a machine's own cores are, said before they begin, and refused if nothing.

Most schedules count in epochs: with more images a run takes longer, with too few it has no step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...errors import UserError
from .data import OwnData
from .mini import MINI
from .plan import amount
from .suites import Row, Step, Suite
from .work import Work, raw_config, train_root, work_of


def amounts(suite: Suite, rows: Sequence[Row], data: OwnData | None = None) -> Iterator[str]:
    """A line for each step that the rows need, and one for all of them in a seed.

    On own data the last has the same of the generated data, which the mini suite's hours, as they
    are written down, were measured on.
    """
    steps = list(suite.steps_of(rows))
    seen = 0
    for step in steps:
        work, root = _work(step, data)
        seen += work.seen
        yield f'{step.name}: {amount(work, root)}'
    known = {step.name: step for step in MINI.steps}
    usual = ''  # nothing to compare with: smoke runs, rows of one's own
    if data and suite.name == MINI.name and all(step.name in known for step in steps):
        generated = sum(_work(known[step.name])[0].seen for step in steps)
        usual = f', and on the generated data {generated:,}'
    yield f'together {seen:,} images seen in a seed{usual}'


def refuse_too_few(suite: Suite, rows: Sequence[Row], data: OwnData) -> None:
    """Stop where own data have too few images for a single step of training.

    Raises:
        UserError: naming the run that needs the fewest images of those that have too few.
    """
    short = []
    for step in suite.steps_of(rows):
        work, root = _work(step, data)
        if not work.seen or not work.images:
            every = raw_config(step.config, step.options).train_dataloader.dataset.get('every', 1)
            # with one in ten used, the last ten need not be whole
            needed = 1 if work.seen else every * (work.step - 1) + 1
            used = f', one in {every} is used' if every > 1 else ''
            short.append((needed, step.name, root, f'{work.step} in a step{used}'))
    if not short:
        return
    needed, name, root, how = min(short, key=lambda found: found[0])
    ablations = {row.table for row in rows if row.step == name} - {'main'}
    instead = '; --tables main leaves such rows out' if ablations else ''
    raise UserError(
        f'--data-root: {root} has {data.size(root)} training images, too few for {name}, which '
        f'needs {needed} ({how}){instead}'
    )


def _work(step: Step, data: OwnData | None = None) -> tuple[Work, str]:
    """A step's arithmetic, and the folder of its data as the config names it."""
    cfg = raw_config(step.config, step.options)
    root = train_root(cfg)
    return work_of(cfg, data.size(root) if data else None), root
