"""Detection: backbone, pyramid and proposal head; adapters and distillation losses."""

from __future__ import annotations

import torch
from mmengine.registry import MODELS
from torch import Tensor

from g2sd_mm.checkpoints.convert import in_our_names
from g2sd_mm.distill.adapters import LevelAdapters
from g2sd_mm.distill.losses.detection import (
    FeatureRichnessLoss,
    ObjectnessDistillationLoss,
    feature_richness,
    feature_richness_loss,
    objectness_distillation_loss,
)

from .golden import Golden, check_gradient, check_gradients, check_loss, check_output

LEVELS = ('p2', 'p3', 'p4', 'p5', 'p6')


def build_proposer(net: dict, out_channels: int) -> torch.nn.ModuleDict:
    """Backbone, pyramid and proposal head in float64, under the names of a detector."""
    parts = dict(
        backbone=dict(
            type='G2SDViTDet',
            arch={key: net[key] for key in ('embed_dim', 'depth', 'num_heads', 'patch_size')},
            img_size=net['img_size'],
            pretrain_img_size=net['pretrain_img_size'],
            window_size=net['window_size'],
            global_blocks=[i for i in range(net['depth']) if i not in net['window_block_indexes']],
        ),
        neck=dict(
            type='SimpleFeaturePyramid',
            in_channels=net['embed_dim'],
            out_channels=out_channels,
            stride=net['patch_size'],
        ),
        rpn_head=dict(
            type='mmdet.Float32RPNHead',
            in_channels=out_channels,
            feat_channels=out_channels,
            num_convs=2,
            anchor_generator=dict(
                type='mmdet.AnchorGenerator',
                scales=[8],
                ratios=[0.5, 1.0, 2.0],
                strides=[net['patch_size'] * scale / 4 for scale in (1, 2, 4, 8, 16)],
            ),
        ),
    )
    return torch.nn.ModuleDict({k: MODELS.build(v) for k, v in parts.items()}).double().eval()


def det(golden: Golden) -> None:
    cfg = golden.meta['cfg']
    model = build_proposer(cfg['net'], cfg['out_channels'])
    model.load_state_dict(in_our_names(golden.below('weights/')))
    levels = _check_forward(golden, '', model, LEVELS)

    # of the reference's scalar: mean cube of p2 .. p5, p6 being a part of p5
    sum((level**3).mean() for level in levels[:4]).backward()
    check_gradients(model, in_our_names(golden.below('grad/')), 'gradient')

    if 'rect/images' in golden.names:
        _check_forward(golden, 'rect/', model, LEVELS)


def _check_forward(golden: Golden, place: str, model, names: tuple) -> list[Tensor]:
    """Compare everything that the file has below ``place``; returns the pyramid."""
    images = golden[f'{place}images']
    blocks: dict[str, Tensor] = {}
    handles = [
        block.register_forward_hook(
            lambda module, args, output, name=f'{place}block{i}': blocks.update({name: output})
        )
        for i, block in enumerate(model['backbone'].blocks)
    ]
    (last,) = maps = model['backbone'](images)
    for handle in handles:
        handle.remove()
    compared = 0
    for name, tokens in blocks.items():
        if name in golden.names:
            rows_columns = golden[name].shape[1:3]
            check_output(tokens.unflatten(1, rows_columns), golden[name], name)
            compared += 1
    assert compared, f'no block outputs below {place!r}'
    check_output(last, golden[f'{place}last_feat'], f'{place}last map')

    levels = model['neck'](maps)
    logits, deltas = model['rpn_head'](levels)
    for i, name in enumerate(names):
        for ours, key in (
            (levels[i], f'{place}{name}'),
            (logits[i], f'{place}rpn_logits/{name}'),
            (deltas[i], f'{place}rpn_deltas/{name}'),
        ):
            if key in golden.names:
                check_output(ours, golden[key], key)
    return levels


def detloss(golden: Golden) -> None:
    names = sorted(name.split('/')[1] for name in golden.names if name.startswith('student_feat/'))
    student = [golden[f'student_feat/{p}'].requires_grad_() for p in names]
    teacher = [golden[f'teacher_feat/{p}'] for p in names]
    own = [golden[f'student_logits/{p}'].requires_grad_() for p in names]
    taught = [golden[f'teacher_logits/{p}'] for p in names]

    channels = student[0].shape[1]
    adapters = LevelAdapters(channels, num_levels=len(names)).double()
    adapters.load_state_dict(golden.below('weights/stu_adapter.'))
    adapted = adapters(student)
    for i, p in enumerate(names):
        check_output(adapted[i], golden[f'adapted/{p}'], f'adapted {p}')
        mask = feature_richness(taught[i])
        check_output(mask, golden[f'mask/{p}'], f'mask {p}')
        check_loss(mask.sum(), golden[f'mask_sum/{p}'], f'mask sum {p}')
        one = slice(i, i + 1)
        feat = feature_richness_loss(adapted[one], teacher[one], taught[one])
        cls = objectness_distillation_loss(own[one], taught[one])
        check_loss(feat, golden[f'feat_loss/{p}'], f'feature loss {p}')
        check_loss(cls, golden[f'cls_loss/{p}'], f'objectness loss {p}')

    feat = feature_richness_loss(adapted, teacher, taught)
    cls = objectness_distillation_loss(own, taught)
    check_loss(feat, golden['feat_loss/total'], 'feature loss')
    check_loss(cls, golden['cls_loss/total'], 'objectness loss')
    _weighted(golden, adapted, teacher, own, taught)

    feat.backward()
    cls.backward()
    for i, p in enumerate(names):
        check_gradient(student[i].grad, golden[f'grad_feat/student_feat/{p}'], f'student {p}')
        check_gradient(own[i].grad, golden[f'grad_cls/student_logits/{p}'], f'logits {p}')
    check_gradients(adapters, golden.below('grad_feat/stu_adapter.'), 'gradient of adapter')


def _weighted(golden: Golden, adapted, teacher, own, taught) -> None:
    """The registered losses with their weights, times the linear warm-up."""
    weights = golden.meta['weights']
    feature = FeatureRichnessLoss(weights['distill_feat_weight'])
    objectness = ObjectnessDistillationLoss(weights['distill_cls_weight'])
    names = {n.split('/')[1] for n in golden.names if n.startswith('weighted/')}
    assert names
    for name in names:
        factor = min(int(name.removeprefix('iter')) / weights['distill_warm_step'], 1.0)
        feat = factor * feature(student=adapted, teacher=teacher, objectness=taught)
        cls = factor * objectness(student=own, teacher=taught)
        check_loss(feat, golden[f'weighted/{name}/feat'], f'{name} feature')
        check_loss(cls, golden[f'weighted/{name}/cls'], f'{name} objectness')
