"""How far a run is, told by its log alone."""

from __future__ import annotations

import io
import json
import os
import time

from g2sd_mm.bench.suites.catalogue import MINI
from g2sd_mm.bench.suites.data import find_data
from g2sd_mm.bench.suites.jobs import run_graph
from g2sd_mm.bench.suites.run_progress import RunProgress, updates_logged
from g2sd_mm.progress import Bars

from ...helpers.toys import image_folder
from .fakes import suite


def log(run, *entries, name: str = '20260101_000000', cut: str = ''):
    file = run / name / 'vis_data' / 'scalars.json'
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(''.join(json.dumps(entry) + '\n' for entry in entries) + cut)
    return file


def test_the_last_training_line_counts(tmp_path):
    assert updates_logged(tmp_path, 0) is None
    log(tmp_path, {'loss': 2.0, 'iter': 50, 'step': 50})
    assert updates_logged(tmp_path, 0) == 50
    log(tmp_path, {'loss': 2.0, 'iter': 50}, {'loss': 1.0, 'iter': 112},
        {'accuracy/top1': 9.0, 'step': 2},
        cut='{"lo{"loss": 1.0}\n{"loss": 1.0, "iter": 1')  # the disk was full for a moment
    assert updates_logged(tmp_path, 0) == 112
    log(tmp_path, *({'loss': 1.0, 'iter': i, 'text': 'x' * 100} for i in range(200)))
    assert updates_logged(tmp_path, 0) == 199


def test_logs_of_earlier_runs_do_not_count(tmp_path):
    old = log(tmp_path, {'iter': 900})
    os.utime(old, (1, 1))
    assert updates_logged(tmp_path, time.time() - 60) is None
    log(tmp_path, {'iter': 7}, name='20260102_000000')
    assert updates_logged(tmp_path, time.time() - 60) == 7


def test_a_bar_counts_the_images_of_the_run(tmp_path):
    stream = io.StringIO()
    key = (0, 'g2sd_vits_cls')
    watch = RunProgress(suite(), tmp_path, Bars(stream, every=0))
    watch([key])  # nothing logged yet
    for step in (100, 100, 434):
        log(tmp_path / 'seed0' / key[1], {'iter': step})
        watch([key])
    # 14 epochs of 62 steps of 64 images; once for each time that something was logged
    (line,) = stream.getvalue().splitlines()
    assert line.startswith('seed 0 g2sd_vits_cls: 27,776/55,552 images, ')
    watch.ended(key)
    watch.ended((0, 'vitb_mae'))  # of which there was nothing to see
    assert watch._bars == {}


def test_a_bar_on_own_data_has_an_end_too(tmp_path):
    for split in ('train', 'val'):
        image_folder(tmp_path / 'pets' / split, classes=2, each=32, size=8)
    data, stream = find_data([str(tmp_path / 'pets')]), io.StringIO()
    watch = RunProgress(data.apply(MINI), tmp_path, Bars(stream, every=0), data)
    watch([(0, 'vits_mae')])
    for step in (6, 12):
        log(tmp_path / 'seed0' / 'vits_mae', {'iter': step})
        watch([(0, 'vits_mae')])
    assert stream.getvalue().startswith('seed 0 vits_mae: 768/3,840 images, ')


def test_without_bars_nothing_is_read(tmp_path):
    RunProgress(suite(), tmp_path, None)([(0, 'no such step')])


def test_running_jobs_are_watched():
    seen = []

    def work(key, results):
        time.sleep(0.1)
        return {}

    list(run_graph({'a': [], 'b': ['a']}, work, 2, seen.append))
    assert ['a'] in seen and ['b'] in seen
