"""Data of one's own in the place of Shapes: folders recognised by how they are laid out.

What they are is known by a fingerprint: the same for the same data, wherever they lie.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from torch.utils._pytree import tree_map

from ...data_layouts import Choices
from ...errors import UserError
from ...runs.own_data import Source, find_source
from ...tasks import TASKS
from ..logs import SHAPES
from .suites import Step, Suite

PRE_TRAINING = 'pre-training'


def difference(there: Mapping[str, str] | None, here: Mapping[str, str]) -> str:
    """What tells data of one name apart, in words; nothing if they are the same.

    Args:
        there: task -> fingerprint, as results have them; None where they have none.
        here: the same of the data at hand. What only one of the two has is no difference.
    """
    if there is None:
        return 'which it does not have the fingerprint of'
    other = [task for task in here if there.get(task, here[task]) != here[task]]
    return f'{other[0]} {there[other[0]]}, not {here[other[0]]}' if other else ''


@dataclass(frozen=True)
class OwnData:
    """Folders for some of the tasks; at most one for each.

    name: of the first folder, for file names.
    """

    sources: tuple[Source, ...]
    name: str

    @property
    def tasks(self) -> list[str]:
        """Tasks that there are data for."""
        return [source.task for source in self.sources]

    @property
    def pictures(self) -> Source:
        """What pre-training reads: the folder of classification, or the first without one."""
        return next((s for s in self.sources if s.task == 'cls'), self.sources[0])

    @property
    def notes(self) -> list[str]:
        """What was found and decided in the folders, a line each."""
        return [note for source in self.sources for note in source.notes]

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        """Of each task's data and what pre-training reads; they tell data of one name apart."""
        own = {source.task: source.fingerprint for source in self.sources}
        return {**own, PRE_TRAINING: self.pictures.fingerprint}

    @cached_property
    def _places(self) -> dict[str, str]:
        return {place: mark for s in self.sources for place, mark in s.places.items()}

    def size(self, root: str) -> int | None:
        """Training images of a folder as configs name it; None if it is none of these."""
        sizes = {folder: n for source in self.sources for folder, n in source.sizes.items()}
        return sizes.get(root)

    def hide(self, content: Any) -> Any:
        """A config's content with fingerprints for paths: the same data elsewhere are the same."""
        return tree_map(self._hidden, content)

    def _hidden(self, value: Any) -> Any:
        # one folder may lie in another
        for root in sorted(self._places, key=len, reverse=True):
            if isinstance(value, str) and f'{value}/'.startswith(f'{root}/'):
                return self._places[root] + value[len(root) :]
        return value

    def apply(self, suite: Suite) -> Suite:
        """The suite's steps and rows of these tasks, on these data."""
        by_task = {source.task: source for source in self.sources}
        rows = tuple(row for row in suite.rows if row.task in by_task)
        # a probe of frozen features ends in a run without labels, which reads images alone
        tasks = {row.step: row.task for row in rows if not row.probe}

        def change(step: Step) -> Step:
            # a teacher that is no row says its task by its name
            task = tasks.get(step.name) or next(
                (key for key, task in TASKS.items() if step.name.endswith(f'_{task.head}')), ''
            )
            source = by_task.get(task)
            folder = str(self.pictures.train)
            images = {'shapes': None, 'train_dataloader.dataset.dataset.data_root': folder}
            own = source.options if source else images
            return replace(step, options={**step.options, **own})

        return replace(suite, rows=rows, on_request=()).on_own_test_data().with_steps(change)


def find_data(
    folders: Sequence[str], choices: Choices | None = None, task: str | None = None
) -> OwnData:
    """Recognise folders by their layout.

    Args:
        choices: where a folder can be read in two ways.
        task: that they have to be of; None takes any.

    Raises:
        UserError: for a folder that is of no known layout or of several at once, two of the same
            task, or the name of the generated data.
    """
    # not resolved: a link may give a folder another name
    roots = [Path(os.path.abspath(folder)) for folder in folders]
    if roots[0].name.lower() == SHAPES:
        raise UserError(
            f'{folders[0]}: {SHAPES} is what files of results call the generated data; '
            'rename the folder, or give a link to it that has another name'
        )
    sources = [find_source(root, choices, task) for root in roots]
    tasks = [source.task for source in sources]
    twice = next((task for task in tasks if tasks.count(task) > 1), None)
    if twice:
        raise UserError(f'more than one folder for {twice}: give one of each task')
    return OwnData(tuple(sources), roots[0].name)
