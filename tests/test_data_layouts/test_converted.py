"""Sizes of images by their headers are those of the pixels that are read."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image

from g2sd_mm.data_layouts.converted import size_of, sizes_of


@pytest.mark.parametrize('ending', ['jpg', 'png', 'webp', 'tiff'])
@pytest.mark.parametrize('orientation', [1, 3, 6])
def test_the_size_is_that_of_the_pixels(tmp_path, ending, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = tmp_path / f'a.{ending}'
    Image.new('RGB', (6, 4)).save(file, exif=exif)
    pixels = cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_COLOR)
    height, width = pixels.shape[:2]
    assert size_of(file) == sizes_of(file)[1] == (width, height)
    if ending == 'jpg':
        assert sizes_of(file)[0] == (6, 4)
