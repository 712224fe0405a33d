"""The full series, in ``make test-all``."""

from __future__ import annotations

import pytest

from benchmarks.faults.series import KILLS, PARTS, part
from benchmarks.faults.tasks import data_in, quick_folder


def test_the_series_is_as_long_as_it_is_said_to_be():
    assert sum(random + batch for random, batch, _ in KILLS.values()) >= 150
    assert sum(saving for _, _, saving in KILLS.values()) >= 20
    assert {name for name, _ in KILLS} == {'stage1', 'cls', 'det', 'seg'}
    assert any(world == 2 for _, world in KILLS)


@pytest.mark.slow
@pytest.mark.parametrize('which', PARTS)
def test_a_part_of_the_series(which):
    with quick_folder() as folder, data_in(folder):
        bad = [record for record in part(folder, which) if not record['ok']]
    assert not bad, bad
