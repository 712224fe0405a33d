"""Files that cannot be read are named, whichever library reads them; and huge ones are not read."""

from __future__ import annotations

from io import BytesIO

import cv2
import mmcv
import numpy as np
import pytest
from mmengine.registry import TRANSFORMS
from PIL import Image

from g2sd_mm.data_checks.images import look_at_image
from g2sd_mm.datasets.decoding import EncodedImage
from g2sd_mm.errors import DataError, UserError
from g2sd_mm.image_files import ends_early
from g2sd_mm.students import images

from ..helpers import odd_images as odd
from ..helpers.toys import run_python, words


def read_image(path):
    return TRANSFORMS.build(dict(type='LoadImageFromFile'))(dict(img_path=str(path)))


def read_mask(path):
    reader = TRANSFORMS.build(dict(type='LoadAnnotations', _scope_='mmseg'))
    return reader(dict(seg_map_path=str(path), reduce_zero_label=False, seg_fields=[]))


@pytest.mark.parametrize(
    ('read', 'kind'), [(read_image, 'an image'), (read_mask, 'a mask')], ids=['image', 'mask']
)
@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        (b'', ''),
        (b'nothing', 'no decoder knows it'),
        (odd.encoded(kind='PNG', mode='L')[:-300], ''),
        (odd.huge_png(), ''),
    ],
    ids=['empty', 'text', 'half', 'huge'],
)
def test_an_unreadable_file_is_named_in_one_line(tmp_path, read, kind, content, reason):
    path = tmp_path / 'a.png'
    path.write_bytes(content)
    with pytest.raises(DataError, match=words(f'{path}: cannot be read as {kind} (', reason)) as it:
        read(path)
    assert '\n' not in str(it.value)
    assert '0x' not in str(it.value)


@pytest.mark.parametrize('read', [read_image, read_mask])
def test_a_missing_file_is_named(tmp_path, read):
    with pytest.raises(DataError, match=r'none\.png: no such file$'):
        read(tmp_path / 'none.png')


def test_good_files_are_read(tmp_path):
    (tmp_path / 'a.png').write_bytes(odd.encoded(kind='PNG'))
    assert np.array_equal(read_image(tmp_path / 'a.png')['img'], mmcv.imread(tmp_path / 'a.png'))
    Image.fromarray(np.full((4, 5), 3, np.uint8)).save(tmp_path / 'm.png')
    assert (read_mask(tmp_path / 'm.png')['gt_seg_map'] == 3).all()


LIMIT = """
import g2sd_mm, os, warnings
warnings.simplefilter('error')
import cv2, numpy as np
from io import BytesIO
from PIL import Image
from tests.helpers.odd_images import huge_png
for side in (1000, 1500):
    for read in (
        lambda file: cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR),
        lambda file: Image.open(BytesIO(file)),
    ):
        try:
            read(huge_png(side))
            print('tried', end=' ')
        except (cv2.error, Image.DecompressionBombError):
            print('refused', end=' ')
"""


def test_both_decoders_have_one_limit_that_a_person_can_change():
    done = run_python('-c', LIMIT, OPENCV_IO_MAX_IMAGE_PIXELS='2000000')
    assert done.stdout.split() == ['tried', 'tried', 'refused', 'refused'], done.stderr


def test_the_limit_is_pillows_unless_somebody_says():
    assert Image.MAX_IMAGE_PIXELS * 2 <= 178_956_970
    with pytest.raises(cv2.error, match='CV_IO_MAX_IMAGE_PIXELS'):
        cv2.imdecode(np.frombuffer(odd.huge_png(14_000), np.uint8), cv2.IMREAD_COLOR)


def with_thumbnail() -> bytes:
    """A JPEG that has a whole one in its header."""
    inner = odd.encoded(1)
    segment = b'\xff\xe1' + (len(inner) + 2).to_bytes(2, 'big') + inner
    content = odd.encoded()
    return content[:2] + segment + content[2:]


WHOLE = [odd.encoded(), odd.encoded(progressive=True), odd.rotated(), with_thumbnail()]


@pytest.mark.parametrize('content', WHOLE)
@pytest.mark.parametrize('behind', [b'', bytes(5000), b'a trailer'])
def test_a_whole_file_with_anything_behind_it(content, behind):
    Image.open(BytesIO(content)).load()
    assert not ends_early(content + behind)


@pytest.mark.parametrize('content', WHOLE)
@pytest.mark.parametrize('behind', [b'', bytes(5000)])
@pytest.mark.parametrize('cut', [1, 2, 3, 100, 700])
def test_a_file_without_its_end(content, behind, cut):
    assert ends_early(content[:-cut] + behind)


def test_other_files_pass():
    for content in (b'', b'\xff', b'nothing', odd.encoded(kind='PNG')[:-50]):
        assert not ends_early(content)


@pytest.mark.parametrize('size', range(2, 60))
def test_headers_cut_anywhere(size):
    assert ends_early(odd.encoded()[:size])


def test_a_tiff_file_of_floats_is_read_as_it_is_or_not_at_all(tmp_path):
    values = np.linspace(0, 1, 5 * 4 * 3, dtype=np.float32).reshape(5, 4, 3)
    path = str(tmp_path / 'floats.tif')
    cv2.imwrite(path, values)  # LogLuv, which decodes to bytes that are brighter
    content = (tmp_path / 'floats.tif').read_bytes()
    for read in (mmcv.imfrombytes, EncodedImage):
        with pytest.raises(ValueError, match='floats'):
            read(content)
    with pytest.raises(DataError, match=path):
        read_image(path)
    with pytest.raises(UserError, match=path):
        images.read_image(path)
    (finding,) = look_at_image(path).findings
    assert finding.kind == 'unreadable'
    assert np.abs(mmcv.imfrombytes(content, 'unchanged') - values).max() < 0.02
