"""``infer`` and ``browse_data`` on a toy classifier."""

from __future__ import annotations

import json

import cv2
import pytest

from g2sd_mm.cli.browse_data import browse
from g2sd_mm.errors import UserError
from g2sd_mm.runs.predict import infer

from ..helpers import toys

CONFIG = str(toys.ROOT / 'configs' / 'imagenet' / 'g2sd_vits_cls_nosd.py')
OPTIONS = {
    'num_classes': toys.CLASSES,
    'model.backbone.arch': dict(_delete_=True, **toys.arch()),
    'model.head.in_channels': 16,
}


@pytest.fixture
def weights(tmp_path):
    return toys.save(tmp_path / 'weights.pth', toys.classifier())


@pytest.fixture
def data(image_data, monkeypatch):
    monkeypatch.setenv('G2SD_DATA', str(image_data))
    return image_data


def test_scores_are_written_by_class_name_with_a_picture_each(data, weights, tmp_path):
    images = [str(p) for p in sorted((data / 'imagenet' / 'val' / 'class_0').iterdir())[:2]]
    options = {**OPTIONS, 'model.backbone.img_size': 32}
    predictions = infer(CONFIG, weights, images, str(tmp_path / 'out'), options)
    assert json.loads((tmp_path / 'out' / 'predictions.json').read_text()) == predictions
    assert [p['image'] for p in predictions] == images
    for prediction in predictions:
        assert set(prediction['scores']) == {'class_0', 'class_1', 'class_2'}
        assert sum(prediction['scores'].values()) == pytest.approx(1.0, abs=1e-3)
    assert len(list((tmp_path / 'out').glob('*.jpg'))) == 2


def test_a_missing_image_is_named(data, weights, tmp_path):
    with pytest.raises(UserError, match=r'no image file .*nowhere\.jpg'):
        infer(CONFIG, weights, ['nowhere.jpg'], str(tmp_path / 'out'), OPTIONS)


def test_a_file_that_is_no_image_is_named(data, weights, tmp_path):
    broken = tmp_path / 'broken.jpg'
    broken.write_bytes(b'not a picture')
    options = {**OPTIONS, 'model.backbone.img_size': 32}
    with pytest.raises(UserError, match=r'broken\.jpg is not an image'):
        infer(CONFIG, weights, [str(broken)], str(tmp_path / 'out'), options)


def test_browsing_shows_the_augmented_images_that_a_run_of_this_seed_sees(data, tmp_path):
    first = browse(CONFIG, str(tmp_path / 'a'), number=3, options=OPTIONS)
    again = browse(CONFIG, str(tmp_path / 'b'), number=3, options=OPTIONS)
    other = browse(CONFIG, str(tmp_path / 'c'), number=3, seed=1, options=OPTIONS)
    pictures = [[cv2.imread(str(p)) for p in paths] for paths in (first, again, other)]
    assert len(first) == 3
    assert all((a == b).all() for a, b in zip(pictures[0], pictures[1], strict=True))
    assert any((a != c).any() for a, c in zip(pictures[0], pictures[2], strict=True))
