"""Sizes of images by their headers are those of the pixels; parts that are held out."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image

from g2sd_mm.data_layouts import Choices, find_trainable
from g2sd_mm.data_layouts.converted import size_of, sizes_of

from ..helpers.exports import Scene, write_image


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


@pytest.mark.parametrize('name', ['test', 'train', 'val'])
@pytest.mark.parametrize('task', ['cls', 'det', 'seg'])
def test_what_is_divided_is_in_no_other_split(tmp_path, name, task):
    """Whatever the folder is called."""
    root = tmp_path / name
    for i in range(8):
        scene = Scene(f'{i}', '', (16, 12), ())
        if task == 'cls':
            write_image(scene, root / f'class {i % 2}' / f'{i}.png')
            continue
        write_image(scene, root / 'images' / f'{i}.png')
        (root / 'labels').mkdir(exist_ok=True)
        if task == 'det':
            (root / 'labels' / f'{i}.txt').write_text('0 .5 .5 .2 .2')
        else:
            Image.fromarray(np.eye(4, dtype=np.uint8)).save(root / 'labels' / f'{i}.png')
    layout = find_trainable(root, Choices(val_share=0.25))
    found = {split.name: len(list(split.images.rglob('?.png'))) for split in layout.splits}
    assert layout.task == task and found == {'train': 6, 'val': 2}


def test_a_mask_that_is_added_later_is_found(tmp_path):
    for i in range(4):
        write_image(Scene(f'{i}', '', (16, 12), ()), tmp_path / 'images' / 'train' / f'{i}.png')
        mask = tmp_path / 'annotations' / 'train' / f'{i}.png'
        mask.parent.mkdir(parents=True, exist_ok=True)
        if i:
            Image.fromarray(np.eye(12, 16, dtype=np.uint8)).save(mask)
    choices = Choices(val_share=0.25)
    for number in (3, 4):
        layout = find_trainable(tmp_path, choices)
        masks = [p for split in layout.splits for p in split.labels.rglob('*.png')]
        assert len(masks) == number
        Image.fromarray(np.eye(12, 16, dtype=np.uint8)).save(mask.with_name('0.png'))
