"""The end marker of a JPEG, wherever else the same two bytes may stand."""

from __future__ import annotations

from io import BytesIO

import pytest
from PIL import Image

from g2sd_mm.compat.image_files import ends_early

from ..helpers import odd_images as odd


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
