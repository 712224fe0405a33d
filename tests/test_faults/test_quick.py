"""A little of each fault, on every change. The whole series is in ``series.py``."""

from __future__ import annotations

import json
import signal

import pytest

from benchmarks.faults import campaign, incidents
from benchmarks.faults.campaign import Reference
from benchmarks.faults.children import Run
from benchmarks.faults.compare import differences
from benchmarks.faults.tasks import data_in, make_tasks, quick_folder
from g2sd_mm.checkpoints.integrity import newest_whole


@pytest.fixture(scope='module')
def place():
    with quick_folder() as folder, data_in(folder):
        yield folder


@pytest.fixture(scope='module')
def reference(place):
    made: dict[str, Reference] = {}

    def get(name: str, world: int = 1) -> Reference:
        key = f'{name}_{world}'
        if key not in made:
            made[key] = Reference.of(make_tasks(place, {name: world})[name], place)
        return made[key]

    return get


def unhurt(*records) -> None:
    bad = [json.dumps(record, indent=1) for record in records if not record['ok']]
    assert not bad, '\n'.join(bad)
    for record in records:
        if 'skipped' in record:
            pytest.skip(record['skipped'])


@pytest.mark.parametrize('name', ['stage1', 'cls', 'det', 'seg'])
def test_killed_runs_end_as_if_nothing_had_been(reference, place, name):
    records = list(campaign.kills_at_random(reference(name), place, 1, seed=7))
    assert len(records) == 1
    unhurt(*records)


def test_the_comparison_sees_another_run(reference, place):
    """Else equality of all those runs would mean nothing."""
    undisturbed = reference('stage1')
    other = Run(undisturbed.task, place / 'other_seed', seed=1)
    assert set(other.wait()) == {0}, other.said
    found = differences(undisturbed.folder, place / 'other_seed')
    assert any(line.startswith('weights.pth: ') for line in found)
    assert any(line.startswith('optimizer: ') for line in found)


@pytest.mark.slow
def test_a_run_with_another_batch_ends_as_documented(reference, place):
    records = list(campaign.changed_batches(reference('stage1'), place, 2, seed=3, batch=4))
    assert len(records) == 2
    unhurt(*records)


@pytest.mark.slow
def test_a_run_with_fewer_processes_ends_as_documented(reference, place):
    work_dir = place / 'cls_processes'
    two = Run(make_tasks(place, {'cls': 2})['cls'], work_dir)
    assert two.wait_for(lambda: two.steps >= 7), two.said[-3000:]
    for rank in range(2):
        two.signal(signal.SIGTERM, rank)
    assert two.wait() == [0, 0], two.said[-3000:]
    one = Run(make_tasks(place, {'cls': 1})['cls'], work_dir)
    assert one.wait() == [0], one.said[-3000:]
    assert 'processes: 2, now 1' in one.said
    assert campaign.state_of_end(work_dir) == campaign.state_of_end(reference('cls').folder)


def test_killed_while_saving(reference, place):
    unhurt(*campaign.kills_while_saving(reference('stage1'), place, 5, seed=3))


@pytest.mark.parametrize(('number', 'group'), [(signal.SIGTERM, True), (signal.SIGUSR1, False)])
def test_a_run_that_is_asked_to_end_saves_and_goes_on(reference, place, number, group):
    ends = []
    while not any('_iter_' in end for end in ends):  # in the middle of an epoch
        assert len(ends) < 5, ends  # on a busy machine the signal may come at its end
        (folder := place / f'asked_{number}_{len(ends)}').mkdir()
        record = incidents.asked_to_end(reference('cls'), folder, number, group)
        unhurt(record)
        ends.append(record['finished_from'])


def test_a_killed_worker_is_one_line(reference, place):
    unhurt(incidents.killed_worker(reference('cls'), place))


def test_a_killed_peer_is_one_line_and_nothing_is_lost(reference, place):
    unhurt(incidents.killed_peer(reference('stage1', 2), place))


@pytest.mark.parametrize('incident', incidents.ALONE[1:], ids=lambda incident: incident.__name__)
def test_one_line_and_nothing_is_lost(reference, place, incident):
    unhurt(incident(reference('stage1'), place))


def test_deterministic_runs_are_the_same_to_the_last_bit(reference, place):
    folders = [place / f'deterministic_{i}' for i in range(2)]
    for folder in folders:
        run = Run(reference('cls').task, folder, deterministic=True)
        assert run.wait() == [0], run.said
    assert differences(*folders) == []


def test_no_half_file_has_a_good_name_anywhere(place):
    """After everything above."""
    for folder in place.iterdir():
        if (folder / 'last_checkpoint').is_file() and not folder.name.startswith('truncated'):
            assert newest_whole(folder)[1] == []
