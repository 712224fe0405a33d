"""The step with an option next to the step without it."""

from __future__ import annotations

import json

import pytest

from benchmarks import cheaper
from benchmarks.speed.extras import EXTRAS
from benchmarks.speed.stages import STAGES


def test_every_pair_is_of_a_stage_that_has_the_option():
    for pair in cheaper.PAIRS.values():
        assert pair.extra is None or STAGES[pair.stage].task in EXTRAS[pair.extra].tasks
        assert pair.extra or pair.side


@pytest.mark.parametrize('name', cheaper.PAIRS)
def test_both_sides_are_timed_in_turn(name, tmp_path):
    out = tmp_path / 'cheaper.json'
    args = ['--options', name, '--size', 'toy', '--rounds', '2', '--batch', '2', '--out', str(out)]
    cheaper.run(cheaper.parser().parse_args(args))
    content = json.loads(out.read_text())
    (figure,) = content['figures']
    ratios = [a / b for a, b in zip(figure['seconds'], figure['plain_seconds'], strict=True)]
    assert len(ratios) == 2
    assert figure['time_ratio']['lowest'] == pytest.approx(min(ratios))
    assert figure['option'] == name and 'cpu_flags' in content['environment']
