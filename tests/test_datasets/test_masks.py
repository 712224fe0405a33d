"""Masks that do not fit: each error names the file."""

from __future__ import annotations

import numpy as np
import pytest

from g2sd_mm.datasets import CheckMasks


def sample(mask: np.ndarray, size=(4, 6), **more) -> dict:
    return dict(
        gt_seg_map=mask, ori_shape=size, seg_map_path='m/7.png', img_path='i/7.jpg', **more
    )


def masked(value: int) -> np.ndarray:
    return np.full((4, 6), value, np.uint8)


@pytest.mark.parametrize('value', [0, 9, 255])
def test_classes_and_ignored_pixels_pass_unchanged(value):
    results = sample(masked(value))
    assert CheckMasks(10)(results) is results
    assert (results['gt_seg_map'] == value).all()


def test_a_label_without_a_class_is_named():
    mask = masked(3)
    mask[0, 0] = 12
    with pytest.raises(ValueError, match=r'm/7\.png: labels \[12\], but there are 10 classes'):
        CheckMasks(10)(sample(mask))


def test_it_says_when_one_was_subtracted():
    with pytest.raises(ValueError, match=r'labels \[10\], after 1 was subtracted'):
        CheckMasks(10)(sample(masked(10), reduce_zero_label=True))


def test_a_mask_of_another_size_is_named_with_its_image():
    message = r'm/7\.png: the mask is 6x4 px and its image i/7\.jpg 6x5 px'
    with pytest.raises(ValueError, match=message):
        CheckMasks(10)(sample(masked(0), size=(5, 6)))


def test_a_coloured_mask_is_refused():
    with pytest.raises(ValueError, match='one number per pixel'):
        CheckMasks(10)(sample(np.zeros((4, 6, 3), np.uint8)))


def test_an_image_without_a_mask_passes():
    results = dict(img_path='i/7.jpg', ori_shape=(4, 6))
    assert CheckMasks(10)(results) is results
