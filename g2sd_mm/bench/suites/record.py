"""Finished rows as small files that can be committed one by one, so a table is made in parts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import UserError
from ...tasks import TASKS
from ...whole_files import write_text
from ..logs import SHAPES, read_scalars
from ..results import check_row
from .data import PRE_TRAINING, difference
from .suites import Row

#: What a row's file says of how the row was made.
HOW = 'command', 'jobs', 'environment'
_LOGGED = (
    'accuracy/', 'coco/', 'mIoU', 'mAcc', 'loss', 'lr',
    *(metric.logged for task in TASKS.values() for metric in task.metrics),
)  # fmt: skip


@dataclass(frozen=True)
class Record:
    """``folder/rows/<source>_<task>_<student>_<method>_seed<N>.{json,log}``.

    Rows of other tables than the main one have table and setting after the method.

    source: what the rows were trained on.
    fingerprints: of its data, for sources other than Shapes; a row's file has those of the row.
    """

    folder: Path
    source: str = SHAPES
    fingerprints: Mapping[str, str] = field(default_factory=dict)

    def _stem(self, line: Mapping[str, Any]) -> Path:
        return self.folder / 'rows' / f'{self.source}_{_words(line)}'

    def files(self) -> dict[Path, dict[str, Any]]:
        """Files of this source's rows, by name, and what is in them.

        Raises:
            UserError: see :func:`read_rows`.
        """
        return read_rows(self.folder).get(self.source, {})

    def seeds(self) -> list[int]:
        """Seeds that any row of this source was finished for."""
        return sorted({kept['row']['seed'] for kept in self.files().values()})

    def refuse_others(self, suite: str) -> None:
        """Stop before rows of another suite, or on other data of the same name, are written over.

        Raises:
            UserError: naming such a row.
        """
        for file, kept in self.files().items():
            other = self.fingerprints and difference(kept.get('fingerprints'), self.fingerprints)
            whose = f'on other data called {self.source} ({other})' if other else ''
            if kept['suite'] != suite:
                whose = f'of the {kept["suite"]} suite'
            if whose:
                raise UserError(
                    f'{file} is a row {whose}: give another folder by --record (without it, by '
                    '--out), or move the old rows away'
                )

    def find(
        self, digests: Mapping[tuple[int, Row], str]
    ) -> dict[tuple[int, Row], dict[str, Any]]:
        """(seed, row) -> its line of ``results.json``, of those that have these digests."""
        return {key: kept['row'] for key, _, kept in self._kept(digests)}

    def made(self, digests: Mapping[tuple[int, Row], str]) -> list[dict[str, Any]]:
        """Each way in which rows with these digests were made, once.

        Returns:
            ``command``, ``jobs`` and ``environment`` as they were at the row's evaluation, and how
            many ``rows`` are of it.
        """
        ways: dict[str, dict[str, Any]] = {}
        for _, _, kept in self._kept(digests):
            way = {key: kept[key] for key in HOW}
            ways.setdefault(json.dumps(way, sort_keys=True), {**way, 'rows': 0})['rows'] += 1
        return list(ways.values())

    def left_out(self, digests: Mapping[tuple[int, Row], str]) -> list[str]:
        """Names of this source's files that have none of these digests, and count no more.

        Files of tasks that the digests have no row of are another table's.
        """
        kept = {file for _, file, _ in self._kept(digests)}
        tasks = {row.task for _, row in digests}
        return [
            file.name
            for file, content in self.files().items()
            if file not in kept and content['row']['task'] in tasks
        ]

    def _kept(
        self, digests: Mapping[tuple[int, Row], str]
    ) -> Iterator[tuple[tuple[int, Row], Path, dict[str, Any]]]:
        for (seed, row), digest in digests.items():
            line = {**vars(row), 'student': row.student, 'seed': seed}
            file = self._stem(line).with_suffix('.json')
            if file.is_file():
                kept = json.loads(file.read_text())
                if kept['digest'] == digest:
                    yield (seed, row), file, kept

    def add(
        self, results: Mapping[str, Any], line: dict[str, Any], digest: str, runs: Path,
        steps: Sequence[str],
    ) -> None:
        """Keep a finished row: its line, how it was made, and the log of its last run.

        Args:
            results: of the run, for suite, command and environment.
            runs: folder of the seed's runs.
            steps: the row's step and what it needs, prerequisites first.
        """
        stem = self._stem(line)
        stem.parent.mkdir(parents=True, exist_ok=True)
        content = {'digest': digest, **{key: results[key] for key in ('suite', *HOW)}}
        if self.source != SHAPES:
            marks = {key: mark for key, mark in self.fingerprints.items()
                     if key in (line['task'], PRE_TRAINING)}  # fmt: skip
            content |= {'data': self.source, 'fingerprints': marks}
        content |= {'steps': list(steps), 'row': line}
        write_text(stem.with_suffix('.log'), '\n'.join(_log(runs / steps[-1])) + '\n')
        # last: where it is, the row is whole
        write_text(stem.with_suffix('.json'), json.dumps(content, indent=2) + '\n')

    def write(self, results: Mapping[str, Any]) -> None:
        """All rows together: ``results.json``, of other sources ``results_<source>.json``."""
        ending = '' if self.source == SHAPES else f'_{self.source}'
        place = self.folder / f'results{ending}.json'
        place.parent.mkdir(parents=True, exist_ok=True)
        write_text(place, json.dumps(results, indent=2) + '\n')


def read_rows(folder: Path) -> dict[str, dict[Path, dict[str, Any]]]:
    """Source -> its rows' files in a record, by name, and what is in them.

    What is behind the source in a file's name follows from the row: a source may have underscores
    in its name, and begin like another one.

    Raises:
        UserError: for a file that is none.
    """
    sources: dict[str, dict[Path, dict[str, Any]]] = {}
    for file in sorted((folder / 'rows').glob('*_seed*.json')):
        try:
            kept = json.loads(file.read_text())
            check_row(kept['row'])
            for key in ('digest', 'suite', *HOW):
                kept[key]  # a row's file has them all
            ending = f'_{_words(kept["row"])}'
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f'{file} is no row of a record ({error!r}): remove it') from error
        if file.stem.endswith(ending):
            sources.setdefault(file.stem.removesuffix(ending), {})[file] = kept
    return sources


def _words(line: Mapping[str, Any]) -> str:
    """A row's name in files, without its source."""
    parts = [line['task'], line['student'], line['method']]
    if line.get('table', 'main') != 'main':
        parts.append(re.sub(r'\W', '', line['table'] + line.get('setting', '')))
    return '_'.join([*parts, f'seed{line["seed"]}'])


def _log(run: Path) -> Iterable[str]:
    """Losses, rates and figures that a run logged, a line for each time."""
    for entry in read_scalars(run):
        values = [f'{k} {v:.6g}' for k, v in entry.items() if k.startswith(_LOGGED)]
        yield f'step {entry.get("iter", entry.get("step"))}: ' + '  '.join(values)
