"""The detection backbone, its attention, the pyramid, and the modules around mmdet's heads."""

from __future__ import annotations

import importlib

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS
from torch.utils._python_dispatch import TorchDispatchMode

import g2sd_mm
from g2sd_mm.checkpoints import CheckpointError
from g2sd_mm.checkpoints.convert import in_our_names
from g2sd_mm.distill.adapters import LevelAdapters
from g2sd_mm.distill.losses.detection import feature_richness_loss, objectness_distillation_loss
from g2sd_mm.models import ChannelLayerNorm, G2SDViTDet, MaskedAutoencoder, SimpleFeaturePyramid
from g2sd_mm.models.decomposed_attention import (
    DecomposedAttention,
    decomposed_attention,
    join_windows,
    pays_off,
    relative_table,
    split_windows,
)

from ..helpers import full_size
from ..helpers.detectron2_names import detectron2_names

ARCH = dict(embed_dim=24, depth=4, num_heads=3)
FUSED = '_scaled_dot_product_flash_attention_for_cpu'


@pytest.fixture(scope='module', autouse=True)
def registered():
    g2sd_mm.register_all()
    for module in ('mmdet.models', 'g2sd_mm.models.coordinates', 'g2sd_mm.models.instance_tta'):
        importlib.import_module(module)


class Operators(TorchDispatchMode):
    """Names of the operators that ran, and the size of the largest tensor that one put out."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.add(func.__name__.partition('.')[0])
        output = func(*args, **(kwargs or {}))
        for item in output if isinstance(output, (tuple, list)) else (output,):
            if isinstance(item, torch.Tensor):
                self.largest = max(self.largest, item.numel())
        return output


def backbone(img_size: int = 128, **kwargs) -> G2SDViTDet:
    torch.manual_seed(0)
    kwargs.setdefault('global_blocks', (1, 3))
    model = G2SDViTDet(
        ARCH, img_size=img_size, pretrain_img_size=64, patch_size=16, window_size=3, **kwargs
    )
    model.init_weights()
    for name, parameter in model.named_parameters():
        if 'rel_pos' in name:
            torch.nn.init.normal_(parameter, std=0.5)
    return model


def written_out(q, k, v, rows, columns):
    """The published formula, with the map of logits."""
    R, C = len(rows), len(columns)
    y = torch.arange(R).repeat_interleave(C)
    x = torch.arange(C).repeat(R)
    bias = torch.einsum('bhqd,qkd->bhqk', q, rows[y][:, y])
    bias = bias + torch.einsum('bhqd,qkd->bhqk', q, columns[x][:, x])
    return (q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5 + bias).softmax(-1) @ v


@pytest.mark.parametrize('band', [512, 6])  # the second: in bands, the last one cut short
@pytest.mark.parametrize('grid', [(5, 5), (4, 7)])
def test_attention_equals_the_formula(grid, band, monkeypatch):
    monkeypatch.setattr('g2sd_mm.models.decomposed_attention._BAND', band)
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 3, grid[0] * grid[1], 8).double().requires_grad_() for _ in 'qkv')
    tables = [torch.randn(2 * side - 1, 8).double().requires_grad_() for side in grid]
    results = []
    for attention in (decomposed_attention, written_out):
        rows, columns = (relative_table(t, side) for t, side in zip(tables, grid, strict=True))
        out = attention(q, k, v, rows, columns)
        results.append((out, *torch.autograd.grad(out.sin().sum(), (q, k, v, *tables))))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_bands_compute_what_further_channels_do(dtype, monkeypatch):
    torch.manual_seed(0)
    inputs = [torch.randn(2, 2, 7 * 6, 8).to(dtype).requires_grad_() for _ in 'qkv']
    tables = [torch.randn(side, side, 8).to(dtype).requires_grad_() for side in (7, 6)]
    results = []
    for band in (512, 16):
        monkeypatch.setattr('g2sd_mm.models.decomposed_attention._BAND', band)
        assert pays_off(inputs[0]) == (band == 16)
        out = decomposed_attention(*inputs, *tables)
        assert out.dtype == dtype
        results.append((out, *torch.autograd.grad(out.sin().sum(), (*inputs, *tables))))
    for channels, bands in zip(*results, strict=True):
        limit = 1e-5 if dtype == torch.float32 else 0.03
        assert (channels - bands).abs().max() < limit * channels.abs().max()


def test_exporters_get_one_plain_expression(monkeypatch):
    monkeypatch.setattr('g2sd_mm.models.decomposed_attention._BAND', 1)
    q = torch.randn(1, 1, 4, 8)
    assert pays_off(q)
    assert not pays_off(q.to('meta'))
    monkeypatch.setattr(torch.jit, 'is_tracing', lambda: True)
    assert not pays_off(q)


def test_relative_table_counts_from_query_minus_key():
    table = torch.arange(5.0).unsqueeze(1)  # distances -2 .. 2 of a side of 3
    assert relative_table(table, 3)[..., 0].tolist() == [[2, 1, 0], [3, 2, 1], [4, 3, 2]]
    assert relative_table(table, 2).shape == (2, 2, 1)  # resized
    assert relative_table(table.half(), 4).dtype == torch.float16


def test_windows_come_back_in_place():
    x = torch.randn(2, 5 * 7, 4)
    windows = split_windows(x, (5, 7), 3)
    assert windows.shape == (2 * 2 * 3, 9, 4)
    assert torch.equal(join_windows(windows, (5, 7), 3), x)
    # bottom right window: padded below and to the right
    assert torch.equal(windows[5].reshape(3, 3, 4)[2], torch.zeros(3, 4))


def test_attention_stays_fused_in_training():
    model = backbone().train()
    with Operators() as seen:
        model(torch.randn(2, 3, 128, 96))[0].mean().backward()
    assert {FUSED, f'{FUSED}_backward'} <= seen.names
    assert not any('attention_math' in name or name == '_softmax' for name in seen.names)


def test_global_attention_never_holds_the_map_of_logits():
    tokens = 64 * 64  # of a 1024 px image
    attention = DecomposedAttention(32, 2, grid=(64, 64))
    with Operators() as seen:
        attention(torch.randn(1, tokens, 32), (64, 64)).mean().backward()
    assert FUSED in seen.names
    assert seen.largest <= tokens * tokens / 8


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_attention_stays_fused_on_a_gpu(dtype):
    model = backbone().cuda().train()
    with Operators() as seen, torch.autocast('cuda', dtype, enabled=dtype != torch.float32):
        model(torch.randn(2, 3, 128, 96, device='cuda'))[0].mean().backward()
    assert any('flash' in n or 'efficient' in n or 'cudnn' in n for n in seen.names)
    assert '_softmax' not in seen.names


def test_any_multiple_of_the_patch_size():
    model = backbone().eval()
    for height, width in ((128, 128), (48, 160), (16, 16)):
        (out,) = model(torch.randn(1, 3, height, width))
        assert out.shape == (1, 24, height // 16, width // 16)
    with pytest.raises(ValueError, match='multiple'):
        model(torch.randn(1, 3, 100, 128))
    with pytest.raises(ValueError, match='global_blocks'):
        backbone(global_blocks=(1, 4))


def test_every_parameter_learns():
    model = backbone()
    model(torch.randn(1, 3, 128, 128))[0].square().mean().backward()
    still = [n for n, p in model.named_parameters() if p.grad is None]
    assert not still
    assert model.pos_embed.shape == (1, 1 + 4 * 4, 24)  # the pre-training grid, with its class row


def test_relative_positions_start_at_zero():
    model = G2SDViTDet(ARCH, img_size=64, pretrain_img_size=64, patch_size=16, global_blocks=(1,))
    model.init_weights()
    assert all(not p.any() for n, p in model.named_parameters() if 'rel_pos' in n)
    assert 0.01 < model.blocks[0].attn.qkv.weight.std() < 0.03


def save(path, model) -> str:
    torch.save({'model': model.state_dict()}, path)
    return str(path)


def test_starts_from_a_stage_1_student(tmp_path):
    student = MaskedAutoencoder(ARCH, dict(embed_dim=16, depth=1, num_heads=2), 64, 16)
    student.init_weights()
    file = save(tmp_path / 'student.pth', student)
    model = G2SDViTDet(
        ARCH,
        img_size=128,
        pretrain_img_size=64,
        patch_size=16,
        global_blocks=(3,),
        init_cfg=dict(type='Pretrained', checkpoint=file),
    )
    model.init_weights()
    own, given = model.state_dict(), student.state_dict()
    shared = set(own) & set(given)
    assert all(torch.equal(own[name], given[name]) for name in shared)
    assert all('rel_pos' in name for name in set(own) - shared)

    other = G2SDViTDet(
        dict(embed_dim=48, depth=4, num_heads=3),
        init_cfg=dict(type='Pretrained', checkpoint=file),
        global_blocks=(3,),
    )
    with pytest.raises(CheckpointError, match=r'student\.pth'):
        other.init_weights()


def test_starts_from_a_detector_for_other_sizes():
    small, large = backbone(img_size=128), backbone(img_size=256)
    fitted = large.fit_state(small.state_dict())
    assert fitted['blocks.1.attn.rel_pos_h'].shape == (31, 8)
    assert fitted['blocks.0.attn.rel_pos_h'].shape == (5, 8)  # a window stays a window


def test_channel_norm_is_layer_norm_over_channels():
    norm = ChannelLayerNorm(6).double()
    torch.nn.init.normal_(norm.weight)
    x = torch.randn(2, 6, 3, 4).double()
    mean, var = x.mean(1, keepdim=True), x.var(1, keepdim=True, unbiased=False)
    expected = (x - mean) / (var + 1e-6).sqrt() * norm.weight[:, None, None]
    torch.testing.assert_close(norm(x), expected + norm.bias[:, None, None])
    assert not isinstance(norm, torch.nn.LayerNorm)  # so that it is decayed, as published


def test_mmcv_builds_the_channel_norm_by_name():
    from mmcv.cnn import ConvModule

    module = ConvModule(3, 6, 3, padding=1, norm_cfg=dict(type='ChannelLN', eps=1e-6))
    assert set(module.state_dict()) == {'conv.weight', 'ln.weight', 'ln.bias'}
    assert module.ln.eps == 1e-6
    assert module(torch.randn(1, 3, 5, 5)).shape == (1, 6, 5, 5)


def test_the_pyramid_has_the_strides_of_its_factors():
    levels = SimpleFeaturePyramid(24, 8)((torch.randn(1, 24, 8, 6),))
    sizes = [(32, 24), (16, 12), (8, 6), (4, 3), (2, 2)]
    assert [tuple(level.shape) for level in levels] == [(1, 8, *size) for size in sizes]
    demo = SimpleFeaturePyramid(24, 8, stride=8, scale_factors=(2, 1, 0.5))
    assert [len(level.unique()) > 0 for level in demo((torch.randn(1, 24, 8, 8),))] == [True] * 4
    assert {name.split('.')[0] for name in demo.state_dict()} == {'simfp_2', 'simfp_3', 'simfp_4'}
    with pytest.raises(ValueError, match='scale_factors'):
        SimpleFeaturePyramid(24, scale_factors=(8,))


def extractor(kind: str):
    return MODELS.build(
        dict(
            type=f'mmdet.{kind}',
            roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=0),
            out_channels=1,
            featmap_strides=[4, 8],
        )
    )


def test_regions_keep_their_coordinates_in_half_precision():
    ramp = torch.arange(256.0).expand(1, 1, 256, 256)  # the pooled value tells the place
    levels = (ramp, ramp[..., ::2, ::2])
    rois = torch.tensor([[0.0, 1001.7, 500.3, 1012.9, 511.1]])
    exact = extractor('SingleRoIExtractor')(levels, rois).mean()
    half = tuple(level.bfloat16() for level in levels)
    ours = extractor('Float32RoIExtractor')(half, rois)
    assert ours.dtype == torch.bfloat16
    # what is left is the rounding of the result, half a unit at 250
    assert abs(ours.float().mean() - exact) <= 0.51
    double = extractor('Float32RoIExtractor')(tuple(x.double() for x in levels), rois.double())
    assert double.dtype == torch.float64


def test_proposals_are_predicted_in_float32():
    head = MODELS.build(
        dict(
            type='mmdet.Float32RPNHead',
            in_channels=8,
            feat_channels=8,
            num_convs=2,
            anchor_generator=dict(
                type='mmdet.AnchorGenerator', scales=[8], ratios=[1.0], strides=[4]
            ),
        )
    )
    assert set(head.state_dict()) >= {'rpn_conv.1.conv.weight', 'rpn_cls.bias', 'rpn_reg.bias'}
    with torch.autocast('cpu', torch.bfloat16):
        logits, deltas = head((torch.randn(1, 8, 6, 6),))
    assert logits[0].dtype == deltas[0].dtype == torch.float32


class _Tested(torch.nn.Module):
    def test_step(self, data): ...


def test_views_are_merged_with_their_masks():
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

    def view(flip: bool, box: list[float], score: float) -> DetDataSample:
        mask = torch.zeros(1, 10, 20, dtype=torch.bool)
        mask[0, int(box[1]) : int(box[3]), int(box[0]) : int(box[2])] = True
        sample = DetDataSample(
            metainfo=dict(ori_shape=(10, 20), flip=flip, flip_direction='horizontal')
        )
        sample.pred_instances = InstanceData(
            bboxes=torch.tensor([box]),
            scores=torch.tensor([score]),
            labels=torch.tensor([1]),
            masks=mask,
        )
        return sample

    merger = MODELS.build(
        dict(
            type='mmdet.InstanceTTAModel',
            tta_cfg=ConfigDict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=5),
            module=_Tested(),
        )
    )
    # the same object: at 2..6 as it is, at 14..18 in the mirror, where it scores higher
    pair = [view(False, [2, 3, 6, 8], 0.5), view(True, [14, 3, 18, 8], 0.9)]
    (merged,) = merger.merge_preds([pair])
    found = merged.pred_instances
    assert found.bboxes.tolist() == [[2, 3, 6, 8]]
    assert found.scores.tolist() == pytest.approx([0.9])
    assert found.masks[0, 3:8, 2:6].all()
    assert found.masks.sum() == 20


@pytest.mark.slow
def test_vitdet_ti_computes_what_the_published_modules_do():
    """ViTDet-Ti at 1024 px with computed weights against the published modules' outputs."""
    expected = full_size.samples('det_tiny')
    cfg = Config.fromfile('configs/coco/g2sd_vitt_maskrcnn_nosd.py')
    cfg.model.backbone.init_cfg = None
    model = MODELS.build(dict(_scope_='mmdet', **cfg.model)).eval()
    official = in_our_names({name: name for name in detectron2_names(192, 3)})
    full_size.fill(model, official.__getitem__)
    adapters = LevelAdapters().eval()
    full_size.fill(adapters, lambda name: f'stu_adapter.{name}')

    with torch.no_grad():
        levels = model.neck(model.backbone(4 * full_size.noise('image1024', (1, 3, 1024, 1024))))
        adapted = adapters(levels)
        logits, deltas = model.rpn_head(levels)
        for i, name in enumerate(expected['order']):
            full_size.check_summary(levels[i], expected['feats'][name], name)
            full_size.check_summary(adapted[i], expected['adapter'][i], f'adapted {name}')
            full_size.check_summary(logits[i], expected['objectness'][i], f'objectness {name}')
            full_size.check_summary(deltas[i], expected['deltas'][i], f'deltas {name}')
        taught = [x + 0.1 * full_size.noise(f'tf{i}', x.shape) for i, x in enumerate(levels)]
        sure = [x + full_size.noise(f'to{i}', x.shape) for i, x in enumerate(logits)]
        feature = feature_richness_loss(adapted, taught, sure)
        objectness = objectness_distillation_loss(logits, sure)
        assert feature.item() == pytest.approx(expected['frs_feat_raw'], rel=1e-4)
        assert objectness.item() == pytest.approx(expected['frs_cls_raw'], rel=1e-4)

        box, mask = model.roi_head.bbox_head, model.roi_head.mask_head
        x = full_size.noise('roi7', (2, 256, 7, 7))
        for conv in box.shared_convs:
            x = conv(x)
        hidden = box.shared_fcs[0](x.flatten(1)).relu()
        full_size.check_summary(hidden, expected['box_fc'], 'box feature')
        scores, boxes = box(full_size.noise('roi7', (2, 256, 7, 7)))
        full_size.check_summary(scores, expected['cls_score'], 'class scores')
        full_size.check_summary(boxes, expected['bbox_pred'], 'boxes')
        masks = mask(full_size.noise('roi14', (2, 256, 14, 14)))
        full_size.check_summary(masks, expected['mask'], 'masks')
