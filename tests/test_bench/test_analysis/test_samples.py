"""Which images the networks are shown, and how."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from g2sd_mm.bench.analysis.corruption import corrupted
from g2sd_mm.bench.analysis.network import normalised
from g2sd_mm.bench.analysis.samples import evenly, labelled_samples, square_samples, squares
from g2sd_mm.errors import UserError

from ...helpers import toys
from .networks import student


def test_samples_are_evenly_spaced():
    assert evenly(10, 5) == [0, 2, 4, 6, 8]
    assert evenly(10, 3) == [0, 3, 6]
    assert evenly(3, 10) == [0, 1, 2]


def config(folder, **options):
    cfg = toys.config('shapes/vits_deploy.py', **options)
    cfg.test_dataloader.dataset.data_root = str(folder)
    return cfg


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Images of 64 px in two classes: red left half, blue right half."""
    root = tmp_path_factory.mktemp('images')
    for label in range(2):
        (root / f'class_{label}').mkdir()
        for number in range(3):
            pixels = np.zeros((64, 64, 3), np.uint8)
            pixels[:, :32, 0], pixels[:, 32:, 2] = 200, 50 * label + number
            Image.fromarray(pixels).save(root / f'class_{label}' / f'{number}.png')
    return root


def test_labelled_samples_come_through_the_test_pipeline_in_rgb(folder):
    samples = labelled_samples(config(folder), 4)
    assert samples.images.shape == (4, 3, 56, 56) and samples.images.dtype == torch.uint8
    assert samples.labels.tolist() == [0, 0, 1, 1]
    assert (samples.images[0, 0, :, :28] == 200).all() and (samples.images[0, 2, :, :28] == 0).all()
    assert [int(image[2, 0, 40]) for image in samples.images] == [0, 1, 50, 51]


def test_what_a_network_is_given_is_what_its_own_preprocessor_gives(folder, tmp_path):
    """So that accuracies here are those of ``tools/test.py``."""
    network, cfg = student(tmp_path), config(folder)
    samples = labelled_samples(cfg, 2)
    bgr = [image.flip(0) for image in samples.images]
    expected = network.model.data_preprocessor(dict(inputs=torch.stack(bgr)))['inputs']
    torch.testing.assert_close(normalised(network, samples.images), expected)


def test_images_of_several_sizes_are_refused(tmp_path):
    toys.image_folder(tmp_path, classes=2, each=2)
    cfg = config(tmp_path)
    cfg.test_dataloader.dataset.pipeline = [
        dict(type='LoadImageFromFile'), dict(type='PackInputs')
    ]  # fmt: skip
    with pytest.raises(UserError, match='images of 2 sizes: analyses need one'):
        labelled_samples(cfg, 10)


def test_squares_are_the_middle():
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40, 1] = 90
    (image,) = squares([wide], 10)
    assert image.shape == (3, 10, 10)
    assert (image[1] == 90).all()


def test_square_samples_of_any_config(folder):
    samples = square_samples(config(folder), 3, 32)
    assert samples.images.shape == (3, 3, 32, 32) and samples.labels is None
    assert (samples.images[0, 0, :, :15] == 200).all()  # RGB
    training = toys.config('shapes/g2sd_vits_generic.py')
    training.train_dataloader.dataset.dataset.data_root = str(folder)
    assert len(square_samples(training, 2, 32).images) == 2


@pytest.mark.parametrize(('channels', 'read'), [(1, 'grayscale'), (4, 'unchanged')])
def test_other_channels_are_those_of_the_files(tmp_path, channels, read):
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, channels), np.uint8)
    (tmp_path / 'images' / 'a').mkdir(parents=True)
    for i, pixels in enumerate(images):
        cv2.imwrite(str(tmp_path / 'images' / 'a' / f'{i}.png'), pixels)
    options = {
        'model.backbone.in_channels': channels,
        'model.data_preprocessor.mean': [100.0] * channels,
        'model.data_preprocessor.std': [50.0] * channels,
        'model.data_preprocessor.bgr_to_rgb': False,
    }
    network = student(tmp_path / 'student', 'segmentation', **options)
    cfg = config(tmp_path / 'images', **{'test_dataloader.dataset.pipeline.0.color_type': read})
    cfg.model.backbone.in_channels = channels
    samples = square_samples(cfg, 3, 64, network.channels)
    assert torch.equal(samples.images, torch.from_numpy(images).permute(0, 3, 1, 2))
    x = normalised(network, samples.images)
    torch.testing.assert_close(x, (samples.images - 100.0) / 50)
    assert network(x).shape == (3, 11, 64, 64)
    with pytest.raises(UserError, match='RGB'):
        corrupted(samples.images, 'fog', 1)
