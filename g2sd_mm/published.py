"""Published figures of the paper's rows, from the one file that has them with their sources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml

from .config.project import project_folder

FILE = project_folder() / 'docs' / 'results' / 'published.yaml'
_KEYS = ('table', 'task', 'student', 'method', 'setting', 'metric')


@dataclass(frozen=True)
class Figure:
    """One published figure.

    value: in percent, None where no source has it.
    of_teacher: percent of the teacher's figure, where that is what is published.
    source: where it was read; empty without a value.
    why: the reason for the gap.
    """

    value: float | None = None
    of_teacher: float | None = None
    source: str = ''
    why: str = ''

    def __str__(self) -> str:
        if self.value is not None:
            return f'{self.value:g}'
        return f'{self.of_teacher:g} % of teacher' if self.of_teacher is not None else ''


@cache
def content() -> dict[str, Any]:
    """The whole file: ``rows``, ``progress``, ``others``, ``alexnet_corruption_errors``."""
    return yaml.safe_load(FILE.read_text())


def published(row: Mapping[str, Any], metric: str) -> Figure | None:
    """What is published for a row of ``results.json`` of the paper suite; None if nothing is said.

    Args:
        row: with task, student and method, and table and setting if it is not of a main table.
        metric: ``top1``, ``bbox_mAP``, ``mIoU``, ...
    """
    asked = {'table': 'main', 'setting': '', **row, 'metric': metric}
    for entry in content()['rows']:
        said = {'table': 'main', **entry}
        if all(asked[key] == said[key] for key in _KEYS if key in said):
            return Figure(**{k: v for k, v in entry.items() if k not in _KEYS})
    return None
