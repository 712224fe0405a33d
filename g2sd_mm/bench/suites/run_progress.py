"""How far the runs of a suite are, from what they log: nothing passes between the processes.

So a run that a launcher started on other machines is watched in the same way.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from pathlib import Path

from mmengine.config import Config

from ...errors import UserError
from ...progress import Bar, Bars
from ..logs import entries_of
from .budget import raw_config, train_root, work_of
from .data import OwnData
from .suites import Suite

Key = tuple[int, str]  # seed, step


class RunProgress:
    """Keeps a bar of images for every run of a suite that is under way.

    Args:
        suite: whose steps are run.
        folder: with ``seed<N>/<step>/``.
        bars: that are shown; None watches nothing.
        data: what the suite is run on, where it is not its own.
    """

    def __init__(
        self, suite: Suite, folder: Path, bars: Bars | None, data: OwnData | None = None
    ) -> None:
        self.suite, self.folder, self.bars, self.data = suite, folder, bars, data
        self._bars: dict[Key, Bar] = {}
        self._started: dict[Key, float] = {}

    def __call__(self, running: Collection[Key]) -> None:
        """Look at the runs that are under way."""
        if self.bars is None:
            return
        for key in running:
            if key not in self._bars:
                self._started[key] = time.time()
                self._bars[key] = self.bars.add(f'seed {key[0]} {key[1]}', self._images(key))
            bar = self._bars[key]
            run = self.folder / f'seed{key[0]}' / key[1]
            step = updates_logged(run, self._started[key])
            if step is None:
                continue
            images = step * self._config(key).auto_scale_lr.base_batch_size
            if not bar.done:  # a run that was resumed has done some of it before
                bar.go_on(images)
            elif images != bar.done:
                bar.at(images)

    def _config(self, key: Key) -> Config:
        step = self.suite.step(key[1])
        return raw_config(step.config, step.options)

    def _images(self, key: Key) -> int | None:
        """Images that the run will have seen; None where that is not known."""
        cfg = self._config(key)
        try:
            return work_of(cfg, self.data.size(train_root(cfg)) if self.data else None).seen
        except UserError:
            return None

    def ended(self, key: Key) -> None:
        """A run is over."""
        bar = self._bars.pop(key, None)
        if bar:
            bar.end()


def updates_logged(run: Path, since: float) -> int | None:
    """Training steps of a run that its log knows of; None before the first line.

    Args:
        run: work dir; the log is its newest ``<time>/vis_data/scalars.json``.
        since: seconds since 1970; an older log is another run's.
    """
    logs = sorted(run.glob('*/vis_data/scalars.json'))
    if not logs or logs[-1].stat().st_mtime < since:
        return None
    # lines of training: those of validation name an epoch
    steps = [entry['iter'] for entry in entries_of(_tail(logs[-1])) if 'iter' in entry]
    return int(steps[-1]) if steps else None


def _tail(log: Path, size: int = 4096) -> list[str]:
    """The last whole lines of a file that is being written."""
    with log.open('rb') as file:
        file.seek(0, 2)
        length = file.tell()
        file.seek(max(0, length - size))
        lines = file.read().decode(errors='replace').split('\n')
    # the first may have been cut, the last is not finished
    return [line for line in lines[1 if length > size else 0 : -1] if line]
