"""What ``infer``, ``test --show-dir`` and ``browse_data`` draw of detectors and segmentors."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from pycocotools import mask as coco_mask

import g2sd_mm
from g2sd_mm.cli.browse_data import browse
from g2sd_mm.runs.predict import infer
from g2sd_mm.runs.test import evaluate
from g2sd_mm.tasks.drawing import class_colour

from ..helpers import odd_coco, small_masks, toys


def _random_weights(cfg: Config, folder: Path) -> tuple[str, str]:
    """The config as a file, and weights of its student that nobody trained."""
    g2sd_mm.register_all()
    cfg.dump(folder / 'config.py')
    torch.manual_seed(0)
    model = MODELS.build(dict(cfg.model, _scope_=cfg.default_scope))
    model.init_weights()
    return str(folder / 'config.py'), toys.save(folder / 'weights.pth', model)


@pytest.fixture(scope='module')
def detector(tmp_path_factory) -> tuple[str, str, Path]:
    """Config, weights and images of a toy Mask R-CNN."""
    folder = tmp_path_factory.mktemp('detector')
    data = odd_coco.write_set(folder / 'data')
    cfg = odd_coco.small('configs/coco/g2sd_vits_maskrcnn_nosd.py', data, folder)
    cfg.model.test_cfg.rcnn.score_thr = 0.0  # random heads are sure of nothing
    return *_random_weights(cfg, folder), data


@pytest.fixture(scope='module')
def segmentor(tmp_path_factory) -> tuple[str, str, Path]:
    """Config, weights and images of a toy UPerNet."""
    folder = tmp_path_factory.mktemp('segmentor')
    data = small_masks.write_data(folder / 'data')
    cfg = small_masks.small_config('ade20k/g2sd_vits_upernet_nosd.py')
    cfg = small_masks.on_small_data(cfg, data, folder)
    return *_random_weights(cfg, folder), data


def _has_colour(picture: np.ndarray, label: int) -> bool:
    """Whether some pixel of a JPEG has nearly the colour of a class."""
    distance = np.abs(picture[..., ::-1].astype(int) - np.array(class_colour(label))).sum(-1)
    return bool((distance < 30).any())


# infer --------------------------------------------------------------------------------------------


def test_instances_have_a_class_a_score_a_box_and_a_mask(detector, tmp_path):
    config, weights, data = detector
    images = [str(data / name) for name in ('plain.png', 'grey.png')]
    predictions = infer(config, weights, images, str(tmp_path), threshold=0.0)
    assert json.loads((tmp_path / 'predictions.json').read_text()) == predictions
    for image, prediction in zip(images, predictions, strict=True):
        height, width = odd_coco.IMAGES[Path(image).name]
        assert prediction['image'] == image
        assert prediction['instances']
        for instance in prediction['instances']:
            left, top, right, bottom = instance['box']
            assert 0 <= left <= right <= width
            assert 0 <= top <= bottom <= height
            assert instance['class'] in odd_coco.CLASSES
            assert coco_mask.decode(instance['mask']).shape == (height, width)


def test_instances_below_the_threshold_are_neither_written_nor_drawn(detector, tmp_path):
    config, weights, data = detector
    image = str(data / 'plain.png')
    (all_of_them,) = infer(config, weights, [image], str(tmp_path / 'all'), threshold=0.0)
    (none,) = infer(config, weights, [image], str(tmp_path / 'none'), threshold=1.0)
    assert all_of_them['instances']
    assert none['instances'] == []
    drawn, clean = (cv2.imread(str(tmp_path / f / '0000_plain.jpg')) for f in ('all', 'none'))
    assert np.abs(drawn.astype(int) - clean).mean() > 1


def test_shares_of_the_classes_of_a_segmentation_add_up(segmentor, tmp_path):
    config, weights, data = segmentor
    image = str(data / 'images/validation/0.jpg')
    (prediction,) = infer(config, weights, [image], str(tmp_path))
    assert sum(prediction['classes'].values()) == pytest.approx(1, abs=0.01)
    picture = cv2.imread(str(tmp_path / '0000_0.jpg'))
    height, width = cv2.imread(image).shape[:2]
    assert picture.shape[1] / picture.shape[0] > 1.2 * width / height  # a legend to the right


# test --show-dir ----------------------------------------------------------------------------------


def test_every_image_of_a_detection_test_is_drawn(detector, tmp_path):
    config, weights, _ = detector
    metrics = evaluate(config, weights, work_dir=str(tmp_path), show_dir=str(tmp_path / 'show'))
    assert {'coco/bbox_mAP', 'coco/segm_mAP'} <= set(metrics)
    drawn = {path.stem.rpartition('_')[2] for path in (tmp_path / 'show').glob('*.jpg')}
    assert drawn == {Path(name).stem for name in odd_coco.IMAGES}


def test_every_image_of_a_segmentation_test_is_drawn(segmentor, tmp_path):
    config, weights, data = segmentor
    metrics = evaluate(config, weights, work_dir=str(tmp_path), show_dir=str(tmp_path / 'show'))
    assert 0 <= metrics['mIoU'] <= 100
    drawn = list((tmp_path / 'show').glob('*.jpg'))
    assert len(drawn) == len(list((data / 'images/validation').iterdir()))


# browse_data --------------------------------------------------------------------------------------


def test_browsing_a_detection_set_shows_boxes_and_masks_on_augmented_images(detector, tmp_path):
    config, _, _ = detector
    pictures = [cv2.imread(str(path)) for path in browse(config, str(tmp_path), number=6)]
    assert any(_has_colour(picture, 0) for picture in pictures)
    assert any(_has_colour(picture, 1) for picture in pictures)


def test_browsing_masks_shows_the_crop_with_a_legend(segmentor, tmp_path):
    config, _, _ = segmentor
    pictures = [cv2.imread(str(path)) for path in browse(config, str(tmp_path), number=3)]
    assert len(pictures) == 3
    for picture in pictures:
        legend = picture[:-18, -170:]  # without the line that says the size
        assert (legend[-20:, -20:] > 245).all()  # a white panel
        assert _has_colour(legend, 0) or _has_colour(legend, 149)


def _stock(folder: Path, dataset: dict) -> str:
    """A config of mmpretrain whose data set takes numbers and no keys."""
    cfg = Config(dict(
        default_scope='mmpretrain', model=dict(type='ImageClassifier'),
        train_dataloader=dict(batch_size=2, num_workers=0, dataset=dataset),
    ))  # fmt: skip
    cfg.dump(folder / 'stock.py')
    return str(folder / 'stock.py')


def test_all_views_of_a_stock_configs_images_are_drawn(tmp_path):
    toys.image_folder(tmp_path / 'images', classes=2, each=2)
    flips = dict(type='MultiView', num_views=[2], transforms=[[dict(type='Resize', scale=32)]])
    folders = dict(
        type='CustomDataset', data_root=str(tmp_path / 'images'),
        pipeline=[dict(type='LoadImageFromFile'), flips, dict(type='PackInputs')],
    )  # fmt: skip
    config = _stock(tmp_path, dict(type='RepeatDataset', times=2, dataset=folders))
    written = browse(config, str(tmp_path / 'out'), number=3)
    assert len(written) == 6 and len({path.name.partition('_')[0] for path in written}) == 3
    assert all(cv2.imread(str(path)) is not None for path in written)


@pytest.mark.parametrize('to_float', [False, True])
def test_images_of_several_classes_are_drawn_with_all_of_them(tmp_path, to_float, monkeypatch):
    toys.image_folder(tmp_path / 'images', classes=1, each=2, size=32)
    files = sorted(path.name for path in (tmp_path / 'images/class_0').iterdir())
    listed = [dict(img_path=name, gt_label=[i, 2]) for i, name in enumerate(files)]
    content = dict(metainfo=dict(classes=['a', 'b', 'c']), data_list=listed)
    (tmp_path / 'train.json').write_text(json.dumps(content))
    config = _stock(tmp_path, dict(
        type='MultiLabelDataset', data_root=str(tmp_path / 'images/class_0'),
        ann_file=str(tmp_path / 'train.json'),
        pipeline=[dict(type='LoadImageFromFile', to_float32=to_float), dict(type='PackInputs')],
    ))  # fmt: skip
    drawn = []
    monkeypatch.setattr('g2sd_mm.tasks.drawing.draw_sample',
                        lambda task, image, sample, *a, **k: drawn.append((image, sample)) or image)
    browse(config, str(tmp_path / 'out'), number=2)
    assert [sample.gt_label.tolist() for _, sample in drawn] == [[0, 2], [1, 2]]
    assert all(image.dtype == np.uint8 for image, _ in drawn)
