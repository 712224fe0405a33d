"""Images that do not fit into one batch, and metrics that leave classes out, are named."""

from __future__ import annotations

import importlib
import warnings

import numpy as np
import pytest
import torch
from mmengine.registry import METRICS, MODELS
from mmengine.runner import Runner
from PIL import Image

from g2sd_mm.errors import ConfigError, DataError

from ..helpers.toys import begun, image_folder, logged, words


def loader(root, steps, batch_size=4, number=0):
    import mmpretrain.datasets  # noqa: F401

    pipeline = [dict(type='LoadImageFromFile'), *steps, dict(type='PackInputs')]
    return Runner.build_dataloader(
        dict(
            batch_size=batch_size, num_workers=number,
            collate_fn=dict(type='default_collate'),
            sampler=dict(type='DefaultSampler', shuffle=False),
            dataset=dict(_scope_='mmpretrain', type='CustomDataset', data_root=str(root),
                         pipeline=pipeline),
        )
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    root = image_folder(tmp_path / 'images', classes=2, each=4, size=40)
    Image.fromarray(np.zeros((24, 50, 3), np.uint8)).save(root / 'class_1' / 'image_1.png')
    return root


@pytest.mark.parametrize('number', [0, 1])
@pytest.mark.parametrize('crop', ['RandomCrop', 'CenterCrop'])
def test_an_image_smaller_than_the_crop_is_named(folder, crop, number):
    batches = loader(folder, [dict(type=crop, crop_size=32)], number=number)
    file = str(folder / 'class_1' / 'image_1.png')
    said = words(file, '32x24', '32x32', 'pad_if_needed')
    with begun(batches) as read, pytest.raises(DataError, match=said):
        list(read)


@pytest.mark.parametrize(
    'steps',
    [[dict(type='RandomCrop', crop_size=32, pad_if_needed=True)],
     [dict(type='CenterCrop', crop_size=32, auto_pad=True)],
     [dict(type='ResizeEdge', scale=40), dict(type='CenterCrop', crop_size=32)]],
)  # fmt: skip
def test_every_fix_of_the_message_works(folder, steps):
    assert sum(len(batch['inputs']) for batch in loader(folder, steps)) == 8
    (folder / 'class_1' / 'image_1.png').unlink()
    list(loader(folder, [dict(type='CenterCrop', crop_size=32)]))
    whole = loader(folder, [], batch_size=1)
    assert sum(len(batch['inputs']) for batch in whole) == 7


def test_label_maps_are_named_too(tmp_path):
    from mmseg.structures import SegDataSample

    preprocessor = MODELS.build(dict(_scope_='mmseg', type='SegDataPreProcessor'))
    samples = []
    for i in range(3):
        samples.append(SegDataSample(metainfo=dict(img_path=f'{tmp_path}/{i}.png')))
    sizes = ((32, 32), (24, 32), (32, 32))
    inputs = [torch.zeros(3, *size) for size in sizes]
    data = dict(inputs=inputs, data_samples=samples)
    with pytest.raises(DataError, match=words(f'{tmp_path}/1.png', '32x24', '32x32')):
        preprocessor(data, training=False)
    # mmseg trains on one size alone, which some of its own configs do not set
    with pytest.raises(ConfigError, match=words('model.data_preprocessor.size')):
        preprocessor(data, training=True)
    alone = dict(inputs=inputs[1:2], data_samples=samples[1:2])
    assert preprocessor(alone, training=False)['inputs'].shape == (1, 3, 24, 32)


def miou(truth: list[int], predicted: list[int], **options) -> tuple[float, list[str]]:
    import mmseg.evaluation  # noqa: F401

    judge = METRICS.build(
        dict(_scope_='mmseg', type='IoUMetric', iou_metrics=['mIoU'], **options)
    )
    judge.dataset_meta = dict(classes=('background', 'object', 'rare'))
    judge.process({}, [dict(pred_sem_seg=dict(data=torch.tensor([predicted])),
                            gt_sem_seg=dict(data=torch.tensor([truth])))])  # fmt: skip
    with logged() as lines:
        return judge.evaluate(1)['mIoU'], [line for line in lines if 'mIoU is over' in line]


def test_miou_says_which_classes_it_leaves_out():
    value, (line,) = miou([0, 0, 255, 0], [0, 0, 0, 0])
    assert value == 100
    assert '1 of 3 classes' in line and "'object', 'rare'" in line
    assert miou([0, 1, 2], [0, 0, 2])[1] == []
    assert miou([0, 0, 255, 0], [0, 0, 0, 0], nan_to_num=0)[1] == []


KINDS = ['ImgDataPreprocessor', 'mmdet.DetDataPreprocessor', 'mmseg.SegDataPreProcessor']


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('channels', [1, 2, 3, 4, 13])
def test_each_channel_has_its_own_mean_and_deviation(kind, channels):
    if '.' in kind:
        __import__(f'{kind.split(".")[0]}.models')
    mean = [float(i) for i in range(channels)]
    std = [float(i + 1) for i in range(channels)]
    preprocess = MODELS.build(dict(type=kind, mean=mean, std=std))
    image = torch.full((channels, 4, 4), 10, dtype=torch.uint8)
    (done,) = preprocess(dict(inputs=[image]))['inputs']
    wanted = (10 - torch.tensor(mean)) / torch.tensor(std)
    assert torch.allclose(done[:, 0, 0], wanted)
    assert not preprocess.state_dict()


@pytest.mark.parametrize('values', [dict(mean=[1.0, 2.0]), dict(mean=[1.0] * 4, std=[1.0] * 3)])
def test_what_mmengine_refuses_otherwise_it_still_refuses(values):
    with pytest.raises(AssertionError):
        MODELS.build(dict(type='ImgDataPreprocessor', **values))


@pytest.mark.parametrize('place', ['mmpretrain.models.utils.attention',
                                   'mmdet.models.backbones.swin',
                                   'mmseg.models.backbones.swin'])  # fmt: skip
def test_a_traced_layer_of_swin_takes_any_batch(place):
    kind = importlib.import_module(place).ShiftWindowMSA
    torch.manual_seed(0)
    layer = kind(8, num_heads=2, window_size=4, shift_size=2).eval()
    maps = torch.randn(3, 8, 12, 5)
    windows = torch.stack([
        image[top : top + 4, left : left + 4]
        for image in maps for top in (0, 4) for left in (0, 4, 8)
    ])  # fmt: skip
    own = (4,) if 'mmpretrain' in place else ()
    assert torch.equal(layer.window_reverse(windows, 8, 12, *own), maps)
    network = Maps(layer)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        traced = torch.jit.trace(network, torch.randn(2, 96, 8))
    for number in (1, 3):
        images = torch.randn(number, 96, 8)
        each = torch.cat([network(image[None]) for image in images])
        torch.testing.assert_close(traced(images), each)


class Maps(torch.nn.Module):
    """A layer on maps of 8 x 12 places."""

    def __init__(self, layer: torch.nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.layer(tokens, (8, 12))
