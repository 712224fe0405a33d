"""Decoding: pixels as OpenMMLab reads them, sizes without them, broken files refused."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from g2sd_mm.datasets import decoding
from g2sd_mm.datasets.decoding import EncodedImage
from g2sd_mm.datasets.shapes.textures import texture_bank

from ..helpers import odd_images

HEIGHT, WIDTH = 101, 131


@pytest.fixture(params=['simplejpeg', 'opencv'])
def decoder(request, monkeypatch):
    """Each of the two decoders of JPEG."""
    if request.param == 'simplejpeg':
        pytest.importorskip('simplejpeg')
    else:
        monkeypatch.setattr(decoding, 'simplejpeg', None)
    return request.param


def photograph(mode: str = 'RGB') -> Image.Image:
    """A photograph of an odd size."""
    return Image.fromarray(texture_bank()[0][0][:HEIGHT, :WIDTH]).convert(mode)


def encoded(mode: str = 'RGB', kind: str = 'JPEG', orientation: int | None = None, **options):
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
        options['exif'] = exif
    file = io.BytesIO()
    photograph(mode).save(file, kind, **options)
    return file.getvalue()


def by_opencv(data: bytes, flag: int = cv2.IMREAD_COLOR) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, np.uint8), flag)


@pytest.mark.parametrize(
    ('data', 'reducible'),
    [
        (encoded(), True),
        (encoded(subsampling=0), True),
        (encoded(progressive=True), True),
        (encoded('L'), True),
        (encoded(orientation=1), True),
        (encoded(orientation=6), False),
        (encoded('CMYK'), False),
        (encoded(kind='PNG'), False),
        (encoded('RGBA', 'PNG'), False),
        (encoded('P', 'PNG'), False),
        (encoded(kind='WEBP'), False),
        (encoded(kind='BMP'), False),
    ],
)
def test_pixels_are_those_of_opencv(decoder, data, reducible):
    image = EncodedImage(data)
    expected = by_opencv(data)
    assert image.reducible == reducible
    assert image.shape == expected.shape[:2]
    assert image.decode().dtype == np.uint8
    assert np.array_equal(image.decode(), expected)


def test_a_turned_photograph_is_as_high_as_it_was_wide():
    assert EncodedImage(encoded(orientation=6)).shape == (WIDTH, HEIGHT)


@pytest.mark.parametrize(
    ('reduction', 'flag'),
    [
        (2, cv2.IMREAD_REDUCED_COLOR_2),
        (4, cv2.IMREAD_REDUCED_COLOR_4),
        (8, cv2.IMREAD_REDUCED_COLOR_8),
    ],
)
@pytest.mark.parametrize('mode', ['RGB', 'L'])
def test_reduced_sizes_are_rounded_up(decoder, mode, reduction, flag):
    data = encoded(mode)
    pixels = EncodedImage(data).decode(reduction)
    assert pixels.shape == (-(-HEIGHT // reduction), -(-WIDTH // reduction), 3)
    assert np.array_equal(pixels, by_opencv(data, flag))


@pytest.mark.parametrize('data', [b'', b'no image', encoded(kind='PNG')[:200]])
def test_what_is_no_image_is_refused_at_once(data):
    with pytest.raises((ValueError, OSError)):
        EncodedImage(data)


@pytest.mark.parametrize('padding', [b'', bytes(400)])
def test_a_jpeg_that_ends_too_early_is_refused(padding):
    data = encoded()
    with pytest.raises(ValueError, match='ends too early'):
        EncodedImage(data[: len(data) // 2] + padding)


@pytest.mark.parametrize('rows', [None, 8])
def test_a_broken_jpeg_is_what_opencv_makes_of_it(decoder, rows):
    data = encoded()
    middle = data.index(b'\xff\xda') + 200
    broken = data[:middle] + data[-2:]
    expected = by_opencv(broken)
    if expected is None:
        with pytest.raises(ValueError, match='not an image'):
            EncodedImage(broken).decode(rows=rows)
    else:
        assert np.array_equal(EncodedImage(broken).decode(rows=rows)[:rows], expected[:rows])


def test_a_file_that_only_begins_like_a_jpeg_is_refused():
    whole = encoded(orientation=1)
    for end in (2, 3, 4, 20, 30, 60, 100, 200):
        with pytest.raises((ValueError, OSError)):
            EncodedImage(whole[:end]).decode()


def test_unreadable_exif_data_are_left_to_opencv():
    data = encoded(orientation=1)
    at = data.index(b'Exif') + 6
    broken = data[:at] + b'XXXX' + data[at + 4 :]
    image = EncodedImage(broken)
    assert np.array_equal(image.decode(), by_opencv(broken))


def test_markers_between_are_walked_over():
    comment = b'\xff\xfe\x00\x06\xff\xc0ab'  # has the bytes of a frame's marker
    plain = encoded()
    image = EncodedImage(plain[:2] + comment + plain[2:])
    assert (image.shape, image.reducible) == ((HEIGHT, WIDTH), True)
    assert np.array_equal(image.decode(), by_opencv(plain))


ROW_BY_ROW = {
    '4:2:0': encoded(),
    '4:4:4': encoded(subsampling=0),
    '4:2:2': encoded(subsampling=1),
    'grey': encoded('L'),
    'restarts': encoded(restart_marker_rows=1),
}


@pytest.mark.parametrize('kind', ROW_BY_ROW)
@pytest.mark.parametrize('reduction', [1, 2, 4])
def test_rows_below_the_crop_are_left_out(kind, reduction):
    pytest.importorskip('simplejpeg')
    data = ROW_BY_ROW[kind]
    whole = EncodedImage(data).decode(reduction)
    for rows in range(1, HEIGHT + 1, 7):
        part = EncodedImage(data).decode(reduction, rows)
        needed = -(-rows // reduction)
        assert np.array_equal(part[:needed], whole[:needed])
        assert len(part) == -(-min(HEIGHT, rows + 32) // reduction)


@pytest.mark.parametrize(
    'data', [encoded(progressive=True), encoded() + b'more', encoded(kind='PNG')]
)
def test_where_rows_do_not_follow_each_other_all_are_decoded(decoder, data):
    assert np.array_equal(EncodedImage(data).decode(rows=8), by_opencv(data))


def test_a_jpeg_that_says_it_is_huge_is_not_decoded():
    """simplejpeg would take 12 GB for it before it looked at the pixels."""
    with pytest.raises(ValueError, match='65500x65500 px, more than are read'):
        EncodedImage(odd_images.huge_jpeg())
