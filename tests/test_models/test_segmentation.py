"""The segmentation backbone: attention with a table of biases, sizes, weights of other models."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch.utils._python_dispatch import TorchDispatchMode

from g2sd_mm.checkpoints import CheckpointError
from g2sd_mm.checkpoints.convert import in_our_names
from g2sd_mm.distill.losses.segmentation import ChannelWiseDivergence, PixelwiseKLDivergence
from g2sd_mm.models import G2SDViTSeg, MaskedAutoencoder, table_attention
from g2sd_mm.models.table_attention import (
    TableAttention,
    relative_bias,
    resize_relative_table,
    table_grid,
    table_rows,
)

from ..helpers import full_size

ARCH = dict(embed_dim=24, depth=4, num_heads=3)
FUSED = '_scaled_dot_product_flash_attention_for_cpu'


class Operators(TorchDispatchMode):
    """Names of the operators that ran."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.add(func.__name__.partition('.')[0])
        return func(*args, **(kwargs or {}))


def backbone(img_size: int = 64, **kwargs) -> G2SDViTSeg:
    torch.manual_seed(0)
    kwargs.setdefault('out_indices', (0, 1, 2, 3))
    model = G2SDViTSeg(ARCH, img_size=img_size, patch_size=16, **kwargs)
    model.init_weights()
    for block in model.blocks:
        torch.nn.init.normal_(block.attn.relative_position_bias_table)
    return model


def attention(dtype=torch.float32) -> tuple[TableAttention, torch.Tensor]:
    torch.manual_seed(0)
    layer = TableAttention(24, 3, (3, 5)).to(dtype)
    torch.nn.init.normal_(layer.relative_position_bias_table)
    return layer, torch.randn(2, 16, 24, dtype=dtype, requires_grad=True)


def plain_attend(q, k, v, table, grid):
    """The definition, written out pair by pair."""
    rows, columns = grid
    N = 1 + rows * columns
    line = torch.empty(N, N, dtype=torch.long)
    for i in range(N):
        for j in range(N):
            if i and j:
                (yi, xi), (yj, xj) = divmod(i - 1, columns), divmod(j - 1, columns)
                line[i, j] = (yi - yj + rows - 1) * (2 * columns - 1) + xi - xj + columns - 1
            else:
                # patch to patch would be i and j > 0; cls -> patch, patch -> cls, cls -> cls
                line[i, j] = len(table) - (1 if i == j else 3 if i == 0 else 2)
    logits = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5 + table[line].permute(2, 0, 1)
    return logits.softmax(-1) @ v


@pytest.mark.parametrize('chunk', [1, 2**22])
def test_attention_and_its_gradients_follow_the_definition(monkeypatch, chunk):
    monkeypatch.setitem(table_attention._CHUNK, 'cpu', chunk)  # head by head, all at once
    layer, _ = attention(torch.float64)
    inputs = [torch.randn(2, 3, 16, 8, dtype=torch.float64).requires_grad_() for _ in 'qkv']
    inputs.append(layer.relative_position_bias_table)
    weight = torch.randn(2, 3, 16, 8, dtype=torch.float64)
    own = layer.attend(*inputs[:3], (3, 5))
    wanted = plain_attend(*inputs, (3, 5))
    torch.testing.assert_close(own, wanted, rtol=1e-12, atol=1e-12)
    own_gradients = torch.autograd.grad((own * weight).sum(), inputs)
    wanted_gradients = torch.autograd.grad((wanted * weight).sum(), inputs)
    for ours, theirs in zip(own_gradients, wanted_gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('training', [True, False])
def test_forward_runs_the_fused_kernel(dtype, training):
    layer, x = attention(dtype)
    assert layer.relative_position_bias_table.requires_grad
    with torch.set_grad_enabled(training), Operators() as ran:
        layer(x)
    assert FUSED in ran.names


def test_torch_alone_would_leave_the_fused_kernel():
    """The reason for a backward pass of our own; if this fails, torch has learnt to do it."""
    q, mask = torch.randn(1, 1, 4, 8), torch.randn(1, 1, 4, 4, requires_grad=True)
    with Operators() as ran:
        F.scaled_dot_product_attention(q, q, q, attn_mask=mask)
    assert FUSED not in ran.names


def test_bfloat16_autocast_is_fused_and_close_to_float32():
    layer, x = attention()

    def gradients(enabled: bool) -> dict:
        layer.zero_grad()
        with torch.autocast('cpu', torch.bfloat16, enabled=enabled), Operators() as ran:
            out = layer(x)
        out.float().square().sum().backward()
        assert FUSED in ran.names
        return {name: p.grad.clone() for name, p in layer.named_parameters()}

    full, half = gradients(False), gradients(True)
    for name, gradient in full.items():
        assert half[name].dtype == torch.float32
        error = (half[name] - gradient).norm() / gradient.norm()
        assert error < 0.03, f'{name}: {error:.3f}'


def test_backward_pass_keeps_nothing_of_tokens_squared():
    layer, kept = TableAttention(24, 3, (16, 16)), []
    hooks = torch.autograd.graph.saved_tensors_hooks(
        lambda t: kept.append(t.numel()) or t, lambda t: t
    )
    with hooks:
        layer(torch.randn(1, 257, 24))
    assert max(kept) < 257 * 257  # one head's worth of one image


@pytest.mark.gpu
def test_gpu_gives_the_gradients_of_the_cpu():
    if not torch.cuda.is_available():
        pytest.skip('no CUDA device')
    layer, x = attention()
    layer(x).square().sum().backward()
    wanted = layer.relative_position_bias_table.grad.clone()
    layer.zero_grad()
    layer.cuda()(x.detach().cuda()).square().sum().backward()
    own = layer.relative_position_bias_table.grad.cpu()
    torch.testing.assert_close(own, wanted, rtol=1e-3, atol=1e-3)


def test_index_is_shared_and_not_saved(monkeypatch):
    make, made = table_attention.relative_index, []
    monkeypatch.setattr(
        table_attention, 'relative_index', lambda *args: made.append(args) or make(*args)
    )
    table_attention._indices.clear()
    model = backbone()
    assert not any('index' in name for name in model.state_dict())
    for _ in range(2):
        model(torch.randn(1, 3, 64, 64))
    assert len(made) == 1


def test_few_indices_are_kept(monkeypatch):
    monkeypatch.setattr(table_attention, '_MOST_INDICES', 2)
    table_attention._indices.clear()
    for grid in ((1, 2), (2, 2), (1, 3), (1, 2)):
        wanted = table_attention.relative_index(grid, torch.device('cpu'))
        assert torch.equal(table_attention._index(grid, torch.device('cpu')), wanted)
        assert len(table_attention._indices) <= 2


@pytest.mark.parametrize('grid', [(3, 5), (4, 4)])
def test_a_size_first_seen_in_inference_mode_trains_later(grid):
    table_attention._indices.clear()
    layer, _ = attention(torch.float64)
    x = torch.randn(1, 1 + grid[0] * grid[1], 24, dtype=torch.float64)
    with torch.inference_mode():
        layer(x, grid)
    layer(x, grid).sum().backward()
    assert layer.relative_position_bias_table.grad is not None


def test_every_parameter_is_used():
    model = backbone()
    sum(out.square().sum() for out in model(torch.randn(2, 3, 64, 64))).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []


def test_blocks_after_the_last_output_are_frozen_and_not_run():
    model = backbone(out_indices=(0, 2))
    assert len(model(torch.randn(1, 3, 64, 64))) == 2
    frozen = {n.split('.')[1] for n, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {'3'}


def test_layer_scale_and_tables_start_where_the_release_starts_them():
    model = G2SDViTSeg(ARCH, img_size=64, patch_size=16, out_indices=(3,))
    model.init_weights()
    for block in model.blocks:
        assert (block.gamma_1 == 1).all() and (block.gamma_2 == 1).all()
        assert block.attn.relative_position_bias_table.shape == (7 * 7 + 3, 3)
        assert not block.attn.relative_position_bias_table.any()


def test_outputs_are_the_raw_stream_of_the_blocks():
    model = backbone(out_indices=(1, 3)).eval()
    images = torch.randn(1, 3, 64, 64)
    x, grid = model.embed(images)
    for i, block in enumerate(model.blocks):
        x = block(x, grid)
        if i == 1:
            first = x[0, 1:].t().reshape(24, 4, 4)
    out = model(images)
    assert torch.equal(out[0][0], first)
    assert torch.equal(out[1][0], x[0, 1:].t().reshape(24, 4, 4))


@pytest.mark.parametrize('size', [(96, 48), (32, 128), (16, 16), (64, 80)])
def test_other_input_sizes_run_and_train(size):
    model = backbone()
    outputs = model(torch.randn(1, 3, *size))
    assert all(out.shape == (1, 24, size[0] // 16, size[1] // 16) for out in outputs)
    outputs[-1].sum().backward()
    assert model.blocks[0].attn.relative_position_bias_table.grad.abs().sum() > 0


def test_a_size_that_does_not_divide_is_refused():
    with pytest.raises(ValueError, match=r'60x64 px does not divide into patches of 16 px'):
        backbone()(torch.randn(1, 3, 60, 64))


def test_a_model_loaded_at_another_size_agrees_with_resizing_at_run_time():
    small, large = backbone(64).eval(), backbone(96).eval()
    large.load_state_dict(large.fit_state(small.state_dict()))
    images = torch.randn(1, 3, 96, 96)
    for ours, theirs in zip(small(images), large(images), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_resizing_keeps_the_middle_the_corners_and_the_class_rows():
    table = torch.randn(table_rows((5, 5)), 2, dtype=torch.float64)
    resized = resize_relative_table(table, (5, 5), (8, 6))
    maps = table[:-3].reshape(9, 9, 2)
    larger = resized[:-3].reshape(15, 11, 2)
    assert torch.equal(resized[-3:], table[-3:])
    torch.testing.assert_close(larger[7, 5], maps[4, 4])  # offset 0
    # the ends are met up to the published bisection's 1e-6
    torch.testing.assert_close(larger[0, 0], maps[0, 0], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(larger[8, 5], maps[5, 4])  # the next row is the next row


def test_a_smaller_grid_takes_the_offsets_that_it_has():
    table = torch.randn(table_rows((4, 4)), 3)
    bias = relative_bias(resize_relative_table(table, (4, 4), (2, 3)), (2, 3))
    whole = relative_bias(table, (4, 4))
    kept = [0, 1, 2, 3, 5, 6, 7]  # class token and a 2 x 3 corner of the 4 x 4 patches
    assert torch.equal(bias, whole[:, kept][:, :, kept])


def test_table_of_no_square_grid_is_refused():
    assert table_grid(3972) == (32, 32)
    with pytest.raises(ValueError, match='3971 rows fits no square'):
        table_grid(3971)


def test_unknown_output_block_is_refused():
    with pytest.raises(ValueError, match=r'out_indices=\(4,\) must be blocks 0\.\.3'):
        backbone(out_indices=(4,))


def test_starts_from_a_masked_autoencoder(tmp_path):
    encoder = MaskedAutoencoder(ARCH, dict(embed_dim=16, depth=1, num_heads=2), 32, 16)
    encoder.init_weights()
    torch.save({'model': encoder.state_dict()}, tmp_path / 'mae.pth')
    init = dict(type='Pretrained', checkpoint=str(tmp_path / 'mae.pth'))
    model = G2SDViTSeg(ARCH, 64, 16, out_indices=(3,), init_cfg=init)
    model.init_weights()
    assert torch.equal(model.blocks[2].attn.qkv.weight, encoder.blocks[2].attn.qkv.weight)
    assert torch.equal(model.pos_embed[:, 0], encoder.pos_embed[:, 0])
    wider = G2SDViTSeg(dict(ARCH, embed_dim=48), 64, 16, out_indices=(3,), init_cfg=init)
    with pytest.raises(CheckpointError, match=r'mae\.pth cannot serve.*another size'):
        wider.init_weights()


def test_starts_from_a_published_file_with_a_shared_table(tmp_path):
    model = backbone()
    state = {k: v for k, v in model.state_dict().items() if 'bias_table' not in k}
    shared = torch.randn(table_rows((4, 4)), 3)
    state['rel_pos_bias.relative_position_bias_table'] = shared
    torch.save({'model': state}, tmp_path / 'beit.pth')
    init = dict(type='Pretrained', checkpoint=str(tmp_path / 'beit.pth'))
    other = G2SDViTSeg(ARCH, 64, 16, out_indices=(3,), init_cfg=init)
    other.init_weights()
    for block in other.blocks:
        assert torch.equal(block.attn.relative_position_bias_table, shared)


@pytest.mark.slow
def test_full_size_reference_numbers():
    norm = dict(type='BN')
    head = dict(num_classes=150, norm_cfg=norm, align_corners=False)
    model = MODELS.build(
        dict(
            _scope_='mmseg',
            type='EncoderDecoder',
            backbone=dict(type='G2SDViTSeg', arch='tiny'),
            neck=dict(type='Feature2Pyramid', embed_dim=192, norm_cfg=norm),
            decode_head=dict(
                type='UPerHead',
                in_channels=[192] * 4,
                in_index=[0, 1, 2, 3],
                channels=192,
                pool_scales=(1, 2, 3, 6),
                **head,
            ),
            auxiliary_head=dict(
                type='FCNHead',
                in_channels=192,
                in_index=2,
                channels=256,
                num_convs=1,
                concat_input=False,
                **head,
            ),
            test_cfg=dict(mode='whole'),
        )
    ).eval()
    to_official = {'neck.upsample_4x.': 'backbone.fpn1.', 'neck.upsample_2x.': 'backbone.fpn2.'}

    def official(name: str) -> str:
        for ours, theirs in to_official.items():
            name = name.replace(ours, theirs)
        return name

    names = {official(name): name for name in model.state_dict()}
    assert in_our_names(names) == {name: name for name in names.values()}
    full_size.fill(model, official)
    expected = full_size.samples('seg_tiny')
    with torch.no_grad():
        features = model.extract_feat(4 * full_size.noise('image512', (1, 3, 512, 512)))
        logits = model.decode_head(features)
        auxiliary = model.auxiliary_head(features)
    for i, (own, wanted) in enumerate(zip(features, expected['feats'], strict=True)):
        full_size.check_summary(own, wanted, f'scale {i}')
    full_size.check_summary(logits, expected['decode_conv_seg'], 'logits')
    full_size.check_summary(auxiliary, expected['aux_conv_seg'], 'auxiliary logits')
    teacher = logits + 0.5 * full_size.noise('perturb', logits.shape)
    for loss, key in (
        (ChannelWiseDivergence(loss_weight=3.0), 'cwd_tau1_w3'),
        (PixelwiseKLDivergence(loss_weight=3.0), 'kl_tau1_w3'),
    ):
        value = loss(student=logits, teacher=teacher).item()
        assert value == pytest.approx(expected[key], rel=1e-4), key
