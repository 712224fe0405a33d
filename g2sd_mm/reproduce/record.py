"""Finished rows as small files that can be committed one by one, so a table is made in parts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..checkpoints.write import write_text
from ..reports.logs import SHAPES, read_scalars
from .suites import Row

#: What a row's file says of how the row was made.
HOW = 'command', 'jobs', 'environment'
_LOGGED = 'accuracy/', 'coco/', 'mIoU', 'mAcc', 'loss', 'lr'


@dataclass(frozen=True)
class Record:
    """``folder/rows/<source>_<task>_<student>_<method>_seed<N>.{json,log}``.

    Rows of other tables than the main one have table and setting after the method.

    source: what the rows were trained on.
    """

    folder: Path
    source: str = SHAPES

    def _stem(self, line: Mapping[str, Any]) -> Path:
        parts = [self.source, line['task'], line['student'], line['method']]
        if line.get('table', 'main') != 'main':
            parts.append(re.sub(r'\W', '', line['table'] + line.get('setting', '')))
        return self.folder / 'rows' / '_'.join([*parts, f'seed{line["seed"]}'])

    def _file(self, row: Row, seed: int) -> Path:
        names = ('task', 'student', 'method', 'table', 'setting')
        line = {name: getattr(row, name) for name in names}
        return self._stem({**line, 'seed': seed}).with_suffix('.json')

    def seeds(self) -> list[int]:
        """Seeds that any row of this source was finished for."""
        files = (self.folder / 'rows').glob(f'{self.source}_*_seed*.json')
        return sorted({int(file.stem.rpartition('_seed')[2]) for file in files})

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
        ways: list[dict[str, Any]] = []
        for _, _, kept in self._kept(digests):
            way = {key: kept[key] for key in HOW}
            same = [known for known in ways if {**known, 'rows': 0} == {**way, 'rows': 0}]
            if same:
                same[0]['rows'] += 1
            else:
                ways.append({**way, 'rows': 1})
        return ways

    def left_out(self, digests: Mapping[tuple[int, Row], str]) -> list[str]:
        """Names of this source's files that have none of these digests, and count no more."""
        kept = {file for _, file, _ in self._kept(digests)}
        files = sorted((self.folder / 'rows').glob(f'{self.source}_*_seed*.json'))
        return [file.name for file in files if file not in kept]

    def _kept(
        self, digests: Mapping[tuple[int, Row], str]
    ) -> Iterator[tuple[tuple[int, Row], Path, dict[str, Any]]]:
        for (seed, row), digest in digests.items():
            file = self._file(row, seed)
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
            line: the row.
            digest: of the row.
            runs: folder of the seed's runs.
            steps: the row's step and what it needs, prerequisites first.
        """
        stem = self._stem(line)
        stem.parent.mkdir(parents=True, exist_ok=True)
        made = {key: results[key] for key in HOW}
        known = {'digest': digest, 'suite': results['suite'], **made}
        content = {**known, 'steps': list(steps), 'row': line}
        write_text(stem.with_suffix('.log'), '\n'.join(_log(runs / steps[-1])) + '\n')
        # last: where it is, the row is whole
        write_text(stem.with_suffix('.json'), json.dumps(content, indent=2) + '\n')

    def write(self, results: Mapping[str, Any]) -> None:
        """All rows together: ``results.json``, of other sources ``results_<source>.json``."""
        ending = '' if self.source == SHAPES else f'_{self.source}'
        place = self.folder / f'results{ending}.json'
        place.parent.mkdir(parents=True, exist_ok=True)
        write_text(place, json.dumps(results, indent=2) + '\n')


def _log(run: Path) -> Iterable[str]:
    """Losses, rates and figures that a run logged, a line for each time."""
    for entry in read_scalars(run):
        values = [f'{k} {v:.6g}' for k, v in entry.items() if k.startswith(_LOGGED)]
        yield f'step {entry.get("iter", entry.get("step"))}: ' + '  '.join(values)
