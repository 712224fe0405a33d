"""The preprocessors of all libraries normalise any number of channels."""

from __future__ import annotations

import pytest
import torch
from mmengine.registry import MODELS

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
