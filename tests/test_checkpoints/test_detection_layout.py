"""detectron2's ViTDet under mmdet's names."""

from __future__ import annotations

import importlib

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS

import g2sd_mm
from g2sd_mm.checkpoints import CheckpointError, Kind, identify, read_weights
from g2sd_mm.checkpoints.convert import in_our_names, state_for
from g2sd_mm.devices import on_meta_device
from g2sd_mm.distill.teachers import build_teacher

from ..helpers.detectron2_names import detectron2_names


@pytest.fixture(scope='module', autouse=True)
def registered():
    g2sd_mm.register_all()
    for module in ('mmdet.models', 'g2sd_mm.models.coordinates'):
        importlib.import_module(module)


def published(dim: int, heads: int) -> dict[str, torch.Tensor]:
    return {name: torch.ones(shape) for name, shape in detectron2_names(dim, heads).items()}


@pytest.mark.parametrize(
    ('config', 'dim', 'heads', 'parameters'),
    [('g2sd_vits_maskrcnn_nosd', 384, 6, 44_502_096), ('vitb_maskrcnn', 768, 12, 110_895_792)],
)
def test_every_name_and_shape_fits(config, dim, heads, parameters):
    with on_meta_device():
        model = MODELS.build(
            dict(_scope_='mmdet', **Config.fromfile(f'configs/coco/{config}.py').model)
        )
    own = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    names = detectron2_names(dim, heads)
    assert len(names) == 245
    renamed = in_our_names({name: torch.empty(s) for name, s in names.items()})
    assert {name: tuple(tensor.shape) for name, tensor in renamed.items()} == own
    # published: 47,452,496 for the small student, of which 2,950,400 are its adapters
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_what_is_no_weight_is_dropped_and_the_unknown_is_kept():
    state = {
        'pixel_mean': torch.zeros(3),
        'proposal_generator.anchor_generator.cell_anchors.0': torch.zeros(3, 4),
        'stu_adapter.conv.0.weight': torch.zeros(1),
        'roi_heads.keypoint_head.x': torch.zeros(1),
        'roi_heads.box_head.conv4.norm.bias': torch.zeros(1),
    }
    assert set(in_our_names(state)) == {
        'roi_heads.keypoint_head.x',
        'roi_head.bbox_head.shared_convs.3.ln.bias',
    }


def test_serves_as_the_teacher(tmp_path):
    torch.save({'model': published(192, 3)}, tmp_path / 'vitdet.pth')
    weights = read_weights(tmp_path / 'vitdet.pth')
    assert identify(weights.state) is Kind.DETECTRON2
    assert 'roi_head.bbox_head.fc_cls.weight' in state_for(weights)

    teacher = dict(
        config='configs/coco/g2sd_vitt_maskrcnn_nosd.py',
        checkpoint=str(tmp_path / 'vitdet.pth'),
        forward=('backbone', 'neck', 'rpn_head'),
    )
    built = build_teacher(teacher)
    assert built.model.roi_head is None
    assert (built.model.neck.simfp_2[0].weight == 1).all()

    lacking = published(192, 3)
    del lacking['backbone.simfp_5.2.weight']
    torch.save({'model': lacking}, tmp_path / 'vitdet.pth')
    with pytest.raises(CheckpointError, match=r'neck\.simfp_5\.2\.weight'):
        build_teacher(teacher)
