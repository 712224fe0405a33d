"""Table ``baselines``: systems that the paper compares with, and later ones, in both suites.

docs/baselines.md says of each what was taken from where. Those that pre-train without labels are
fine-tuned plainly, on every task, by the configs of the row ``g2sd_nosd``: what differs is the
encoder alone. The others learn a task, from random weights or, on dense tasks, from the student's
own MAE.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from ...tasks import TASKS
from ..results import BASELINES
from .suites import FULL_PRECISION, Row, Step, fine_tuned, heads

#: Without labels, from the MAE teacher's encoder.
GENERIC = ('dmae', 'tinymim', 'sami', 'proteus', 'relation')
#: On class labels, from random weights: method -> the runs that teach it.
CLASSIFIERS = {
    'deit': ('regnety_cls',),
    'soft_kd': ('vitb_cls',),
    'nkd': ('vitb_cls',),
    'vitkd': ('vitb_cls',),
    'manifold': ('vitb_cls',),
    'mkd': ('vitb_cls',),
    'ssta': ('vitb_cls', 'vitb_mae'),
}
#: On dense tasks, from the student's own MAE.
DENSE = {'cwd': ('det', 'seg'), 'frs': ('det',), 'mgd': ('det', 'seg')}


def steps(
    folder: str,
    plain: Callable[[str], str],
    more: Sequence[str] = (),
    pretrained: Mapping[str, str] | None = None,
    amp: bool = False,
) -> Iterator[Step]:
    """Every run of the table, beside those of the main rows that they need.

    Args:
        folder: of the configs.
        plain: task -> config of its plain fine-tuning.
        more: further methods on class labels that the MAE teacher's classifier teaches.
        pretrained: method -> place of the teacher whose weights timm fetches, in the place of that
            of the suite's own MAE.
        amp: whether runs are in mixed precision where the main rows' are.
    """
    fetched = pretrained or {}

    def step(name: str, *needs: str, method: str = '', task: str = '') -> Step:
        options = {f'{fetched[method]}.pretrained': True} if method in fetched else {}
        needed = tuple(n for n in needs if not (options and n == 'vitb_mae'))
        mixed = amp and task != FULL_PRECISION
        return Step(f'{folder}{name}.py', needs=needed, options=options, amp=mixed)

    yield step('regnety_cls')
    for method, teachers in {**CLASSIFIERS, **dict.fromkeys(more, ('vitb_cls',))}.items():
        yield step(f'vits_{method}_cls', *teachers, method=method)
    yield step('vits_tinybert', 'vitb_mae')
    yield step('vits_tinybert_task', 'vits_tinybert', 'vitb_cls')
    yield step('vits_tinybert_cls', 'vits_tinybert_task', 'vitb_cls')
    for method in GENERIC:
        yield step(f'vits_{method}', 'vitb_mae', method=method)
        for task, head in heads().items():
            yield fine_tuned(plain(task), f'vits_{method}', f'vits_{method}_{head}', amp)
    for method, tasks in DENSE.items():
        for task in tasks:
            head = TASKS[task].head
            yield step(f'vits_{method}_{head}', 'vits_mae', f'vitb_{head}', task=task)


def rows(more: Sequence[str] = ()) -> Iterator[Row]:
    """The table's lines, task by task; ``more`` as of :func:`steps`."""
    for task, head in heads().items():
        dense = (method for method, tasks in DENSE.items() if task in tasks)
        own = (*CLASSIFIERS, *more, 'tinybert') if task == 'cls' else tuple(dense)
        for method in (*own, *GENERIC):
            yield Row(task, method, f'vits_{method}_{head}', table=BASELINES)
