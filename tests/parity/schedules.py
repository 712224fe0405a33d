"""Learning-rate schedules and parameter groups (``lr*.json``)."""

from __future__ import annotations

import math

import torch
from torch import nn

from g2sd_mm.engine.optimizers import ViTLayerDecayConstructor, layer_decay_scale
from g2sd_mm.engine.schedules import warmup_cosine, warmup_multistep, warmup_poly
from g2sd_mm.models.vit import VisionTransformer

RTOL = 1e-9


def close(ours: float, golden: float, what: str) -> None:
    assert math.isclose(ours, golden, rel_tol=RTOL, abs_tol=1e-300), f'{what}: {ours} for {golden}'


def lr(content: dict) -> None:
    _schedules(content)
    for name, layer_decay, no_decay, names in (
        ('sd_student', True, 'one_dimensional', ('pos_embed', 'cls_token')),
        ('plain_finetune_gap', True, 'one_dimensional', ('pos_embed', 'cls_token')),
        ('gd_student', False, 'one_dimensional', ()),
        ('seg_student_distill', True, 'one_dimensional', ()),
        ('seg_plain', True, 'one_dimensional', ()),
        ('det_student', True, 'layer_norm', ('pos_embed',)),
    ):
        block = content[name]
        rate = block['layer_decay'] if layer_decay else 1.0
        _groups(name, block, rate, no_decay, names)
        if 'id_to_scale_depth12' in block:
            for layer, scale in enumerate(block['id_to_scale_depth12']):
                close(layer_decay_scale(rate, layer, 12), scale, f'{name} layer {layer}')


def _schedules(content: dict) -> None:
    for name in ('gd_schedule', 'sd_schedule'):
        args = content[name]['args']
        for epoch, lr, at_head, at_patches in content[name]['rows']:
            factor = warmup_cosine(
                epoch, args['warmup_epochs'], args['epochs'], args['min_lr'] / args['lr']
            )
            close(args['lr'] * factor, lr, f'{name} at {epoch}')
            close(args['lr'] * 0.75 * factor, at_head, f'{name} at {epoch}, scaled')
            close(args['lr'] * 0.75**13 * factor, at_patches, f'{name} at {epoch}, scaled')
    seg, det = content['seg_schedule'], content['det_schedule']
    for step, lr in seg['rows']:
        close(seg['base_lr'] * warmup_poly(step, 1500, seg['max_iters']), lr, f'seg at {step}')
    for step, lr in det['rows']:
        factor = warmup_multistep(step, 250, (163889, 177546))
        close(det['base_lr'] * factor, lr, f'det at {step}')


class _FakeViT(VisionTransformer):
    """Official names without official modules: only names, shapes and module types count here."""

    def __init__(self, depth: int) -> None:
        nn.Module.__init__(self)
        self.depth = depth


def _groups(name: str, block: dict, rate: float, no_decay: str, names: tuple) -> None:
    depth = block.get('depth') or block.get('num_layers') or 12
    model, official = nn.Module(), {}
    for official_name in block['groups']:
        path = _our_place(official_name)
        official[path] = official_name
        _add(model, path, official_name, depth)
    constructor = ViTLayerDecayConstructor(
        dict(optimizer=dict(type='AdamW', lr=1.0)),
        dict(layer_decay_rate=rate, no_decay=no_decay, no_decay_names=names),
    )
    seen = set()
    for group in constructor.parameter_groups(model, 1.0, block['weight_decay']):
        for path in group['param_names']:
            scale, decay = block['groups'][official[path]]
            close(group['lr_scale'], scale, f'{name} scale of {path}')
            close(group['weight_decay'], decay, f'{name} decay of {path}')
            seen.add(path)
    assert seen == set(official), f'{name}: {set(official) - seen} in no group'


def _our_place(name: str) -> str:
    """Where the parameter lies in our models: the ViT under ``backbone``, the rest beside it."""
    name = name.removeprefix('0.').replace('backbone.net.', 'backbone.')
    if name.startswith(('backbone.simfp', 'backbone.fpn')):
        return name.replace('backbone.', 'neck.', 1)
    heads = ('head', 'head_dist', 'decode_head', 'auxiliary_head', 'proposal', 'roi_', 'stu_')
    if name.startswith((*heads, 'backbone.')):
        return name
    return f'backbone.{name}'


def _add(model: nn.Module, path: str, official: str, depth: int) -> None:
    """Put a parameter at ``path``, in a LayerNorm or plain module, of the right dimensions."""
    *parents, leaf = path.split('.')
    module = model
    for i, part in enumerate(parents):
        if part not in module._modules:
            if part == 'backbone':
                child = _FakeViT(depth)
            elif 'norm' in part and 'blocks' in parents[:i] and i == len(parents) - 1:
                child = nn.LayerNorm(2)
                child.weight = child.bias = None
            else:
                child = nn.Module()
            module.add_module(part, child)
        module = module._modules[part]
    setattr(module, leaf, nn.Parameter(torch.zeros(_shape(official))))


def _shape(name: str) -> tuple[int, ...]:
    """A shape of the right number of dimensions, which is all that decides about decay."""
    leaf = name.rsplit('.', 1)[-1]
    if leaf == 'weight' and ('norm' in name or '.bn.' in name or 'simfp_2.1' in name):
        return (2,)
    if leaf == 'weight' and 'fpn1.1' in name:
        return (2,)
    if leaf == 'bias' or leaf.startswith('gamma_'):
        return (2,)
    return (2, 2)
