"""The command from images to figures: data, cache, options."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from g2sd_mm.cli import probe as command
from g2sd_mm.errors import DataError, UserError
from g2sd_mm.probe import measures
from g2sd_mm.probe.data import batches, find_images
from g2sd_mm.probe.encoders import find_encoder
from g2sd_mm.probe.extract import extract
from g2sd_mm.probe.run import _check_masks, probe, table

from ..helpers import imagenet
from ..helpers.students import CONFIGS, student_folder
from ..helpers.toys import ROOT, autoencoder, refused, save
from .test_encoders import SIZE

ASKED = dict(size=32, crop_share=1.0)


@pytest.fixture(scope='module')
def weights(tmp_path_factory) -> str:
    return save(tmp_path_factory.mktemp('mae') / 'mae.pth', autoencoder(SIZE))


@pytest.fixture
def data(image_data, tmp_path) -> Path:
    """Three classes, eight and four images each."""
    return Path(shutil.copytree(image_data / 'imagenet', tmp_path / 'data'))


def masks(root: Path) -> Path:
    """Bright squares on noise, with their masks."""
    generator = np.random.default_rng(0)
    for split, number in (('train', 6), ('val', 3)):
        for folder in ('images', 'annotations'):
            (root / folder / split).mkdir(parents=True)
        for i in range(number):
            mask = np.zeros((40, 48), np.uint8)
            mask[4 * i : 4 * i + 16, 8:30] = 1
            pixels = generator.integers(0, 60, (40, 48, 3)).astype(np.uint8) + 150 * mask[..., None]
            cv2.imwrite(str(root / f'images/{split}/{i}.jpg'), pixels)
            cv2.imwrite(str(root / f'annotations/{split}/{i}.png'), mask)
    return root


def test_all_probes_of_a_folder(weights, data, tmp_path):
    answer = probe(weights, str(data), out=str(tmp_path / 'out.json'), k=5, **ASKED)
    assert json.loads((tmp_path / 'out.json').read_text()) == json.loads(json.dumps(answer))
    assert list(answer['probes']) == ['knn', 'linear', 'few-shot', 'retrieval']
    assert answer['token'] == 'cls' and answer['data']['train_images'] == 24
    images = find_images(str(data))
    encoder = find_encoder(weights)
    train, val = (extract(encoder, part, 32, 1.0) for part in (images.train, images.val))
    by_hand = measures.k_nearest(train.cls, train.labels, val.cls, val.labels, k=5)
    assert answer['probes']['knn'] == by_hand
    assert all(f'{value:6.2f}' in table(answer) for value in
               (by_hand['top1'], answer['probes']['retrieval']['mAP']))  # fmt: skip


def test_tokens_and_the_first_images_of_each_class(weights, data):
    answers = {
        token: probe(
            weights, str(data), ['knn'], token=token, train_images=2, val_images=1, **ASKED
        )
        for token in ('cls', 'mean', 'both')
    }
    assert all(a['data']['train_images'] == 6 for a in answers.values())
    part = find_images(str(data)).train.first(2)
    assert [Path(f).name for f in part.files] == ['image_0.jpg', 'image_1.png'] * 3
    found = extract(find_encoder(weights), part, 32, 1.0)
    assert torch.equal(found.token('both'), torch.cat([found.cls, found.mean], dim=1))


def test_images_are_middle_squares_in_rgb(data):
    part = find_images(str(data)).val
    (pixels, labels), *_ = batches(part, 20, 1.0, 4)
    assert pixels.shape == (4, 3, 20, 20) and pixels.dtype == torch.uint8
    image = cv2.imread(part.files[3])[..., ::-1]
    left = (image.shape[1] - 40) // 2
    middle = image[:, left : left + 40].reshape(20, 2, 20, 2, 3).mean(axis=(1, 3))
    assert abs(pixels[3].permute(1, 2, 0).numpy() - middle).mean() < 10
    assert abs(pixels[3].flip(0).permute(1, 2, 0).numpy() - middle).mean() > 15
    assert labels.tolist() == [0, 0, 0, 0]


def test_features_are_kept_and_found_again_by_all_that_they_depend_on(weights, data, tmp_path):
    cache = tmp_path / 'features'

    def cached(**changes) -> bool:
        changed = {'weights': weights, 'data': str(data), 'probes': ['knn'], 'cache': str(cache)}
        return probe(**{**changed, **ASKED, **changes})['features_cached']

    assert not cached() and cached() and len(list(cache.iterdir())) == 2
    assert cached(token='mean', k=3), 'these do not change features'
    assert not cached(block=0) and not cached(size=40) and not cached(crop_share=0.5)
    assert not cached(norm=False) and not cached(train_images=3)
    assert not cached(heads=2), 'the weights are the same, the features are not'
    other = save(tmp_path / 'other.pth', autoencoder(SIZE, seed=1))
    assert not cached(weights=other)
    file = data / 'train' / 'class_0' / 'image_0.jpg'
    os.utime(file, (0, 0))
    assert not cached()
    assert cached()
    first = probe(weights, str(data), cache=str(cache), **ASKED)
    assert first['probes'] == probe(weights, str(data), **ASKED)['probes']


def test_features_of_another_network_with_the_same_weights_are_not_taken(data, tmp_path):
    folder = student_folder(tmp_path / 'student')
    config = str(ROOT / 'configs' / CONFIGS['classification'])

    def cached(**backbone) -> bool:
        options = {f'model.backbone.{name}': value for name, value in backbone.items()}
        return probe(
            str(folder), str(data), ['knn'], config=config, options=options, size=56,
            train_images=2, cache=str(tmp_path / 'features'),
        )['features_cached']  # fmt: skip

    assert not cached() and cached()
    assert not cached(visible_share=0.5)


def test_a_cache_that_was_not_finished_is_not_read(weights, data, tmp_path, monkeypatch):
    def fails(tensors, path, metadata):
        Path(path).write_bytes(b'half')
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('g2sd_mm.probe.extract.save_file', fails)
    with pytest.raises(OSError, match='space'):
        probe(weights, str(data), ['knn'], cache=str(tmp_path / 'c'), **ASKED)
    monkeypatch.undo()
    assert not probe(weights, str(data), ['knn'], cache=str(tmp_path / 'c'), **ASKED)[
        'features_cached'
    ]


def test_a_damaged_file_of_the_cache_is_written_anew(weights, data, tmp_path):
    asked = dict(probes=['knn'], cache=str(tmp_path / 'c'), **ASKED)
    first = probe(weights, str(data), **asked)
    for file in (tmp_path / 'c').iterdir():
        file.write_bytes(file.read_bytes()[:200])
    for cached in (False, True):
        answer = probe(weights, str(data), **asked)
        assert answer['probes'] == first['probes'] and answer['features_cached'] == cached


def test_configs_have_the_same_images_as_their_folders(weights, image_data, monkeypatch):
    monkeypatch.setenv('G2SD_DATA', str(image_data))
    options = {**imagenet.plain(), 'num_classes': 3}
    of_config = find_images(str(ROOT / 'configs/imagenet/vitb_cls.py'), options)
    of_folder = find_images(str(image_data / 'imagenet'))
    assert of_config.classes == of_folder.classes
    for split in ('train', 'val'):
        one, other = getattr(of_config, split), getattr(of_folder, split)
        assert sorted(zip(one.files, one.labels, strict=True)) == sorted(
            zip(other.files, other.labels, strict=True)
        )


def test_a_class_that_validation_lacks_shifts_no_label_of_a_config(data, tmp_path, monkeypatch):
    shutil.rmtree(sorted((data / 'val').iterdir())[0])
    monkeypatch.setenv('G2SD_DATA', str(data.parent))
    data.rename(data.parent / 'imagenet')
    found = find_images(
        str(ROOT / 'configs/imagenet/vitb_cls.py'), {**imagenet.plain(), 'num_classes': 3}
    )
    assert set(found.val.labels) == {1, 2}
    assert {found.classes[i] for i in found.val.labels} == {
        Path(file).parent.name for file in found.val.files
    }


def test_masks_are_probed_patch_by_patch(weights, tmp_path):
    root = masks(tmp_path / 'data')
    answer = probe(weights, str(root), **ASKED)
    assert list(answer['probes']) == ['dense'] and answer['data']['classes'] == 2
    assert 0 < answer['probes']['dense']['mIoU'] <= 100
    (_, labels), *_ = batches(find_images(str(root)).train, 40, 1.0, 2)
    mask = cv2.imread(str(root / 'annotations/train/1.png'), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(labels[1].numpy(), mask[:, 4:44]), 'cut as the image is'
    with refused('--probes', 'dense'):
        probe(weights, str(root), ['knn'], **ASKED)


def test_a_device_that_is_not_there_is_told(weights, tmp_path):
    with refused('device gpu cannot be used'):
        probe(weights, str(masks(tmp_path)), **{**ASKED, 'device': 'gpu'})


def test_masks_without_a_class_give_no_figure(weights, tmp_path):
    data = masks(tmp_path)
    for file in (data / 'annotations' / 'val').iterdir():
        cv2.imwrite(str(file), np.full((40, 48), 255, np.uint8))
    with pytest.raises(DataError, match='val: every pixel'):
        probe(weights, str(data), **ASKED)


def test_masks_of_classes_that_there_are_not_are_refused():
    _check_masks(torch.tensor([[0, 1, 255]]), 2, 'x')
    with pytest.raises(DataError, match=r'x: .*class 2.* 0 to 1'):
        _check_masks(torch.tensor([[0, 2, 255]]), 2, 'x')


@pytest.mark.parametrize(
    ('changes', 'said'),
    [({'probes': ['knn', 'nearest']}, 'nearest'), ({'token': 'all'}, '--token'),
     ({'k': 0}, '-k 0'), ({'temperature': 0.0}, '--temperature'), ({'crop_share': 2.0}, '--crop'),
     ({'size': -1}, '--size'), ({'size': 30}, '--size'),
     ({'heads': 3}, '--heads 3'), ({'out': '.'}, '--out'),
     ({'train_images': 0}, '--train-images'), ({'val_images': -1}, '--val-images'),
     ({'options': {'a.b': 1}}, 'a.b')],
)  # fmt: skip
def test_options_that_are_refused(weights, data, changes, said):
    with refused(said):
        probe(**{'weights': weights, 'data': str(data), **ASKED, **changes})


def test_data_that_are_refused(weights, data, tmp_path):
    (data / 'val' / 'stranger').mkdir()
    with pytest.raises(DataError, match='stranger'):
        probe(weights, str(data), **ASKED)
    shutil.rmtree(data / 'val')
    with pytest.raises(DataError, match='val'):
        probe(weights, str(data), **ASKED)
    with pytest.raises(UserError):
        probe(weights, str(tmp_path / 'nowhere'), **ASKED)


def test_the_command(weights, data, tmp_path, capsys, monkeypatch):
    arguments = f'{weights} --data {data} --size 32 --probes knn retrieval --no-cache --out'
    monkeypatch.setattr(sys, 'argv', ['probe', *arguments.split(), str(tmp_path / 'o.json')])
    command.main()
    printed = capsys.readouterr().out
    answer = json.loads((tmp_path / 'o.json').read_text())
    assert f'{answer["probes"]["knn"]["top1"]:6.2f}' in printed and 'retrieval' in printed
    assert not (tmp_path / 'work_dirs').exists()


#: Percent after a block as it was measured elsewhere, with features of each split centred by their
#: own mean and images resized by Pillow. 300 images: one more or less is 0.33.
MEASURED = {
    (5, 'cls'): 41.7, (7, 'cls'): 47.3, (8, 'mean'): 52.7, (9, 'cls'): 53.0, (11, 'cls'): 32.7,
}  # fmt: skip


@pytest.mark.slow
def test_dinov2_on_real_images_is_as_it_was_measured(tmp_path):
    file, images = (os.environ.get(name) for name in ('G2SD_DINOV2_FILE', 'G2SD_TINY_IMAGENET'))
    if not file or not images:
        pytest.skip('G2SD_DINOV2_FILE and G2SD_TINY_IMAGENET name no file and no folder')
    pytest.importorskip('g2sd_mm.distill.teachers.timm', reason='needs teachers of timm')
    for (block, token), percent in MEASURED.items():
        answer = probe(
            file, images, ['knn'], timm='vit_small_patch14_dinov2', block=block, token=token,
            size=112, crop_share=1.0, k=10, norm=False, centred='each', dtype='bfloat16',
            train_images=30, val_images=15, cache=str(tmp_path),
        )  # fmt: skip
        assert answer['probes']['knn']['top1'] == pytest.approx(percent, abs=1.0)
