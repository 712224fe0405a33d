"""Pictures of every kind become the pixels that a decoder gives of them as a file."""

from __future__ import annotations

from io import BytesIO

import cv2
import numpy as np
import pytest
import torch
from PIL import Image as pillow

from g2sd_mm.errors import UserError
from g2sd_mm.students.images import as_bytes, rgb_pixels

from ..helpers.odd_images import pixels, rotated

PHOTO = pixels()  # 40 x 60
GREY = PHOTO[..., 0]


def same(image, expected, most: int = 0) -> None:
    found = rgb_pixels(image)
    assert (found.dtype, found.shape) == (np.uint8, expected.shape)
    assert np.abs(found.astype(int) - expected).max() <= most


def test_files_and_their_bytes_are_alike(tmp_path):
    content = rotated(orientation=6)
    (tmp_path / 'x.jpg').write_bytes(content)
    from_file = rgb_pixels(tmp_path / 'x.jpg')
    assert from_file.shape == (60, 40, 3)  # turned
    same(content, from_file)
    same(pillow.open(BytesIO(content)), from_file, most=3)  # decoders round differently


@pytest.mark.parametrize('mode', ['RGB', 'RGBA', 'RGBX', 'RGBa', 'P', 'YCbCr', 'HSV', 'CMYK'])
def test_colours_of_pillow_survive(mode):
    image = pillow.fromarray(PHOTO)
    image = image.convert('RGBA').convert(mode) if mode == 'RGBa' else image.convert(mode)
    found = rgb_pixels(image).astype(int)
    assert np.abs(found - PHOTO).mean() < (20 if mode == 'P' else 3)


@pytest.mark.parametrize('mode', ['L', 'LA', 'La', 'PA', '1', 'I', 'F', 'I;16', 'I;16B', 'LAB'])
def test_all_other_modes_are_taken(mode):
    if mode == 'LAB':
        grey = np.stack([GREY, np.full_like(GREY, 128), np.full_like(GREY, 128)], -1)
        image = pillow.merge('LAB', [pillow.fromarray(grey[..., i].copy()) for i in range(3)])
    elif mode.startswith('I;16'):
        order = '>u2' if mode.endswith('B') else '<u2'
        data = (GREY.astype(np.uint16) * 257).astype(order).tobytes()
        image = pillow.frombytes(mode, GREY.shape[::-1], data)
    else:
        image = pillow.fromarray(GREY)
        image = image.convert('LA').convert(mode) if mode == 'La' else image.convert(mode)
    found = rgb_pixels(image).astype(int)
    assert found.shape == PHOTO.shape
    expected = np.repeat(np.asarray(pillow.fromarray(GREY).convert('1'))[..., None], 3, 2) * 255
    if mode != '1':
        expected = np.repeat(GREY[..., None], 3, 2)
    # LAB is a lightness, and not sRGB's grey
    assert np.abs(found - expected).mean() < (40 if mode == 'LAB' else 1)


def test_sixteen_bits_are_what_the_decoder_makes_of_them(tmp_path):
    deep = np.arange(2400, dtype=np.uint16).reshape(40, 60) * 20
    cv2.imwrite(str(tmp_path / 'deep.png'), deep)
    expected = rgb_pixels(tmp_path / 'deep.png')
    same(deep, expected)
    same(pillow.open(tmp_path / 'deep.png'), expected)
    same(deep.astype(np.int64), expected)


@pytest.mark.parametrize('channels', [None, 1, 2, 3, 4])
def test_arrays_of_any_number_of_channels(channels):
    image = GREY if channels is None else np.dstack([PHOTO, GREY, GREY])[..., :channels]
    same(image, PHOTO if channels in (3, 4) else GREY[..., None].repeat(3, 2))


TYPES = (np.uint8, np.int16, np.int32, np.int64, np.uint32, np.float16, np.float32, np.float64)


@pytest.mark.parametrize('kind', TYPES)
def test_values_of_0_to_255_stay_in_any_type(kind):
    same(PHOTO.astype(kind), PHOTO)
    if kind is not np.uint32:
        same(torch.from_numpy(PHOTO.astype(kind)).permute(2, 0, 1), PHOTO)


def test_values_of_0_to_1_are_stretched():
    same((PHOTO / 255).astype(np.float32), PHOTO)
    same(torch.from_numpy(PHOTO / 255).permute(2, 0, 1), PHOTO)
    same((torch.from_numpy(PHOTO) / 255).bfloat16().permute(2, 0, 1), PHOTO, most=1)
    same(GREY > 100, ((GREY > 100) * 255)[..., None].repeat(3, 2))


def test_values_a_little_beyond_1_are_not_taken_for_0_to_255():
    white = PHOTO.copy()
    white[0, 0] = 255
    same((white / 255 + 1e-6).astype(np.float32), white)
    for most in (1.01, 1.9):
        with pytest.raises(UserError, match=f'{most}'):
            as_bytes(white / 255 * most)
    same(white / 255 * 2, np.rint(white / 255 * 2))


def test_the_order_of_axes_is_told_by_their_lengths():
    same(np.moveaxis(PHOTO, 2, 0), PHOTO)
    same(torch.from_numpy(PHOTO), PHOTO)
    small = np.random.default_rng(0).integers(0, 255, (3, 4, 3), np.uint8)
    same(small, small)  # an array has channels last
    same(torch.from_numpy(small), np.moveaxis(small, 0, 2))  # a tensor has them first


@pytest.mark.parametrize(
    'image',
    [
        np.zeros((8, 8, 5), np.uint8),
        np.zeros((2, 8, 8, 3), np.uint8),
        np.zeros((0, 8, 3), np.uint8),
        np.zeros(8, np.uint8),
        np.full((8, 8, 3), -1.0),
        np.full((8, 8, 3), 300.0),
        np.full((8, 8, 3), 70000),
        np.full((8, 8, 3), np.nan),
        np.full((8, 8), 'x'),
        np.zeros((8, 8, 3), complex),
        b'no picture',
        b'',
        rotated()[:200],
    ],
)
def test_what_cannot_be_told_is_refused(image):
    with pytest.raises(UserError):
        rgb_pixels(image)


def test_several_are_judged_together():
    dark = np.stack([np.zeros((4, 4)), np.full((4, 4), 200.0)])
    dark[0, 0, 0] = 1.0
    assert as_bytes(dark)[0].max() == 1
