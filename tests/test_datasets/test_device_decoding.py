"""Decoding on the device: what a GPU would be handed, and that the CPU stands in for it."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import MODELS
from PIL import Image

from g2sd_mm.datasets import SampleKey
from g2sd_mm.datasets import cropping as device_decoding
from g2sd_mm.datasets.shapes.textures import texture_bank

from ..helpers.toys import config, distiller

SIDE = 24
# reduced decoding is for the CPU alone
OPTIONS = {
    f'train_dataloader.dataset.dataset.pipeline.0.{key}': value
    for key, value in dict(scale=SIDE, reduce=False).items()
}


@pytest.fixture(scope='module')
def data_root(tmp_path_factory):
    """JPEG, one of them in CMYK, and a PNG, of different sizes."""
    folder = tmp_path_factory.mktemp('data') / 'imagenet' / 'train' / 'class_0'
    folder.mkdir(parents=True)
    for number, (mode, ending) in enumerate(
        [('RGB', 'jpg'), ('RGB', 'png'), ('CMYK', 'jpg'), ('L', 'jpg'), ('RGB', 'jpg')]
    ):
        pixels = texture_bank()[number][0][: 60 + number, : 80 - number]
        Image.fromarray(pixels).convert(mode).save(folder / f'{number}.{ending}')
    return folder.parents[2]


def batch(name: str, data_root, monkeypatch) -> dict:
    """Every image as the config of this name reads it."""
    from mmengine.registry import DATASETS

    monkeypatch.setenv('G2SD_DATA', str(data_root))
    cfg = config(f'imagenet/{name}.py', **OPTIONS)
    dataset = DATASETS.build(
        dict(cfg.train_dataloader.dataset, dataset=dict(
            cfg.train_dataloader.dataset.dataset, _scope_='mmpretrain'))
    )
    return pseudo_collate([dataset[SampleKey(i, 3, 1)] for i in range(len(dataset))])


def preprocessor(**options):
    cfg = config('imagenet/g2sd_vits_generic_gpu_decode.py').data_preprocessor
    return MODELS.build({**cfg, 'scale': (SIDE, SIDE), **options})


def test_files_cross_over_where_only_they_are_needed(data_root, monkeypatch):
    inputs = batch('g2sd_vits_generic_gpu_decode', data_root, monkeypatch)['inputs']
    assert [item.ndim for item in inputs] == [1, 3, 3, 1, 1]
    assert bytes(inputs[0][:2].numpy()) == b'\xff\xd8'
    assert inputs[1].shape == (3, SIDE, SIDE)


def test_without_a_gpu_images_are_those_of_the_plain_pipeline(data_root, monkeypatch):
    device = batch('g2sd_vits_generic_gpu_decode', data_root, monkeypatch)
    plain = batch('g2sd_vits_generic', data_root, monkeypatch)
    normalise = MODELS.build(config('imagenet/g2sd_vits_generic.py').data_preprocessor)
    found, expected = preprocessor()(device), normalise(plain)
    assert found['inputs'].shape == (5, 3, SIDE, SIDE)
    flips = {sample.flip for sample in plain['data_samples']}
    assert flips == {True, False}
    assert torch.equal(found['inputs'], torch.stack(list(expected['inputs'])))
    assert found['data_samples'] is not None


def test_stage_one_learns_from_them_as_from_the_plain_pipelines(data_root, monkeypatch):
    losses = []
    for name in ('g2sd_vits_generic_gpu_decode', 'g2sd_vits_generic'):
        settings = dict(config(f'imagenet/{name}.py').data_preprocessor)
        if 'scale' in settings:
            settings['scale'] = (SIDE, SIDE)
        size = dict(img_size=SIDE)
        model = distiller(
            teacher=dict(random_weights=True, **size), data_preprocessor=settings, **size
        )
        data = model.data_preprocessor(batch(name, data_root, monkeypatch), True)
        losses.append(model(**data, mode='loss'))
    one, other = losses
    assert one.keys() == other.keys()
    for key in one:
        assert torch.equal(one[key], other[key])


def test_what_a_gpu_decodes_is_turned_into_bgr(data_root, monkeypatch):
    """With a decoder that stands in for nvJPEG."""

    def decode(files, device):
        images = [Image.open(io.BytesIO(bytes(file.numpy()))).convert('RGB') for file in files]
        return [torch.from_numpy(np.array(image)).permute(2, 0, 1) for image in images]

    device = batch('g2sd_vits_generic_gpu_decode', data_root, monkeypatch)
    expected = preprocessor()(device)['inputs']
    monkeypatch.setattr(device_decoding, '_by_gpu', decode)
    model = preprocessor()
    files = [item for item in device['inputs'] if item.ndim == 1]
    by_cpu = model._decode(files)
    monkeypatch.setattr(type(model), 'device', torch.device('cuda'))
    by_gpu = model._decode(files)
    for one, other in zip(by_gpu, by_cpu, strict=True):
        assert torch.equal(one, other)
    assert expected.isfinite().all()


def test_where_the_gpu_cannot_the_cpu_does_for_good(data_root, monkeypatch):
    asked = []

    def refuse(files, device):
        asked.append(len(files))
        raise RuntimeError('built without nvJPEG')

    monkeypatch.setattr(device_decoding, '_by_gpu', refuse)
    device = batch('g2sd_vits_generic_gpu_decode', data_root, monkeypatch)
    files = [item for item in device['inputs'] if item.ndim == 1]
    model = preprocessor()
    expected = model._decode(files)
    monkeypatch.setattr(type(model), 'device', torch.device('cuda'))
    for _ in range(2):
        for one, other in zip(model._decode(files), expected, strict=True):
            assert torch.equal(one, other)
    assert asked == [3]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')
def test_a_gpu_sees_the_same_images(data_root, monkeypatch):
    device = batch('g2sd_vits_generic_gpu_decode', data_root, monkeypatch)
    by_cpu = preprocessor()(device)['inputs']
    model = preprocessor().cuda()
    by_gpu = model(device)['inputs'].cpu()
    assert model._gpu_can
    levels = 58  # of 255 in a standard deviation
    assert (by_gpu - by_cpu).abs().mean() < 2 / levels
