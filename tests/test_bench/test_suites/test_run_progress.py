"""How far a run is, told by itself alone."""

from __future__ import annotations

import io
import json
import time

from g2sd_mm.bench.suites.jobs import RunProgress, run_graph
from g2sd_mm.progress import Bars


def told(run, step: int, at: float | None = None) -> None:
    run.mkdir(parents=True, exist_ok=True)
    state = {'step': step, 'steps': 868, 'images': 64, 'time': at or time.time()}
    (run / 'progress.json').write_text(json.dumps(state))


def test_a_bar_counts_the_images_of_the_run(tmp_path):
    stream = io.StringIO()
    key = (0, 'g2sd_vits_cls')
    watch = RunProgress(tmp_path, Bars(stream, every=0))
    told(tmp_path / 'seed0' / key[1], 900, at=1.0)  # of an earlier run
    watch([key])
    for step in (100, 100, 434):
        told(tmp_path / 'seed0' / key[1], step)
        watch([key])
    # once for each time that something was told
    (line,) = stream.getvalue().splitlines()
    assert line.startswith('seed 0 g2sd_vits_cls: 27,776/55,552 images, ')
    watch.ended(key)
    watch.ended((0, 'vitb_mae'))  # of which there was nothing to see
    assert watch._bars == {}


def test_without_bars_nothing_is_read(tmp_path):
    RunProgress(tmp_path, None)([(0, 'no such step')])


def test_running_jobs_are_watched():
    seen = []

    def work(key, results):
        time.sleep(0.1)
        return {}

    list(run_graph({'a': [], 'b': ['a']}, work, 2, seen.append))
    assert ['a'] in seen and ['b'] in seen
