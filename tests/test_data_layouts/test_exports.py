"""Folders as tools export them: read by everybody alike, with the labels that were written."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from g2sd_mm.bench.own_student.plan import Wishes, look_at
from g2sd_mm.bench.suites.data import find_data
from g2sd_mm.cli.check_data import check_data
from g2sd_mm.data_layouts import Choices, Layout, find_layout, find_trainable
from g2sd_mm.data_layouts.coco_file import read_annotations
from g2sd_mm.data_layouts.coco_mended import categories_of
from g2sd_mm.errors import DataError
from g2sd_mm.image_files import files_below, is_image

from ..helpers import exports
from ..helpers.exports import CLASSES, Scene, scenes
from ..helpers.toys import image_folder, words

OBJECTS: dict[str, Callable] = {
    'roboflow_coco': exports.roboflow_coco,
    'cvat_coco': exports.cvat_coco,
    'yolo_roboflow': exports.yolo,
    'yolo_ultralytics': lambda root, made: exports.yolo(root, made, 'ultralytics', polygon=True),
    'yolo_cvat': lambda root, made: exports.yolo(root, made, 'cvat'),
    'voc_devkit': exports.voc,
    'voc_roboflow': lambda root, made: exports.voc(root, made, 'roboflow'),
}
MASKS = ('masks', 'roboflow', 'cityscapes', 'palette', 'colours', 'plain_colours')
HELD_OUT = Choices(val_share=0.25)

Found = dict[tuple[str, str], list]


def written(made: list[Scene]) -> Found:
    """(split, image) -> class names and boxes."""
    return {
        (s.split, s.name): sorted((CLASSES[label], *map(float, box)) for label, box in s.objects)
        for s in made
    }


def objects_of(layout: Layout) -> Found:
    found: Found = {}
    for split in layout.splits:
        content = read_annotations(split.labels).content
        names = categories_of(content)
        keys = {}
        for image in content['images']:
            path = split.images / image['file_name']
            assert path.is_file()
            with Image.open(path) as picture:
                assert picture.size == (image['width'], image['height'])
            keys[image['id']] = split.name, path.stem
            found[keys[image['id']]] = []
        for a in content['annotations']:
            box = [round(float(v), 4) for v in a['bbox']]
            found[keys[a['image_id']]].append((names[a['category_id']], *box))
    return {key: sorted(entries) for key, entries in found.items()}


def masks_of(layout: Layout) -> dict:
    found = {}
    for split in layout.splits:
        images = {p.stem for p in files_below(split.images)}
        assert images == {p.stem for p in files_below(split.labels)}
        for path in files_below(split.labels):
            found[split.name, path.stem.removesuffix('_leftImg8bit')] = np.asarray(Image.open(path))
    return found


@pytest.mark.parametrize('kind', OBJECTS)
def test_objects_are_those_that_were_written(tmp_path, kind):
    made = scenes()
    root = OBJECTS[kind](tmp_path / 'fruit', made)
    layout = find_layout(root)
    assert layout.task == 'det'
    assert objects_of(layout) == written(made)
    everybody_reads(root, 'det')


@pytest.mark.parametrize('kind', [*OBJECTS, *MASKS, 'labels.csv', 'class_names'])
def test_a_folder_may_be_named_from_where_one_stands(tmp_path, monkeypatch, kind):
    root = tmp_path / 'fruit'
    if kind == 'labels.csv':
        exports.class_list(root, {f'p{i}': 'cat' if i % 2 else 'dog' for i in range(4)})
    elif kind == 'class_names':
        for name in ('train', 'val'):
            image_folder(root / name, classes=2, each=2)
            for i in range(2):
                (root / name / f'class_{i}').rename(root / name / str(i))
        (root / 'classes.txt').write_bytes(b'cat\r\ndog\r\n')
    elif kind in MASKS:
        exports.masks(root, scenes(), kind)
    else:
        OBJECTS[kind](root, scenes())
    monkeypatch.chdir(tmp_path)
    layout = find_layout('fruit')
    links = [path for path in root.rglob('*') if path.is_symlink()]
    assert all(path.exists() and not path.readlink().is_absolute() for path in links)
    assert layout.copy is None or layout.copy.resolve() == find_layout(root).copy.resolve()


def test_one_file_of_a_relative_folder_is_held_out_from(tmp_path, monkeypatch):
    root = OBJECTS['cvat_coco'](tmp_path / 'fruit', scenes())
    monkeypatch.chdir(tmp_path)
    for split in ('val', 'valid', 'test'):
        for file in root.rglob(f'*{split}*.json'):
            file.unlink()
    copies = {find_trainable(place, HELD_OUT).copy.resolve() for place in ('fruit', root)}
    assert len(copies) == 1


@pytest.mark.parametrize('kind', MASKS)
def test_masks_are_those_that_were_written(tmp_path, kind):
    made = scenes()
    root = exports.masks(tmp_path / 'fruit', made, kind)
    layout = find_layout(root)
    assert layout.task == 'seg'
    found = masks_of(layout)
    expected = {(s.split, s.name): s.mask() for s in made}
    if kind == 'plain_colours':  # nobody says which colour comes first: they are sorted
        expected = {key: np.array([0, 2, 1], np.uint8)[mask] for key, mask in expected.items()}
        assert layout.classes == ('#000000', '#0000c8', '#c80000')
        assert any('#c80000 -> 2' in note for note in layout.notes)
    elif kind in ('roboflow', 'colours'):
        assert layout.classes == tuple(exports.PALETTE.values())
    assert found.keys() == expected.keys()
    assert all((found[key] == expected[key]).all() for key in expected)
    everybody_reads(root, 'seg')


def everybody_reads(root: Path, task: str, choices: Choices | None = None) -> None:
    """The checker, the suites, distill, and a config."""
    report = check_data([str(root)], workers=0, choices=choices)
    assert [f for f in report.findings if f.harmful] == []
    data = find_data([str(root)], choices)
    assert data.tasks == [task]
    wishes = Wishes(str(root), choices=choices or Choices())
    assert look_at(wishes).fingerprints == data.fingerprints
    # what learns without labels sees the training images, and no others
    trained = next(o for o in report.overviews if o.split.startswith('train'))
    without_labels = [p for p in files_below(data.sources[0].train) if is_image(p.name)]
    assert trained.images == len(without_labels)


box = st.tuples(st.integers(0, 30), st.integers(0, 20), st.integers(2, 12), st.integers(2, 12))
thing = st.tuples(st.integers(0, 1), box)
scene_lists = st.lists(
    st.tuples(st.integers(46, 90), st.integers(36, 80), st.lists(thing, max_size=4)),
    min_size=2, max_size=4,
)  # fmt: skip


@pytest.mark.parametrize('kind', OBJECTS)
@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(drawn=scene_lists, apple=box, berry=box)
def test_any_objects_are_read_as_they_were_written(tmp_path, kind, drawn, apple, berry):
    first = Scene('first', 'train', (60, 50), ((0, apple), (1, berry)))
    last = Scene('last', 'val', (60, 50), ((0, berry),))
    made = [first, last, *(
        Scene(f'i{i}', ('train', 'val')[i % 2], (w, h), tuple(things))
        for i, (w, h, things) in enumerate(drawn)
    )]  # fmt: skip
    shutil.rmtree(tmp_path / 'fruit', ignore_errors=True)
    root = OBJECTS[kind](tmp_path / 'fruit', sorted(made, key=lambda s: s.split))
    found = objects_of(find_layout(root))
    expected = written(made)
    assert found.keys() == expected.keys()
    for key, entries in expected.items():
        assert [e[0] for e in found[key]] == [e[0] for e in entries]
        assert np.allclose(
            [e[1:] for e in found[key]], [e[1:] for e in entries], atol=1e-3
        ) or not entries


def test_one_file_without_splits_is_held_out_from(tmp_path):
    made = scenes({'all': 8})
    root = exports.label_studio_coco(tmp_path / 'fruit', made)
    assert len(find_layout(root).splits) == 1
    with pytest.raises(DataError, match=words(str(root), '--val-share 0.2')):
        find_trainable(root)
    _, val = find_trainable(root, HELD_OUT).splits
    found = objects_of(find_trainable(root, HELD_OUT))
    assert {name: entries for (_, name), entries in found.items()} == {
        name: entries for (_, name), entries in written(made).items()
    }
    held = json.loads((val.labels.parent / 'copy.json').read_text())
    assert len(held['held out']) == len([key for key in found if key[0] == 'val']) >= 2
    everybody_reads(root, 'det', HELD_OUT)
    other = find_trainable(root, Choices(val_share=0.25, split_seed=1))
    assert other.splits[1].labels != val.labels


def test_ids_of_texts_are_numbered_alike_for_data_and_metric(tmp_path):
    from g2sd_mm.data_layouts.coco_file import read_for_metric

    made = scenes()
    root = exports.cvat_coco(tmp_path / 'fruit', made)
    for file in (root / 'annotations').iterdir():
        content = exports.string_ids(json.loads(file.read_text('utf-8-sig')))
        file.write_text(json.dumps(content))
    layout = find_layout(root)
    assert objects_of(layout) == written(made)
    file = layout.splits[0].labels
    content = read_annotations(file).content
    assert content == read_for_metric(file)
    assert {type(a[key]) for a in content['annotations'] for key in ('id', 'image_id')} == {int}
    everybody_reads(root, 'det')


def test_an_annotation_of_id_0_counts(tmp_path):
    """pycocotools takes 0 for no match: what is found right would count as wrong."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    from g2sd_mm.compat.coco_files import indexed

    root = exports.label_studio_coco(tmp_path / 'fruit', scenes({'all': 2}))
    content = read_annotations(root / 'result.json').content
    truth = indexed(COCO(), content, 'annotations.json')
    found = truth.loadRes([
        {**a, 'score': 0.9} for a in content['annotations']
    ])  # fmt: skip
    evaluation = COCOeval(truth, found, 'bbox')
    evaluation.evaluate()
    evaluation.accumulate()
    assert evaluation.eval['precision'][:, :, :, 0, -1].min() > 0.999


def test_a_copy_is_made_once_and_found_again(tmp_path, monkeypatch):
    root = exports.yolo(tmp_path / 'fruit', scenes())
    first = find_layout(root)
    before = first.copy.stat().st_mtime_ns, os.listdir(root / '.g2sd')
    assert find_layout(root).copy == first.copy
    assert (first.copy.stat().st_mtime_ns, os.listdir(root / '.g2sd')) == before
    marks = find_data([str(root)]).fingerprints
    shutil.move(root, tmp_path / 'moved')
    again = find_layout(tmp_path / 'moved')
    assert again.copy.name == first.copy.name and objects_of(again)
    assert find_data([str(tmp_path / 'moved')]).fingerprints == marks
    label = next((tmp_path / 'moved/train/labels').iterdir())
    label.write_text('1 0.5 0.5 0.1 0.1\n')
    assert find_layout(tmp_path / 'moved').copy.name != first.copy.name


def test_a_folder_that_cannot_be_written_to_has_its_copy_in_the_cache(tmp_path, monkeypatch):
    from g2sd_mm.data_layouts import copies

    root = exports.masks(tmp_path / 'fruit', scenes(), 'masks')
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    refuse = copies._unwritable
    monkeypatch.setattr(
        copies, '_unwritable', lambda f: 'read-only' if f.is_relative_to(root) else refuse(f)
    )
    layout = find_layout(root)
    assert layout.copy.is_relative_to(tmp_path / 'cache') and not (root / '.g2sd').exists()
    assert masks_of(layout) and masks_of(find_layout(root))
    everybody_reads(root, 'seg')


def test_paths_in_findings_are_those_of_the_data(tmp_path):
    root = exports.masks(tmp_path / 'fruit', scenes(), 'masks')
    bad = root / 'images/train/t_0.png'
    bad.write_bytes(bad.read_bytes()[:60])
    findings = check_data([str(root)], workers=0).findings
    assert str(bad) in [f.path for f in findings if f.harmful]
