"""Predictions as files: JSON, tables, COCO results, masks, pictures and videos."""

from __future__ import annotations

import csv
import json
import os

import cv2
import numpy as np
import pytest
from PIL import Image as pillow
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from g2sd_mm.errors import RunError, UserError
from g2sd_mm.runs.predict import SAVED, check, predict_into
from g2sd_mm.students import load_student

from ..helpers.students import CLASSES, CONFIGS, student_folder
from ..test_students.test_sources import video

TASKS = list(CONFIGS)


@pytest.fixture(scope='module')
def students(tmp_path_factory):
    root = tmp_path_factory.mktemp('students')
    return {task: load_student(student_folder(root / task, task)) for task in CONFIGS}


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp('photos')
    rng = np.random.default_rng(0)
    for number, size in enumerate([(64, 64), (96, 64), (64, 64)]):
        small = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f'{number}.png'), cv2.resize(small, size))
    return folder


def entries(folder):
    return json.loads((folder / 'predictions.json').read_text())


def rows(folder):
    with (folder / 'predictions.csv').open(newline='', encoding='utf-8') as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize('task', TASKS)
def test_a_folder_is_predicted_as_python_does(students, photos, tmp_path, task):
    student = students[task]
    save = [what for what in SAVED if what != 'coco' or task == 'detection']
    report = predict_into(student, photos, tmp_path, save=save)
    assert (report.images, report.failed) == (3, ())
    for entry, alone in zip(entries(tmp_path), student.predict(photos), strict=True):
        assert all(entry[key] == value for key, value in alone.items())
    assert len(list(tmp_path.glob('*.jpg'))) == 3
    assert {row['image'] for row in rows(tmp_path)} == {str(p) for p in photos.iterdir()}
    assert len(list(tmp_path.glob('*.png'))) == (0 if task == 'classification' else 3)


def test_json_alone(students, photos, tmp_path):
    predict_into(students['segmentation'], photos, tmp_path, save=())
    assert [path.name for path in tmp_path.iterdir()] == ['predictions.json']


def test_a_mask_has_the_class_of_each_pixel(students, photos, tmp_path):
    predict_into(students['segmentation'], photos / '1.png', tmp_path)
    (entry,) = entries(tmp_path)
    with pillow.open(tmp_path / entry['mask_file']) as picture:
        assert (picture.mode, picture.size) == ('P', (96, 64))
        labels, counts = np.unique(np.asarray(picture), return_counts=True)
    shares = dict(zip((CLASSES[label] for label in labels), counts / counts.sum(), strict=True))
    assert shares == pytest.approx(entry['classes'], abs=1e-4)


def test_masks_of_objects_are_numbered_as_in_the_list(students, photos, tmp_path):
    predict_into(students['detection'], photos / '1.png', tmp_path, threshold=0.0)
    (entry,) = entries(tmp_path)
    numbers = cv2.imread(str(tmp_path / entry['masks_file']), cv2.IMREAD_UNCHANGED)
    assert (numbers.dtype, numbers.shape) == (np.uint16, (64, 96))
    masks = [coco_mask.decode(one['mask']) > 0 for one in entry['instances']]
    scores = np.array([one['score'] for one in entry['instances']])
    assert np.array_equal(numbers > 0, np.any(masks, axis=0))
    for number in np.unique(numbers[numbers > 0]):
        assert masks[number - 1][numbers == number].all()
        for other in np.flatnonzero(scores > scores[number - 1] + 1e-4):
            assert not masks[other][numbers == number].any()


def test_rows_of_a_table(students, photos, tmp_path):
    predict_into(students['classification'], photos, tmp_path / 'cls', save=['csv'])
    (first, *_) = entries(tmp_path / 'cls')
    table = [row for row in rows(tmp_path / 'cls') if row['image'] == first['image']]
    assert {row['class']: float(row['score']) for row in table} == first['scores']
    predict_into(students['detection'], photos, tmp_path / 'det', save=['csv'], threshold=0.0)
    (first, *_) = entries(tmp_path / 'det')
    (row, *_) = rows(tmp_path / 'det')
    box = [float(row[edge]) for edge in ('left', 'top', 'right', 'bottom')]
    assert (row['class'], box) == (first['instances'][0]['class'], first['instances'][0]['box'])
    predict_into(students['detection'], photos, tmp_path / 'none', save=['csv'], threshold=1)
    assert [row['class'] for row in rows(tmp_path / 'none')] == [''] * 3


def test_coco_results_are_read_by_coco(students, photos, tmp_path, capsys):
    student = students['detection']
    predict_into(student, photos, tmp_path, save=['coco'], threshold=0.0)
    truth = COCO(str(tmp_path / 'coco_images.json'))
    found = truth.loadRes(str(tmp_path / 'coco_results.json'))
    assert [c['name'] for c in truth.loadCats(truth.getCatIds())] == list(student.classes)
    for image, entry in zip(truth.dataset['images'], entries(tmp_path), strict=True):
        assert image['file_name'] == entry['image']
        results = found.loadAnns(found.getAnnIds(imgIds=image['id']))
        assert len(results) == len(entry['instances'])
        for result, one in zip(results, entry['instances'], strict=True):
            left, top, right, bottom = one['box']
            assert result['bbox'] == pytest.approx([left, top, right - left, bottom - top])
            assert truth.cats[result['category_id']]['name'] == one['class']


def test_a_broken_picture_is_reported_and_the_others_are_there(students, photos, tmp_path):
    broken = tmp_path / 'broken.jpg'
    broken.write_bytes(b'no picture')
    out = tmp_path / 'out'
    report = predict_into(students['classification'], [photos, broken], out, save=['csv', 'drawn'])
    assert report.images == 3
    with pytest.raises(RunError, match=r'1 of 4 pictures .*broken\.jpg'):
        check(report, out)
    assert 'broken.jpg' in entries(out)[3]['error'] and 'broken.jpg' in rows(out)[-1]['error']
    assert len(list(out.glob('*.jpg'))) == 3
    with pytest.raises(UserError, match='no picture could be predicted'):
        predict_into(students['classification'], broken, out)


def test_what_was_drawn_before_is_not_predicted(students, photos, tmp_path):
    (tmp_path / 'a.png').write_bytes((photos / '0.png').read_bytes())
    for _ in range(2):
        report = predict_into(students['classification'], tmp_path, tmp_path / 'out')
        assert report.images == 1


def test_files_of_an_earlier_prediction_are_named(students, photos, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr('g2sd_mm.runs.predict.print_log', lambda text, **_: said.append(text))
    (tmp_path / '0009_mine').mkdir()
    predict_into(students['depth'], photos, tmp_path, save=['csv', 'masks'])
    predict_into(students['depth'], photos, tmp_path, save=['csv', 'masks'])
    assert not said
    predict_into(students['depth'], photos / '0.png', tmp_path, save=['masks'])
    assert len(said) == 1 and '0001_1_depth.npy' in said[0] and '0000_0' not in said[0]
    predict_into(students['depth'], photos, tmp_path, save=['masks'])
    assert said[1].endswith(': predictions.csv')


def test_a_video_becomes_a_video(students, tmp_path):
    path = video(tmp_path / 'red.mp4', frames=10, rate=6)
    out = tmp_path / 'out'
    predict_into(students['segmentation'], path, out, every=2)
    told = entries(out)
    assert [entry['frame'] for entry in told] == [0, 2, 4, 6, 8]
    assert all((out / entry['mask_file']).is_file() for entry in told)
    drawn = cv2.VideoCapture(str(out / '0000_red.mp4'))
    assert drawn.get(cv2.CAP_PROP_FRAME_COUNT) == 5
    assert drawn.get(cv2.CAP_PROP_FPS) == pytest.approx(3)
    assert not list(out.glob('*.jpg'))


def test_a_video_that_is_given_twice_is_drawn_twice(students, tmp_path):
    path, out = video(tmp_path / 'red.mp4', frames=3), tmp_path / 'out'
    predict_into(students['classification'], [path, path], out, save=['drawn'])
    for name in ('0000_red.mp4', '0003_red.mp4'):
        assert cv2.VideoCapture(str(out / name)).get(cv2.CAP_PROP_FRAME_COUNT) == 3


@pytest.mark.parametrize('name', ['taken', 'taken/below'])
def test_a_file_in_the_place_of_the_folder_is_told(students, photos, tmp_path, name):
    (tmp_path / 'taken').write_text('mine')
    with pytest.raises(UserError, match='taken'):
        predict_into(students['classification'], photos, tmp_path / name)
    assert (tmp_path / 'taken').read_text() == 'mine'


def test_names_that_are_no_utf8(students, photos, tmp_path):
    folder = tmp_path / 'in'
    folder.mkdir()
    picture, film = (folder / os.fsdecode(name) for name in (b'a\xe9.png', b'b\xe9.mp4'))
    picture.write_bytes((photos / '0.png').read_bytes())
    video(tmp_path / 'film.mp4', frames=2).rename(film)
    out = tmp_path / 'out'
    report = predict_into(students['depth'], folder, out, save=['csv', 'masks', 'drawn'])
    assert (report.images, report.failed) == (3, ())
    assert [entry['image'] for entry in entries(out)] == [str(picture), str(film), str(film)]
    assert rows(out)[0]['image'].endswith('a\\udce9.png')
    assert {path.suffix for path in out.iterdir()} >= {'.jpg', '.mp4', '.png', '.npy'}


@pytest.mark.parametrize(
    'options',
    [
        dict(save=['xml']), dict(tile=32), dict(save=['coco']),
        dict(threshold=30), dict(threshold=float('nan')), dict(batch_size=0),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_before_the_work(students, photos, tmp_path, options):
    with pytest.raises(UserError):
        predict_into(students['classification'], photos, tmp_path / 'out', **options)
    assert not (tmp_path / 'out').exists()
