"""SIGKILL to a suite and all its runs; started again, it ends as if nothing had been.

A teacher after its pre-training, and a student beside, at toy size: three epochs of four steps, a
checkpoint an epoch.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.faults.compare import differences
from g2sd_mm.bench.logs import read_scalars
from g2sd_mm.bench.suites import launch as launch_module
from g2sd_mm.bench.suites import record as record_module
from g2sd_mm.bench.suites import run as run_module
from g2sd_mm.bench.suites.run import run_suite
from g2sd_mm.bench.suites.suites import Row, Step, Suite

from ...helpers import imagenet
from . import killing as killed
from .fakes import run_forked

_FORK = multiprocessing.get_context('fork')
_LONGER = {'train_cfg.max_epochs': 3, 'train_dataloader.num_workers': 1}
_STEPS, _EPOCH = 12, 4
STEPS = ['vitb_mae', 'vitb_cls', 'vits_scratch_cls']


def toy(record: Path) -> Suite:
    return Suite(
        name='toy',
        steps=(
            Step(imagenet.path('vitb_mae'), options=imagenet.mae(**_LONGER)),
            Step(imagenet.path('vitb_cls'), needs=('vitb_mae',),
                 options=imagenet.plain('demo-teacher', **_LONGER)),
            Step(imagenet.path('vits_scratch_cls'),
                 options=imagenet.plain('demo-student', **_LONGER)),
        ),
        rows=(Row('cls', 'teacher', 'vitb_cls'), Row('cls', 'scratch', 'vits_scratch_cls')),
        record=str(record),
    )  # fmt: skip


# Moments: each is prepared in the process of the suite, before it begins -------------------------


def _in_its_command(name: str, moment: Callable[[], None]) -> Callable[[], None]:
    """In the process that trains a step."""

    def killing(command: str, log: Path, **how: Any) -> None:
        own = {'prepare': moment} if log.parent.name == name else {}
        run_forked(command, log, **how, **own)

    return lambda: setattr(launch_module, 'run_shell', killing)


def in_a_run(name: str, step: int) -> Callable[[], None]:
    """Before a training step, from 1, of one of the runs is over."""
    return _in_its_command(name, partial(killed.at_step, step))


def writing(ending: str, half: bool) -> Callable[[], None]:
    """Before a file whose path ends so has its name, or begins to be written."""
    run, _, name = ending.partition('/')
    if name == 'weights.pth':
        return _in_its_command(run, partial(killed.before_writing, ending))

    def prepare() -> None:
        def text(path: Any, content: str) -> None:
            if str(path).endswith(ending):
                killed.kill_all()
            write(path, content)

        if half:
            killed.before_writing(ending)
        else:
            write = run_module.write_text
            run_module.write_text = record_module.write_text = text

    return prepare


def after(name: str) -> Callable[[], None]:
    """Between two runs: this one is done and noted, its row is not recorded."""
    return lambda: _ENDED.append(name)


_ENDED: list[str] = []  # in the process of the suite alone


# Starts ------------------------------------------------------------------------------------------


@dataclass
class Place:
    """A folder in which the suite is started, again and again."""

    folder: Path

    @property
    def out(self) -> Path:
        return self.folder / 'out'

    def run(self, name: str) -> Path:
        return self.out / 'seed0' / name

    def start(self, prepare: Callable[[], None] = lambda: None) -> tuple[int | None, list[str]]:
        """Exit code, and the steps that it said were done, with whether that was before."""
        said = self.folder / 'said'
        said.write_text('')
        process = _FORK.Process(target=self._work, args=(prepare, said))
        process.start()
        process.join(120)
        group = process.pid
        process.kill()
        while _alive(group):  # whoever was killed with it
            time.sleep(0.01)
        return process.exitcode, said.read_text().splitlines()

    def _work(self, prepare: Callable[[], None], said: Path) -> None:
        os.setsid()
        os.cpu_count = lambda: 1  # one thread a run: more wait for each other on a busy machine
        torch.set_num_threads(1)
        launch_module.run_shell = run_forked
        prepare()

        def say(line: str) -> None:
            name = line.split()[3].rstrip(':')
            with said.open('a') as file:
                file.write(f'{name} before\n' if 'done before' in line else f'{name}\n')
            if name in _ENDED:
                killed.kill_all()

        suite = toy(self.folder / 'record')
        run_suite(suite, suite.rows, (0,), self.out, say=say)

    def result(self) -> dict[str, Any]:
        """Everything that has to be the same, however often it was begun."""
        rows = self.folder / 'record' / 'rows'
        content = json.loads((self.out / 'results.json').read_text())['rows']
        kept = {file.name: json.loads(file.read_text()) for file in rows.glob('*.json')}
        return {
            'rows': [_timeless(row) for row in content],
            'record': {name: (_timeless(k['row']), k['digest']) for name, k in kept.items()},
            'logs': {file.name: file.read_text() for file in rows.glob('*.log')},
        }


def _alive(group: int | None) -> bool:
    try:
        os.killpg(group or 0, 0)
    except ProcessLookupError:
        return False
    return True


def _timeless(row: dict[str, Any]) -> dict[str, Any]:
    assert row['total_seconds'] >= row['train_seconds'] > 0
    return {k: v for k, v in row.items() if not k.endswith('_seconds') and k != 'checkpoint'}


@pytest.fixture(scope='module')
def undisturbed(tmp_path_factory, image_data):
    os.environ['G2SD_DATA'] = str(image_data)
    place = Place(tmp_path_factory.mktemp('undisturbed'))
    assert place.start() == (0, STEPS)
    yield place
    del os.environ['G2SD_DATA']


def ends_as(place: Place, undisturbed: Place) -> None:
    assert place.result() == undisturbed.result()
    for name in STEPS:
        assert differences(place.run(name), undisturbed.run(name)) == [], name


def test_killed_in_a_run_it_goes_on_from_the_last_checkpoint(undisturbed, tmp_path):
    place = Place(tmp_path)
    assert place.start(in_a_run('vitb_cls', 2 * _EPOCH + 2)) == (-signal.SIGKILL, STEPS[:1])
    assert not (place.out / 'results.json').exists() or not place.result()['rows']
    assert place.start() == (0, ['vitb_mae before', *STEPS[1:]])
    logs = sorted(place.run('vitb_cls').glob('*/vis_data/scalars.json'))
    begun = [json.loads(log.read_text().splitlines()[0]) for log in logs]
    # its validation after epoch 2 is made again, no step of before is
    assert begun[0]['iter'] == 1 and 'accuracy/top1' in begun[1]
    steps = [entry['iter'] for entry in read_scalars(place.run('vitb_cls')) if 'iter' in entry]
    assert steps == list(range(1, _STEPS + 1))
    assert len(logs[1].read_text().splitlines()) == 1 + _EPOCH + 1
    ends_as(place, undisturbed)


def beginning_with(done: int) -> list[str]:
    """What is said of all steps when so many were done before."""
    return [*(f'{name} before' for name in STEPS[:done]), *STEPS[done:]]


@pytest.mark.slow
@pytest.mark.parametrize(
    ('moment', 'done', 'then'),
    [
        (in_a_run('vitb_mae', 2), 0, STEPS),  # before there is any checkpoint
        (in_a_run('vits_scratch_cls', _EPOCH + 1), 2, STEPS[2:]),  # the teacher's row is recorded
        (writing('vitb_cls/weights.pth', half=True), 1, beginning_with(1)),
        (writing('vitb_cls/result.json', half=False), 1, beginning_with(1)),
        (writing('vitb_cls/result.json', half=True), 1, beginning_with(1)),
        (after('vitb_mae'), 1, beginning_with(1)),
        (after('vitb_cls'), 2, beginning_with(2)),
        (writing('teacher_seed0.log', half=True), 2, beginning_with(2)),
        (writing('teacher_seed0.json', half=False), 2, beginning_with(2)),
        (writing('teacher_seed0.json', half=True), 2, beginning_with(2)),
        (writing('out/results.json', half=True), 1, beginning_with(1)),
        (writing('record/results.json', half=True), 3, []),
    ],
)
def test_killed_at_any_moment_it_ends_as_if_nothing_had_been(
    undisturbed, tmp_path, moment, done, then
):
    place = Place(tmp_path)
    assert place.start(moment) == (-signal.SIGKILL, STEPS[:done])
    assert place.start() == (0, then)
    ends_as(place, undisturbed)


@pytest.mark.slow
def test_killed_again_and_again(undisturbed, tmp_path):
    place = Place(tmp_path)
    for step in (2, _EPOCH + 1, _EPOCH + 1, 2):
        place.start(in_a_run('vitb_cls', step))
    place.start(writing('teacher_seed0.json', half=True))
    assert place.start()[0] == 0
    ends_as(place, undisturbed)
