"""When data are taken as the same, and when not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from g2sd_mm.bench.suites.data import difference
from g2sd_mm.image_files import files_below
from g2sd_mm.runs.own_data import fingerprint


def write(root: Path, files: dict[str, str]) -> list[Path]:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return [root / name for name in files]


def test_files_are_listed_by_name_through_links_and_without_hidden_ones(tmp_path):
    write(tmp_path / 'disk', {'b.png': '', 'a.png': ''})
    write(tmp_path / 'data', {'z/1.png': '', 'c/2.png': '', '.DS_Store': '', '.git/3.png': ''})
    (tmp_path / 'data' / 'far').symlink_to(tmp_path / 'disk')
    (tmp_path / 'data' / 'c' / 'endless').symlink_to(tmp_path / 'data')
    (tmp_path / 'data' / 'gone.png').symlink_to(tmp_path / 'nowhere')
    found = [str(path.relative_to(tmp_path / 'data')) for path in files_below(tmp_path / 'data')]
    assert found == ['c/2.png', 'far/a.png', 'far/b.png', 'z/1.png']


@pytest.mark.parametrize(
    ('changed', 'same'),
    [({}, True),
     ({'1.png': 'xy'}, True),  # as large as before: images are not read
     ({'1.png': 'xyz'}, False),
     ({'labels.json': '[2]'}, False),
     ({'2.png': ''}, False)],
)  # fmt: skip
def test_images_are_known_by_size_and_labels_by_content(tmp_path, changed, same):
    marks = []
    for place, files in (('here', {}), ('there', changed)):
        root, content = tmp_path / place, {'1.png': 'ab', 'labels.json': '[1]', **files}
        paths = write(root, content)
        images = [path for path in paths if path.suffix == '.png']
        marks.append(fingerprint(root, images, [root / 'labels.json']))
    assert (marks[0] == marks[1]) is same


def test_names_need_not_be_text(tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b'/\xff.png')
    Path(path).write_text('')
    assert fingerprint(tmp_path, files_below(tmp_path)) != fingerprint(tmp_path, [])


def test_a_difference_is_of_what_both_have():
    assert difference({'cls': 'a', 'det': 'b'}, {'cls': 'a', 'seg': 'c'}) == ''
    there, here = {'cls': 'a', 'det': 'b'}, {'cls': 'c', 'det': 'd'}
    assert difference(there, here) == 'cls a, not c'
    assert difference(None, {'cls': 'a'})
