"""Images of other channels than RGB, predicted, shown and exported."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
import torch

from g2sd_mm.errors import UserError
from g2sd_mm.export import export_student
from g2sd_mm.students import Student, as_timm, load_student
from g2sd_mm.students.student import shown

from ..helpers.students import student_folder
from ..helpers.toys import refused

CHANNELS = 4


@pytest.fixture(scope='module')
def student(tmp_path_factory) -> Student:
    """For images of 32 x 64 pixels and four channels."""
    load = dict(
        type='LoadImageFromFile', color_type='unchanged', imdecode_backend='tifffile'
    )
    folder = student_folder(tmp_path_factory.mktemp('student'), **{
        'model.backbone.img_size': (32, 64),
        'model.backbone.in_channels': CHANNELS,
        'data_preprocessor.mean': [10.0] * CHANNELS,
        'data_preprocessor.std': [20.0] * CHANNELS,
        'data_preprocessor.to_rgb': False,
        'test_dataloader.dataset.pipeline': [
            load, dict(type='Resize', scale=(64, 32)), dict(type='PackInputs')
        ],
    })  # fmt: skip
    return load_student(folder)


def pixels(channels: int = CHANNELS) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (40, 80, channels), np.uint8)


def write(path, image: np.ndarray) -> str:
    planes = 'contig' if image.shape[2] > 1 else None
    tifffile.imwrite(path, image.squeeze(2) if planes is None else image,
                     photometric='minisblack', planarconfig=planes)
    return str(path)


def test_a_file_and_its_pixels_are_predicted_alike(student, tmp_path):
    path = write(tmp_path / 'x.tif', pixels())
    assert (student.image_size, student.in_channels) == ((32, 64), CHANNELS)
    from_file, from_pixels = student.sample(path), student.sample(pixels())
    assert torch.equal(from_file.pred_score, from_pixels.pred_score)
    # in the order of the file: no channel is taken for red
    assert not torch.equal(
        student.sample(pixels()[..., [2, 1, 0, 3]].copy()).pred_score, from_file.pred_score
    )


@pytest.mark.parametrize('channels', [1, 3, 5])
def test_images_of_other_channels_are_refused(student, channels, tmp_path):
    path = write(tmp_path / 'x.tif', pixels(channels))
    with refused('images of 4 channels', path):
        student.predict(path)
    with refused('images of 4 channels', 'this array'):
        student.predict(pixels(channels))


def test_what_is_no_image_of_that_kind_is_told(student, tmp_path):
    file = tmp_path / 'x.tif'
    file.write_bytes(b'no image')
    with pytest.raises(UserError, match=r'x\.tif'):
        student.predict(file)


def test_a_picture_shows_the_first_three_channels_or_one(student, tmp_path):
    path = write(tmp_path / 'x.tif', pixels())
    assert np.array_equal(student.picture(path), pixels()[..., :3])
    grey = shown(pixels()[..., 0])
    assert all(np.array_equal(grey[..., i], pixels()[..., 0]) for i in range(3))
    wide = shown(pixels().astype(np.uint16) * 200)
    assert (wide.dtype, wide.min(), wide.max()) == (np.uint8, 0, 255)
    assert shown(np.zeros((2, 2, 2), np.float32)).max() == 0


def test_an_exported_file_takes_those_images(student, tmp_path):
    done = export_student(student, tmp_path / 'x.ts', to='torchscript')
    network = torch.jit.load(done.path)
    images = torch.randn(3, CHANNELS, 32, 64)
    assert torch.allclose(network(images), student(images), atol=1e-4)


def test_timm_takes_those_images(student):
    images = torch.randn(2, CHANNELS, 32, 64)
    model = as_timm(student)
    assert model.pretrained_cfg['input_size'] == (CHANNELS, 32, 64)
    with torch.no_grad():
        logits = model(images)
    assert torch.allclose(logits.softmax(-1), student(images).softmax(-1), atol=1e-4)
