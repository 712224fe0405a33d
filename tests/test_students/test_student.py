"""Predictions from Python are those of the commands, from files and from pixels."""

from __future__ import annotations

import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import g2sd_mm
from g2sd_mm.errors import UserError
from g2sd_mm.students import load_student

from ..helpers.students import CLASSES, CONFIGS, student_folder
from ..helpers.toys import ROOT, config, words


@pytest.fixture(scope='module')
def students(tmp_path_factory):
    root = tmp_path_factory.mktemp('students')
    return {task: load_student(student_folder(root / task, task)) for task in CONFIGS}


@pytest.fixture(scope='module')
def photo(tmp_path_factory):
    pixels = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    path = tmp_path_factory.mktemp('photos') / 'photo.png'
    cv2.imwrite(str(path), pixels[..., ::-1])
    return path, pixels


def test_a_classifier_predicts_probabilities_by_name(students, photo):
    scores = students['classification'].predict(photo[0])['scores']
    assert len(scores) == 5
    assert set(scores) <= set(CLASSES)
    assert list(scores.values()) == sorted(scores.values(), reverse=True)


def test_a_detector_predicts_boxes(students, photo):
    student = students['detection']
    every = student.predict(photo[0], threshold=0.0)['instances']
    assert len(every) == len(student.sample(photo[0]).pred_instances) > 0
    assert set(every[0]) == {'class', 'score', 'box', 'mask'}
    level = sorted(found['score'] for found in every)[len(every) // 2]
    some = student.predict(photo[0], threshold=level)['instances']
    assert 0 < len(some) < len(every)
    assert all(found['score'] >= level for found in some)


def test_a_segmentor_predicts_shares_of_the_pixels(students, photo):
    shares = students['segmentation'].predict(photo[0])['classes']
    assert set(shares) <= set(CLASSES)
    assert sum(shares.values()) == pytest.approx(1, abs=1e-3)
    assert students['segmentation'].sample(photo[0]).pred_sem_seg.data.shape == (1, 128, 128)


@pytest.mark.parametrize('task', CONFIGS)
def test_pixels_and_the_file_predict_the_same(students, photo, task):
    path, pixels = photo
    assert students[task].predict(pixels, 0.0) == students[task].predict(path, 0.0)
    assert students[task].predict(pixels[..., ::-1], 0.0) != students[task].predict(path, 0.0)


def test_images_are_prepared_as_the_config_tests_them(students, photo):
    """The short side becomes 64 px, of which a crop of 56 px is taken; normalised, RGB."""
    path, pixels = photo
    pixels = np.asarray(Image.fromarray(pixels).resize((64, 64), Image.Resampling.BICUBIC))
    student = students['classification']
    crop = torch.tensor(pixels[4:60, 4:60].copy()).permute(2, 0, 1).unsqueeze(0).float()
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (student.mean, student.std))
    with torch.no_grad():
        expected = student((crop - mean) / std).softmax(1)[0]
    torch.testing.assert_close(student.sample(path).pred_score, expected)


def test_a_pipeline_that_reads_floats_is_given_floats(tmp_path, photo, monkeypatch):
    pipeline = config(CONFIGS['classification']).test_dataloader.dataset.pipeline
    pipeline[0].to_float32 = True
    pipeline[1].backend = 'cv2'  # Pillow takes no floats
    folder = student_folder(tmp_path, **{'test_dataloader.dataset.pipeline': pipeline})
    student = load_student(folder)
    fed = []
    monkeypatch.setattr(student.model, 'test_step', lambda data: fed.append(data) or [None])
    student.sample(photo[1])
    assert fed[0]['inputs'][0].dtype == torch.float32


def test_the_function_takes_a_student_or_its_folder(students, tmp_path, photo):
    folder = student_folder(tmp_path)
    expected = students['classification'].predict(photo[0])
    assert g2sd_mm.predict(students['classification'], photo[0]) == expected
    assert g2sd_mm.predict(folder, photo[0]) == expected


@pytest.mark.parametrize(
    'pixels',
    [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 4), np.uint8), np.zeros((8, 8, 3), np.float32)],
)
def test_other_arrays_are_refused(students, pixels):
    message = words('uint8 pixels [height, width, 3]', f'got {pixels.dtype} {list(pixels.shape)}')
    with pytest.raises(UserError, match=message):
        students['classification'].predict(pixels)


def test_bad_files_are_named(students, tmp_path):
    with pytest.raises(UserError, match=r'no image file .*nowhere\.jpg'):
        students['classification'].predict(tmp_path / 'nowhere.jpg')
    (tmp_path / 'broken.jpg').write_bytes(b'not a picture')
    with pytest.raises(UserError, match=r'broken\.jpg is not an image'):
        students['classification'].predict(tmp_path / 'broken.jpg')


def test_a_student_is_a_module_like_any_other(students):
    student = students['classification']
    assert isinstance(student, nn.Module)
    parameters = list(student.parameters())
    assert len(parameters) == len({id(p) for p in parameters}) == len(
        list(student.model.parameters())
    )


def test_images_follow_a_student_to_its_device(tmp_path):
    student = load_student(student_folder(tmp_path)).to('meta')
    assert student.model.data_preprocessor.device.type == 'meta'


def test_a_student_without_a_test_pipeline_says_so(tmp_path, photo):
    folder = student_folder(tmp_path, **{'test_dataloader.dataset.pipeline': []})
    with pytest.raises(UserError, match='has no test pipeline to prepare images with'):
        load_student(folder).predict(photo[0])


def test_importing_the_package_is_light():
    code = (
        'import sys, g2sd_mm; g2sd_mm.load_student, g2sd_mm.as_timm, g2sd_mm.predict;'
        "print({'torch', 'mmengine', 'mmcv', 'timm', 'numpy', 'cv2'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == 'set()'
