"""Jobs in threads: order, room, results."""

from __future__ import annotations

import threading
import time

import pytest

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


def test_there_are_never_more_at_once_than_asked_for():
    here, most, guard = 0, 0, threading.Lock()
    met = threading.Barrier(2)

    def work(key, results):
        nonlocal here, most
        with guard:
            here += 1
            most = max(most, here)
        if key < 2:
            met.wait(60)  # the first two wait until they have met
        time.sleep(0.02)
        with guard:
            here -= 1
        return {}

    assert len(dict(run_graph({i: [] for i in range(6)}, work, 2))) == 6
    assert most == 2


def test_results_reach_the_jobs_that_need_them():
    work = lambda key, results: {'value': key + sum(r['value'] for r in results.values())}  # noqa: E731
    assert dict(run_graph({1: [], 10: [1]}, work, 1)) == {1: {'value': 1}, 10: {'value': 11}}


def test_what_is_running_is_looked_at():
    seen = []
    work = lambda key, results: time.sleep(0.05) or {}  # noqa: E731
    list(run_graph({'a': [], 'b': ['a']}, work, 2, lambda running: seen.extend(running)))
    assert set(seen) == {'a', 'b'}


def test_jobs_that_need_each_other_are_refused():
    with pytest.raises(ValueError, match='cycle'):
        list(run_graph({'a': ['b'], 'b': ['a']}, lambda key, results: {}, 1))
