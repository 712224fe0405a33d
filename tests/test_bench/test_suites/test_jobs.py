"""Jobs in forked processes: order, room, errors."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest
import torch

from g2sd_mm.bench.suites.jobs import longest_chains_first, run_graph


def test_what_a_job_needs_has_ended_before_it_starts():
    needs = {'c': ['a', 'b'], 'a': [], 'b': ['a'], 'd': []}
    order = [key for key, _ in run_graph(needs, lambda key, results: {'had': sorted(results)}, 1)]
    assert order == ['a', 'b', 'c', 'd']
    had = dict(run_graph(needs, lambda key, results: {'had': sorted(results)}, 2))
    for key, wanted in needs.items():
        assert set(wanted) <= set(had[key]['had'])


def test_the_start_of_the_longest_chain_goes_first():
    needs = {'alone': [], 'end': ['middle'], 'first': [], 'middle': ['first'], 'short': []}
    ordered = longest_chains_first(needs)
    assert list(ordered) == ['first', 'middle', 'alone', 'end', 'short']
    assert ordered == needs


def test_there_are_never_more_processes_than_asked_for(tmp_path):
    def work(key, results):
        (tmp_path / str(key)).touch()
        together, end = 0, time.monotonic() + (60 if key < 2 else 0.05)
        # the first two wait until they have met, however slow the machine is
        while together < 2 and time.monotonic() < end:
            together = max(together, len(list(tmp_path.iterdir())))
            time.sleep(0.01)
        time.sleep(0.05)  # let the other one see it too
        together = max(together, len(list(tmp_path.iterdir())))
        (tmp_path / str(key)).unlink()
        return {'together': together, 'process': os.getpid()}

    results = dict(run_graph({i: [] for i in range(6)}, work, 2))
    assert max(result['together'] for result in results.values()) == 2
    processes = {result['process'] for result in results.values()}
    assert len(processes) == 6
    assert os.getpid() not in processes


def test_results_reach_the_jobs_that_need_them():
    work = lambda key, results: {'value': key + sum(r['value'] for r in results.values())}  # noqa: E731
    assert dict(run_graph({1: [], 10: [1]}, work, 1)) == {1: {'value': 1}, 10: {'value': 11}}


def test_a_process_without_a_result_is_an_error_and_the_others_go_on():
    def work(key, results):
        return os._exit(7) if key == 'bad' else {'ok': True}

    results = dict(run_graph({'bad': [], 'good': [], 'after': ['bad']}, work, 1))
    assert results['bad'] == {'error': 'its process ended with exit code 7'}
    assert results['good'] == results['after'] == {'ok': True}


def test_processes_share_the_cores(monkeypatch):
    monkeypatch.setattr(os, 'cpu_count', lambda: 8)
    results = dict(run_graph({1: []}, lambda *_: {'threads': torch.get_num_threads()}, 4))
    assert results[1]['threads'] == 2


def test_processes_end_with_the_one_that_started_them():
    def work(key, results):
        if key == 'slow':
            time.sleep(60)
        return {'process': os.getpid()}

    started = time.perf_counter()
    graph = run_graph({'slow': [], 'quick': []}, work, 2)
    assert next(graph)[0] == 'quick'
    graph.close()
    assert time.perf_counter() - started < 30


def test_processes_end_when_the_one_that_started_them_is_killed(tmp_path):
    def work(key, results):
        (tmp_path / 'process').write_text(str(os.getpid()))
        (tmp_path / 'process').rename(tmp_path / 'started')
        time.sleep(60)

    starter = multiprocessing.get_context('fork').Process(
        target=lambda: list(run_graph({'slow': []}, work, 1))
    )
    starter.start()
    while not (tmp_path / 'started').is_file():
        time.sleep(0.01)
    process = int((tmp_path / 'started').read_text())
    os.kill(starter.pid, signal.SIGKILL)
    starter.join()
    end = time.monotonic() + 20
    while _runs(process) and time.monotonic() < end:
        time.sleep(0.01)
    assert not _runs(process)


def _runs(process: int) -> bool:
    """Whether it is there, and not merely waits for somebody to take note of its end."""
    try:
        state = Path(f'/proc/{process}/stat').read_text().rpartition(')')[2].split()[0]
    except OSError:
        return False
    return state != 'Z'


def test_jobs_that_need_each_other_are_refused():
    with pytest.raises(ValueError, match='need each other'):
        list(run_graph({'a': ['b'], 'b': ['a']}, lambda key, results: {}, 1))
