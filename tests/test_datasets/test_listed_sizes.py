"""Images that are not as large as their annotations say: each error names the file."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from g2sd_mm.datasets import CheckListedSize
from g2sd_mm.errors import DataError

from ..helpers.toys import words


def sample(path: str = 'i/7.jpg', height: int = 4, width: int = 6, **more) -> dict:
    return dict(img_path=path, ori_shape=(4, 6, 3), height=height, width=width, **more)


def test_an_image_of_the_listed_size_passes_unchanged():
    results = sample(img=np.zeros((8, 12, 3)))  # resized since
    assert CheckListedSize()(results) is results


def test_an_image_without_a_listed_size_passes():
    results = dict(img_path='i/7.jpg')
    assert CheckListedSize()(results) is results


def test_an_image_of_another_size_is_named_with_both():
    with pytest.raises(DataError, match=words('i/7.jpg', '12x8 px', '6x4 px', 'bring it to')):
        CheckListedSize()(sample(height=8, width=12))


@pytest.mark.parametrize(('orientation', 'remedy'), [(6, 'EXIF tag'), (1, 'bring it to')])
def test_an_image_that_is_turned_when_it_is_read_is_told_so(tmp_path, orientation, remedy):
    exif = Image.Exif()
    exif[0x0112] = orientation
    place = tmp_path / '7.jpg'
    size = (4, 6) if orientation == 6 else (6, 4)
    Image.new('RGB', size).save(place, exif=exif)
    with pytest.raises(DataError, match=words(str(place), '4x6 px', '6x4 px', remedy)):
        CheckListedSize()(sample(str(place), height=6, width=4))
