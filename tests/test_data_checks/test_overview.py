"""What the checker says of data that are sound: counts, sizes, suggestions, and its page."""

from __future__ import annotations

import itertools
import re

import pytest

from g2sd_mm.cli.check_data import check_data
from g2sd_mm.data_checks.overview import Overview, histogram, spread, suggestions

from ..helpers import exports
from ..helpers.exports import scenes
from ..helpers.toys import image_folder

MADE = scenes({'train': 7, 'val': 3})


def counted(split: str) -> dict[str, int]:
    labels = [label for scene in MADE if scene.split == split for label, _ in scene.objects]
    return {name: labels.count(i) for i, name in enumerate(exports.CLASSES)}


def test_objects_are_counted_by_class_and_image(tmp_path):
    root = exports.yolo(tmp_path / 'fruit', MADE)
    report = check_data([str(root)], workers=0, report=str(tmp_path / 'look.html'))
    train, val = report.overviews
    assert train.classes == counted('train') and val.classes == counted('val')
    per_image = [len(scene.objects) for scene in MADE if scene.split == 'train']
    assert train.per_image == {n: per_image.count(n) for n in set(per_image)}
    assert train.sizes == {scene.size: 1 for scene in MADE if scene.split == 'train'}
    boxes = [b for s in MADE if s.split == 'train' for _, b in s.objects]
    assert sorted(train.sides) == pytest.approx(sorted((w * h) ** 0.5 for *_, w, h in boxes))
    assert report.plain()['splits'][0]['classes'] == counted('train')
    assert "classes=('apple', 'berry')" in ' '.join(report.hints)
    page = (tmp_path / 'look.html').read_text()
    assert page.count('<figure>') == len(MADE) and 'http' not in page
    assert len(set(re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page))) == len(MADE)


def test_masks_are_counted_by_the_classes_that_they_show(tmp_path):
    root = exports.masks(tmp_path / 'fruit', MADE, 'colours')
    report = check_data([str(root)], workers=0, report=str(tmp_path / 'look.html'))
    shown = [{label for label, _ in s.objects} for s in MADE if s.split == 'train']
    assert report.overviews[0].classes == {
        'background': len(shown), 'apple': sum(0 in s for s in shown),
        'berry': sum(1 in s for s in shown),
    }  # fmt: skip
    assert (tmp_path / 'look.html').read_text().count('<figure>') == len(MADE)


def test_names_from_files_do_no_harm_in_the_page(tmp_path):
    image_folder(tmp_path / 'pets', classes=2, each=2)
    (tmp_path / 'pets' / 'class_0').rename(tmp_path / 'pets' / '<script>x')
    check_data([str(tmp_path / 'pets')], workers=0, report=str(tmp_path / 'look.html'))
    assert '<script>' not in (tmp_path / 'look.html').read_text()


def test_suggestions_follow_the_data():
    plain = Overview('train', 'x', 300, 'images', {'cat': 290, 'dog': 10}, {(3000, 2500): 300})
    said = ' '.join(suggestions([plain]))
    assert 'num_classes=2' in said and '--val-share 0.2' in said
    small = Overview('train', 'x', 9, 'objects', {'a': 9}, {}, {1: 9}, [10.0] * 9)
    said = ' '.join(suggestions([small, Overview('val', 'y', 2)]))
    assert "classes=('a',)" in said and 'val-share' not in said
    assert suggestions([Overview('test', 'x', 3), Overview('val', 'x', 3)]) == []


def test_histograms_show_shares_of_the_largest():
    assert histogram([8, 4, 0, 1]) == '█▄ ▁'
    assert histogram([0, 0]) == '' == histogram([1] * 61)


def test_a_spread_has_all_groups_and_all_places():
    groups = [{'a'}] * 90 + [{'b'}] * 9 + [{'a', 'c'}]
    chosen = spread(groups, 6)
    assert {kind for place in chosen for kind in groups[place]} == {'a', 'b', 'c'}
    assert len(chosen) == 6 == len(set(chosen))
    alone = spread([()] * 100, 4)
    assert max(b - a for a, b in itertools.pairwise(alone)) < 50
    assert spread([], 3) == [] and spread([{1}], 3) == [0]
