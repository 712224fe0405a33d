"""One image file: what is wrong with it, and the digest of its pixels."""

from __future__ import annotations

import os

import pytest
from PIL import Image

from g2sd_mm.data_checks.depth import DepthReading
from g2sd_mm.data_checks.images import look_at_image
from g2sd_mm.students.images import read_image, rgb_pixels

from ..helpers import odd_images as odd


@pytest.fixture
def look(tmp_path):
    def write_and_look(content: bytes, name: str = 'a.jpg'):
        (tmp_path / name).write_bytes(content)
        return look_at_image(str(tmp_path / name))

    return write_and_look


def kinds(picture) -> list[str]:
    return [finding.kind for finding in picture.findings]


@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'BMP', 'TIFF', 'PPM'])
def test_a_good_image_has_nothing_wrong(look, kind):
    ending = {'JPEG': 'jpg', 'TIFF': 'tif'}.get(kind, kind.lower())
    picture = look(odd.encoded(kind=kind), f'a.{ending}')
    assert kinds(picture) == []
    assert picture.size == odd.SIZE
    assert len(picture.digest) == 32


@pytest.mark.parametrize(
    ('content', 'kind'),
    [
        (b'', 'empty-file'),
        (b'no image at all', 'unreadable'),
        (odd.encoded()[:-200], 'truncated'),
        (odd.encoded(progressive=True)[:-200], 'truncated'),
        (odd.encoded()[:-200] + bytes(200), 'truncated'),
        (odd.encoded(kind='PNG')[:-500], 'truncated'),
        (odd.encoded(kind='BMP')[:-500], 'truncated'),
        (odd.hollow(odd.encoded(kind='PNG')), 'unreadable'),
        (odd.huge_png(), 'too-large'),
    ],
)
def test_a_file_that_cannot_be_decoded_is_named_for_what_it_is(look, content, kind):
    picture = look(content, 'a.jpg' if content[:1] == b'\xff' else 'a.png')
    assert kinds(picture) == [kind]
    assert picture.size is None
    assert picture.digest == ''


def test_a_missing_file_and_one_that_never_ends(tmp_path):
    assert kinds(look_at_image(str(tmp_path / 'none.jpg'))) == ['missing-image']
    os.mkfifo(tmp_path / 'pipe.jpg')
    assert kinds(look_at_image(str(tmp_path / 'pipe.jpg'))) == ['unreadable']


def test_a_file_that_must_not_be_read_is_a_finding(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, 'Permission denied', str(path))

    (tmp_path / 'a.png').write_bytes(odd.encoded())
    monkeypatch.setattr('pathlib.Path.read_bytes', refuse)
    for look in (look_at_image, DepthReading().look):
        (finding,) = look(str(tmp_path / 'a.png')).findings
        assert (finding.kind, finding.detail) == ('unreadable', 'Permission denied')


def test_damage_in_the_middle_is_told_by_the_decoder_alone(look, capfd):
    picture = look(odd.hollow(odd.encoded()))
    assert kinds(picture) == ['damaged']
    assert 'Corrupt JPEG data' in picture.findings[0].detail
    assert capfd.readouterr().err == ''
    os.write(2, b'afterwards')
    assert capfd.readouterr().err == 'afterwards'


def test_odd_but_readable_images(look, tmp_path):
    assert kinds(look(odd.encoded(mode='CMYK'))) == ['cmyk']
    assert kinds(look(odd.encoded(kind='PNG'), 'a.jpg')) == ['wrong-ending']
    odd.deep_png(tmp_path / 'deep.png')
    assert kinds(look_at_image(str(tmp_path / 'deep.png'))) == ['16-bit']


def test_a_rotated_image_has_its_upright_size(look):
    picture = look(odd.rotated())
    assert kinds(picture) == ['rotated']
    assert picture.size == odd.SIZE[::-1]
    assert picture.rotated
    assert kinds(look(odd.rotated(orientation=1))) == []


@pytest.mark.parametrize('ending', ['webp', 'avif'])
def test_a_webp_or_avif_file_is_read_as_it_lies(tmp_path, ending):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / f'a.{ending}'
    Image.new('RGB', (40, 30)).save(path, exif=exif)
    picture = look_at_image(str(path))
    assert (picture.size, picture.rotated, picture.findings) == ((40, 30), False, ())
    assert read_image(path).shape == (30, 40, 3)
    with Image.open(path) as opened:  # one picture has one answer, however it comes
        assert rgb_pixels(opened).shape == (30, 40, 3)


def test_the_digest_is_of_the_pixels(look):
    first = look(odd.encoded(kind='PNG'), 'a.png').digest
    assert look(odd.encoded(kind='BMP'), 'a.bmp').digest == first
    assert look(odd.encoded(kind='PNG', compress_level=1), 'b.png').digest == first
    assert look(odd.encoded(seed=1, kind='PNG'), 'c.png').digest != first
    assert look(odd.encoded(), 'd.jpg').digest != first
