"""Segmentation: backbone and pyramid, both map losses, and resizing checkpoints."""

from __future__ import annotations

import torch
from mmengine.registry import MODELS

from g2sd_mm.checkpoints.convert import in_our_names
from g2sd_mm.distill.losses.segmentation import ChannelWiseDivergence, PixelwiseKLDivergence
from g2sd_mm.models import G2SDViTSeg
from g2sd_mm.models.fit import fit_to_image
from g2sd_mm.models.table_attention import table_grid

from .golden import (
    Golden,
    check_exact,
    check_gradient,
    check_gradients,
    check_loss,
    check_output,
)


def seg(golden: Golden) -> None:
    net = golden.meta['cfg']['net']
    model = torch.nn.Module()
    model.backbone = G2SDViTSeg(
        {k: net[k] for k in ('embed_dim', 'depth', 'num_heads')},
        img_size=net['img_size'],
        patch_size=net['patch_size'],
        out_indices=net['out_indices'],
    )
    model.neck = MODELS.build(
        dict(
            _scope_='mmseg',
            type='Feature2Pyramid',
            embed_dim=net['embed_dim'],
            norm_cfg=dict(type='BN', eps=golden.meta['bn_eps']),
        )
    )
    model.double().eval()
    model.load_state_dict(in_our_names(golden.below('weights/')))

    maps = model.backbone(golden['images'])
    for i, own in enumerate(maps):
        tokens = golden[f'tokens{i}'][:, 1:]
        check_output(own.flatten(2).transpose(1, 2), tokens, f'block output {i}')
    outputs = model.neck(maps)
    total = 0.0
    for i, own in enumerate(outputs):
        check_output(own, golden[f'out{i}'], f'scale {i}')
        total = total + (own * golden[f'cot{i}']).sum()
    total.backward()
    gradients = {f'backbone.{n}': g for n, g in golden.below('grad/').items()}
    check_gradients(model, in_our_names(gradients), 'gradient')


def segloss(golden: Golden) -> None:
    teacher = golden['logits_teacher']
    cases = [name[: -len('/loss')] for name in golden.names if name.endswith('/loss')]
    assert cases
    for case in cases:
        # {cwd|kl}[_self|_sum|_batchmean]_t{temperature}_w{weight}
        kind, *variant, tau, weight = case.split('_')
        kwargs = dict(tau=float(tau[1:]), loss_weight=float(weight[1:]))
        if kind == 'kl' and variant:
            kwargs['reduction'] = variant[0]
        loss = dict(cwd=ChannelWiseDivergence, kl=PixelwiseKLDivergence)[kind](**kwargs)
        start = teacher.clone() if 'self' in variant else golden['logits_student']
        student = start.requires_grad_()
        value = loss(student=student, teacher=teacher)
        check_loss(value, golden[f'{case}/loss'], case)
        value.backward()
        if f'{case}/grad' in golden.names:
            check_gradient(student.grad, golden[f'{case}/grad'], case)
        elif 'self' in variant:
            assert student.grad.abs().max() < 1e-12, f'{case}: gradient is not zero'


def _backbone(grid: int, dim: int, heads: int, depth: int) -> G2SDViTSeg:
    arch = dict(embed_dim=dim, depth=depth, num_heads=heads)
    return G2SDViTSeg(arch, img_size=16 * grid, patch_size=16, out_indices=[depth - 1])


def segckpt(golden: Golden) -> None:
    """Resized as a backbone resizes what it is initialised from; float32 as published."""
    table = 'blocks.{}.attn.relative_position_bias_table'

    before, after = golden['pos/before'].float(), golden['pos/after']
    grid = round((after.shape[1] - 1) ** 0.5)
    backbone = _backbone(grid, before.shape[2], 1, depth=1)
    fitted = backbone.fit_state({'pos_embed': before})['pos_embed']
    check_output(fitted, after, 'positions', atol=1e-6)
    patches = {'backbone.patch_embed.proj.weight': torch.zeros(1, 3, 16, 16)}
    fitted = fit_to_image({**patches, 'backbone.pos_embed': before}, 16 * grid)
    check_output(fitted['backbone.pos_embed'], after, 'converted positions', atol=1e-6)

    cases = sorted({name.split('/')[1] for name in golden.names if name.startswith('rel/')})
    assert cases
    for case in cases:
        before = golden.below(f'rel/{case}/before/')
        after = golden.below(f'rel/{case}/after/')
        side, heads = table_grid(len(after['0']))[0], after['0'].shape[1]
        state = {table.format(i): t.float() for i, t in before.items()}
        state['blocks.0.attn.relative_position_index'] = torch.zeros(2, 2, dtype=torch.int64)
        fitted = _backbone(side, 8 * heads, heads, len(before)).fit_state(state)
        assert set(fitted) == {table.format(i) for i in before}
        for i, wanted in after.items():
            check_output(fitted[table.format(i)], wanted, f'table {case} {i}', atol=1e-5)
        state = {f'backbone.{table.format(i)}': t.float() for i, t in before.items()}
        fitted = fit_to_image({**patches, **state}, 16 * side)
        for i, wanted in after.items():
            own = fitted[f'backbone.{table.format(i)}']
            check_output(own, wanted, f'converted table {case} {i}', atol=1e-5)

    after = golden.below('shared/after/')
    rows, heads = golden['shared/table'].shape
    side = table_grid(rows)[0]
    backbone = _backbone(side, 8 * heads, heads, len(after))
    shared = {'rel_pos_bias.relative_position_bias_table': golden['shared/table']}
    fitted = backbone.fit_state(shared)
    assert set(fitted) == {table.format(i) for i in after}
    for i, wanted in after.items():
        check_exact(fitted[table.format(i)], wanted, f'shared table in block {i}')

    before = golden['patch14/before'].float()
    fitted = backbone.fit_state({'patch_embed.proj.weight': before})['patch_embed.proj.weight']
    check_output(fitted, golden['patch14/after'], '14-pixel patches', atol=1e-6)
