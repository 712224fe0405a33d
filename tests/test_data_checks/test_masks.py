"""One mask file: what is wrong with its numbers."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from g2sd_mm.data_checks.masks import Labels

from ..helpers import odd_images as odd


@pytest.fixture
def look(tmp_path):
    def write_and_look(numbers: np.ndarray, labels: Labels, mode: str | None = None):
        image = Image.fromarray(numbers)
        if mode:
            image = image.convert(mode)
        image.save(tmp_path / 'm.png')
        mask = labels.look(str(tmp_path / 'm.png'))
        return mask.size, [(finding.kind, finding.detail) for finding in mask.findings]

    return write_and_look


def masked(*labels: int, dtype=np.uint8) -> np.ndarray:
    """A mask of 5 x 4 pixels with these labels in it."""
    return np.resize(np.array(labels, dtype), (4, 5))


def test_classes_and_ignored_pixels_are_fine(look):
    assert look(masked(0, 3, 255), Labels(4)) == ((5, 4), [])
    assert look(masked(0, 4, 255), Labels(4, zero_is_ignored=True)) == ((5, 4), [])
    assert look(masked(0, 254, 255), Labels()) == ((5, 4), [])


@pytest.mark.parametrize(
    ('mask', 'labels', 'strange'),
    [
        (masked(0, 4), Labels(4), '[4]'),
        (masked(1, 5), Labels(4, zero_is_ignored=True), '[5]'),
        (masked(0, 255), Labels(4, ignored=254), '[255]'),
        (masked(0, 256, dtype=np.uint16), Labels(), '[256]'),
    ],
)
def test_labels_without_a_class_are_named(look, mask, labels, strange):
    _, ((kind, detail),) = look(mask, labels)
    assert kind == 'label-range'
    assert f'labels {strange}' in detail


def test_a_mask_of_colours(look):
    assert look(masked(1), Labels(4), 'RGB') == ((5, 4), [('coloured-mask', '3 channels')])


def test_a_palette_is_numbers_and_not_colours(look):
    assert look(masked(0, 3), Labels(4), 'P')[1] == []


def test_a_mask_of_nothing(look):
    assert look(masked(255), Labels(4))[1] == [('unlabelled-mask', '')]
    assert look(masked(0), Labels(4, zero_is_ignored=True))[1] == [('unlabelled-mask', '')]


@pytest.mark.parametrize(
    ('content', 'kind'),
    [
        (None, 'missing-mask'),
        (b'', 'empty-file'),
        (b'nothing', 'unreadable'),
        (odd.encoded(kind='PNG', mode='L')[:-300], 'truncated'),
        (odd.huge_png(), 'too-large'),
    ],
)
def test_files_that_are_no_mask(tmp_path, content, kind):
    path = tmp_path / 'm.png'
    if content is not None:
        path.write_bytes(content)
    mask = Labels(4).look(str(path))
    assert [finding.kind for finding in mask.findings] == [kind]
    assert mask.size is None
