"""The full series, in ``make test-all``."""

from __future__ import annotations

import pytest

from .series import full, summary
from .tasks import data_in, quick_folder


@pytest.mark.slow
def test_the_full_series():
    with quick_folder() as folder, data_in(folder):
        records = list(full(folder))
    bad = [record for record in records if not record['ok']]
    assert not bad, bad
    figures = summary(records)
    assert figures['SIGKILL at a random moment']['faults'] >= 50
    assert figures['SIGKILL while saving']['faults'] >= 20
