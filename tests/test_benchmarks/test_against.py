"""Two checkouts compared: which time is divided by which, and what is written down."""

import json

import pytest

from benchmarks.speed import against
from benchmarks.speed.stages import ROOT


class FakeSide:
    """A side whose steps take 3 s in this checkout and 2 s in another one."""

    def __init__(self, checkout, stage, size, batch, threads):
        self.seconds = 3.0 if checkout == ROOT else 2.0

    def step(self):
        return self.seconds

    def close(self):
        self.seconds = None


@pytest.fixture
def other(tmp_path, monkeypatch):
    monkeypatch.setattr(against, 'Side', FakeSide)
    (tmp_path / 'other' / 'g2sd_mm').mkdir(parents=True)
    return tmp_path / 'other'


def test_a_slower_step_here_is_above_one(other):
    line = against.compare(other, 'cls_vits', 'toy', batch=4, threads=1, rounds=5)
    assert line['here_over_other'] == 1.5
    assert (line['other_ms'], line['here_ms'], line['rounds']) == (2000.0, 3000.0, 5)


def test_lines_of_other_stages_are_kept(other, tmp_path, capsys):
    out = tmp_path / 'pairs.json'
    for stages in (['cls_vits'], ['det_vits'], ['cls_vits']):
        against.main(
            [str(other), '--size', 'toy', '--rounds', '4', '--out', str(out), '--stages', *stages]
        )
    lines = json.loads(out.read_text())['lines']
    assert [line['stage'] for line in lines] == ['det_vits', 'cls_vits']
    assert lines[0]['environment']['device'] == 'cpu'


def test_a_folder_without_the_package_is_refused(tmp_path):
    with pytest.raises(SystemExit):
        against.main([str(tmp_path)])
