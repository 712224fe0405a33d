"""Figures of the benchmark as a table."""

from __future__ import annotations

import json

import pytest

from benchmarks.readme import with_results
from benchmarks.speed.table import speed_table
from g2sd_mm.errors import UserError

RATIO = dict(median=1.5, lowest=1.25, highest=1.75, rounds=5)
CONTENT = dict(
    figures=[
        dict(
            stage='cls_vits', part='step', variant='bfloat16', batch=16, images_per_second=4.5,
            reference_images_per_second=3.0, ratio=RATIO, counts=False, utilisation=0.75,
            reference_utilisation=0.5,
        )
    ],
    memory=[
        dict(
            stage='det_vits', variant='float32', batch=1, bytes=3_000_000,
            reference_bytes=6_000_000, ratio=0.5,
        )
    ],
    startup=[dict(stage='seg_vits', seconds=[7, 8, 9], bare_seconds=[4, 5, 6], added=3.0)],
    scaling=[
        dict(
            stage='cls_vits', batch=16, images_per_second=1.0, images_per_second_of_two=1.5,
            ratio=RATIO,
        )
    ],
)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / 'speed.json'
    path.write_text(json.dumps(CONTENT))
    return path


def test_every_kind_of_figure_has_its_row(file):
    assert speed_table([file]).splitlines()[2:] == [
        '| `cls_vits` | step, bfloat16 (emulated) | 16 | 4.5 img/s | 3 img/s '
        '| 1.50 (1.25 to 1.75) | 75% / 50% |',
        '| `det_vits` | memory, float32 | 1 | 3 MB | 6 MB | 0.50 |  |',
        '| `seg_vits` | start to first batch, bare import |  | 8.0 s | 5.0 s | +3.0 s |  |',
        '| `cls_vits` | two processes, one | 16 | 1.5 img/s | 1 img/s | 1.50 (1.25 to 1.75) |  |',
    ]


def test_columns_that_nobody_fills_are_left_out(tmp_path):
    path = tmp_path / 'startup.json'
    path.write_text(json.dumps({**CONTENT, 'figures': [], 'memory': [], 'scaling': []}))
    header, _, row = speed_table([path]).splitlines()
    assert header == '| stage | part | ours | reference | ratio (range) |'
    assert row.count('|') == header.count('|')


def test_files_follow_each_other_in_a_marked_section(file, tmp_path):
    text = 'a\n<!-- speed: speed.json speed.json -->\nold\n<!-- end of speed -->\nb\n'
    filled = with_results(text, tmp_path)
    assert 'old' not in filled and filled.count('`det_vits`') == 2
    assert with_results(filled, tmp_path) == filled


@pytest.mark.parametrize('content', ['{}', 'no', '[]'])
def test_another_file_is_named(tmp_path, content):
    (tmp_path / 'speed.json').write_text(content)
    with pytest.raises(UserError, match=r'speed\.json is not a file of tools/benchmark\.py'):
        speed_table([tmp_path / 'speed.json'])
