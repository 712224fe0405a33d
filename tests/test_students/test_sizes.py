"""A student says when an image reaches it at another size than its training images had."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
import torch
from mmengine.logging import MMLogger

from g2sd_mm.export import export_student
from g2sd_mm.students import as_timm, load_student

from ..helpers.students import student_folder
from ..helpers.toys import Lines

OLD = [dict(type='LoadImageFromFile'), dict(type='CenterCrop', crop_size=56),
       dict(type='PackInputs')]  # fmt: skip


@pytest.fixture
def said():
    lines, logger = Lines(), MMLogger.get_current_instance()
    lines.setLevel(logging.WARNING)
    logger.addHandler(lines)
    yield lines.lines
    logger.removeHandler(lines)


def photo(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def trained_on(folder, size, **options):
    """A student of the demo, with the size of its training images beside it."""
    path = student_folder(folder, **options) / 'weights.json'
    content = json.loads(path.read_text())
    content['inputs'] = dict(size=size)
    path.write_text(json.dumps(content))
    return load_student(folder)


def test_the_demos_student_takes_images_of_any_size_in_silence(tmp_path, said):
    student = trained_on(tmp_path, [56, 56])
    for size in ((64, 64), (480, 360), (32, 32)):
        student.predict(photo(*size))
    assert said == []
    assert student.image_size == 56


def test_a_pipeline_that_does_not_resize_is_said_once(tmp_path, said):
    student = load_student(student_folder(tmp_path, **{'test_dataloader.dataset.pipeline': OLD}))
    student.predict(photo(64, 64))
    assert said == []
    for _ in range(2):
        student.predict(photo(480, 360))
    (line,) = said
    assert 'does not resize: it sees the central 56x56 px of this image of 360x480 px' in line


def test_an_image_that_stays_smaller_is_said(tmp_path, said):
    student = load_student(student_folder(tmp_path, **{'test_dataloader.dataset.pipeline': OLD}))
    student.predict(photo(32, 32))
    (line,) = said
    assert 'trained on images of 56x56 px and predicts this one at 32x32 px' in line


def test_what_was_trained_on_rectangles_is_exported_for_them(tmp_path):
    student = trained_on(tmp_path, [32, 64])
    assert student.image_size == (32, 64)
    exported = export_student(student, tmp_path / 'student.ts', 'torchscript')
    content = json.loads(exported.sidecar.read_text())
    assert content['input']['shape'] == ['batch', 3, 32, 64]


def test_what_was_trained_at_a_size_is_exported_at_it(tmp_path, said):
    """The network is laid out for 56 px and has seen 32 px."""
    student = trained_on(tmp_path, [32, 32], **{'test_dataloader.dataset.pipeline': OLD})
    assert student.image_size == 32
    exported = export_student(student, tmp_path / 'student.ts', 'torchscript')
    assert exported.size == 32
    content = json.loads(exported.sidecar.read_text())
    assert content['input']['shape'] == ['batch', 3, 32, 32]
    x = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(torch.jit.load(str(exported.path))(x), student(x))
    as_timm(student)
    assert any('trained on images of 32 px' in line for line in said)
