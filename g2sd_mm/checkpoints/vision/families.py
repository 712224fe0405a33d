"""Families of vision encoders, and the names and shapes that only files of each have.

Some cannot be told apart: networks of one layout that were trained in different ways. Then the name
is that of all of them, and never of one that would be a guess.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .names import Names


@dataclass(frozen=True)
class EncoderFamily:
    """Encoders of one layout.

    Attributes:
        name: what people call them; several names where the file does not say which.
        network: ``ViT``, or what else it is.
        timm: patterns of the names of timm's models that may have this layout.
        holds: whether a file is one: by transformers' names, in memory and on disk, and by those of
            timm and of the original releases.
        model_types: those of transformers' ``config.json``.
        note: what a file cannot say, and a user should know; empty if there is nothing.
        rotary: its blocks turn queries and keys by where a patch is.
    """

    name: str
    network: str = 'ViT'
    timm: tuple[str, ...] = ()
    holds: Callable[[Names], bool] = lambda _: False
    model_types: tuple[str, ...] = ()
    note: str = ''
    rotary: bool = False


_TWINS = 'their names and shapes are the same; only where it comes from says which, and its licence'


def _self_attention(n: Names) -> bool:
    return n.has('.self_attn.q_proj.') and n.has('embeddings.patch_embedding.')


def _rotary_of_dino(n: Names) -> bool:
    return n.bare and n.registers == 4 and 'pos_embed' not in n and n.has('.gamma_1', '.ls1.gamma')


def _hiera(n: Names) -> bool:
    shape = n.projection
    return n.bare and shape is not None and shape[-1] == 7 and n.has('.attn.qkv.')


def _scaled(n: Names) -> bool:
    return n.bare and n.has('.ls1.gamma')


def _swin(n: Names) -> bool:
    return n.has('\nlayers.0.blocks.0.attn.qkv.') and n.has('\npatch_embed.')


def _width(n: Names) -> int:
    return (n.projection or (0,))[0]


def _packed_gates(n: Names) -> bool:
    """Half as many channels come out of fc1 as go in."""
    first, second = n.shape('mlp.fc1.weight') or (0,), n.shape('mlp.fc2.weight') or (0, 0)
    return n.has('.attn.q_bias') and first[0] == 2 * second[1]


def _deit3(n: Names) -> bool:
    table = n.class_token and 'pos_embed' in n and not n.registers and not n.position_of_class
    return n.bare and n.has('.ls1.gamma', '.gamma_1') and table and not n.has('.rope')


def _dinov2(n: Names) -> bool:
    # the class token has a position of its own, or, beside registers in timm, it has none
    token = n.position_of_class or n.registers == 4
    patch = (n.projection or (0,))[-1]
    return _scaled(n) and n.registers in (0, 4) and patch == 14 and token


def _without_class_token(n: Names) -> bool:
    if n.projection is None or n.class_token:
        return False
    if n.bare:
        return (
            'pos_embed' in n and n.has('\nblocks.0.attn.qkv.bias') and not n.has('\ndecoder')
        )
    query = n.has('.attention.query.', '.attention.q_proj.')
    return query and n.has('embeddings.position_embeddings')


#: The first that holds is the family.
_FAMILIES: tuple[EncoderFamily, ...] = (
    EncoderFamily(
        'SAM 2 Hiera', '', ('sam2_hiera_*', 'hieradet_*'),
        lambda n: _hiera(n) and 'pos_embed_window' in n,
    ),
    EncoderFamily(
        'Hiera', '', ('hiera_*',),
        lambda n: _hiera(n)
        or (n.has('encoder.stages.') and n.has('.attn.qkv.') and n.grid is not None),
        model_types=('hiera',),
    ),
    EncoderFamily(
        'Swin V2', '', ('swinv2_*_window*',),
        lambda n: (_swin(n) and n.has('.attn.cpb_mlp.')) or n.has('.continuous_position_bias_mlp.'),
        model_types=('swinv2',),
        note='the size of its windows is not in the file: it is in the name of its timm model',
    ),
    EncoderFamily(
        'Swin', '', ('swin_*_patch4*', 'swin_s3*'),
        lambda n: _swin(n)
        or (n.has('\nencoder.layers.', '.encoder.layers.') and n.has('.blocks.0.attent')),
        model_types=('swin',),
    ),
    EncoderFamily(
        'Swin V2 (CR)', '', ('swinv2_cr_*',),
        lambda n: n.has('\nstages.0.blocks.0.attn.meta_mlp.'),
    ),
    EncoderFamily(
        'ConvNeXt V2', '', ('convnextv2_*',),
        lambda n: (n.has('\nstages.0.blocks.0.conv_dw.') and n.has('.mlp.grn.'))
        or (n.has('\nstages.0.0.dwconv.', '.layers.0.dwconv.') and n.has('.grn.')),
        model_types=('convnextv2',),
    ),
    EncoderFamily(
        'ConvNeXt', '', ('convnext_*',),
        lambda n: (n.has('\nstages.0.blocks.0.conv_dw.') and n.has('\nstages.0.blocks.0.gamma'))
        or n.has('\nstages.0.0.dwconv.')
        or (n.has('.layers.0.dwconv.') and n.has('.layer_scale_parameter')),
        model_types=('convnext',),
        note='trained with labels, as CLIP, DINOv3 or EUPE: the names are the same',
    ),
    EncoderFamily(
        'DINOv3', 'ConvNeXt', ('convnext_*',), lambda n: n.has('.layers.0.depthwise_conv.'),
        model_types=('dinov3_convnext',),
    ),
    EncoderFamily(
        'ResNet', '', tuple(f'resnet{depth}' for depth in (18, 34, 50, 101, 152)),
        lambda n: (n.shape('conv1.weight') or ())[1:] == (3, 7, 7) and n.has('\nlayer4.0.bn1.'),
    ),
    EncoderFamily(
        'EUPE', timm=('vit_*dinov3_qkvb',), rotary=True,
        holds=lambda n: _rotary_of_dino(n) and (_width(n) == 192 or n.has('\nprojectors.')),
    ),
    EncoderFamily(
        'DINOv3, EUPE or LingBot', timm=('vit_*dinov3_qkvb', 'vit_*lingbot'), rotary=True,
        holds=lambda n: _rotary_of_dino(n) and n.has('.attn.qkv.bias', '.attn.q_bias'),
        note=_TWINS,
    ),
    EncoderFamily(
        'DINOv3', timm=('vit_*dinov3',), rotary=True, model_types=('dinov3_vit',),
        holds=lambda n: _rotary_of_dino(n)
        or (n.has('.layer_scale1.') and n.has('.mlp.up_proj.', '.mlp.gate_proj.')),
    ),
    EncoderFamily(
        'BEiT, BEiT v2 or data2vec', timm=('beitv2_*', 'beit_*'),
        holds=lambda n: (n.bare and n.has('relative_position_bias_table'))
        or (
            n.has('.lambda_1', '.relative_position_bias_table')
            and n.has('.attention.query.', '.attention.q_proj.')
            and not n.has('.blocks.')
        ),
        model_types=('beit', 'data2vec-vision'),
        note=f"{_TWINS}; BEiT's images have mean and standard deviation 0.5 (timm's beit_*), BEiT "
        "v2's those of ImageNet (beitv2_*)",
    ),
    EncoderFamily(
        'Perception Encoder (PE)', timm=('vit_pe_*',), rotary=True,
        holds=lambda n: n.bare
        and 'norm_pre.weight' in n
        and (n.has('\nattn_pool.') or 'norm.weight' not in n),
    ),
    EncoderFamily(
        'AIMv2', timm=('aimv2_*',), model_types=('aimv2', 'aimv2_vision_model'),
        holds=lambda n: (n.bare and 'patch_embed.norm.weight' in n and not n.class_token)
        or (n.has('embeddings.rms_norm.') and n.has('.ffn.gate_proj.')),
    ),
    EncoderFamily(
        'hybrid of ResNet and ViT', '', ('vit_*_r[0-9]*', 'vit_*resnet*'),
        lambda n: n.bare and n.has('\npatch_embed.backbone.'),
    ),
    EncoderFamily(
        'EVA-02', timm=('eva02_*',), rotary=True,
        holds=lambda n: n.bare
        and (n.has('.attn.q_proj.', '.fc1_g.', '.mlp.w1.') or _packed_gates(n)),
    ),
    EncoderFamily(
        'EVA', timm=('eva_giant*', 'eva02_enormous*'),
        holds=lambda n: n.bare and n.has('.attn.q_bias', '.mlp.w12.') and not n.has('.ls1.'),
    ),
    EncoderFamily(
        'SigLIP 2', model_types=('siglip2', 'siglip2_vision_model'),
        holds=lambda n: _self_attention(n) and len(n.shape('patch_embedding.weight') or ()) == 2,
    ),
    EncoderFamily(
        'SigLIP or SigLIP 2', timm=('vit_*siglip_[0-9]*',),
        model_types=('siglip', 'siglip_vision_model'), note=_TWINS,
        holds=lambda n: (n.bare and n.has('\nattn_pool.'))
        or (_self_attention(n) and n.has('head.probe')),
    ),
    EncoderFamily(
        'CLIP', timm=('vit_*clip_[0-9]*',), model_types=('clip', 'clip_vision_model'),
        holds=lambda n: (n.bare and 'norm_pre.weight' in n)
        or n.has('\nvisual.transformer.resblocks.')
        or (_self_attention(n) and n.has('pre_layrnorm.')),
        note='the activation is not in the file: of those that OpenAI, MetaCLIP and DFN trained, '
        'the timm model has "quickgelu" in its name',
    ),
    EncoderFamily(
        'NaFlex ViT (of SigLIP 2 or RADIO)', '',
        holds=lambda n: n.has('\nblocks.0.attn.') and n.has('\nembeds.proj.'),
    ),
    EncoderFamily(
        'RADIO', timm=('vit_*radio*',),
        holds=lambda n: _scaled(n) and n.registers > 0 and 'norm.weight' not in n,
    ),
    EncoderFamily(
        'TIPSv2', timm=('vit_*tipsv2',), holds=lambda n: _scaled(n) and n.registers == 1
    ),
    EncoderFamily(
        'DINOv2', timm=('vit_*dinov2',), model_types=('dinov2', 'dinov2_with_registers'),
        holds=lambda n: _dinov2(n) or n.has('.layer_scale1.'),
        note='other networks trained with its layers (Franca) have the same names',
    ),
    EncoderFamily(
        '(with layer scale and registers)', timm=('vit_*reg*',),
        holds=lambda n: _scaled(n) and n.registers > 0,
    ),
    EncoderFamily('DeiT III', timm=('deit3_*',), holds=_deit3),
    EncoderFamily('(with layer scale, as DeiT III has it)', 'ViT', ('deit3_*', 'vit_*'), _scaled),
    EncoderFamily(
        'RoPE', timm=('vit_*rope*',), rotary=True,
        holds=lambda n: n.bare and n.has('.gamma_1') and 'pos_embed' not in n and n.class_token,
    ),
    EncoderFamily(
        'BEiT-3', timm=('beit3_*',),
        holds=lambda n: n.bare and n.has('.attn.norm.') and n.has('.mlp.norm.'),
    ),
    EncoderFamily(
        'SAM', holds=lambda n: n.bare and n.has('.attn.rel_pos_h') and 'neck.0.weight' in n
    ),
    EncoderFamily(
        '(with blocks of another kind)', timm=('vit_*',),
        holds=lambda n: n.bare
        and (
            n.has('.attns.', '.gamma_1', '.q_norm.', '\nreg_token', '.mlp.norm.', '.attn.norm.')
            or (n.has('.attn.qkv.weight') and not n.has('.attn.qkv.bias'))
        ),
    ),
    EncoderFamily(
        '(without a class token)', timm=('vit_*siglip_gap*', 'vit_*gap*'), model_types=('ijepa',),
        holds=_without_class_token,
        note="SigLIP's and SigLIP 2's without their pooling, I-JEPA's and ViTs with mean pooling "
        'have this layout; their means and standard deviations differ',
    ),
)  # fmt: skip
PLAIN = EncoderFamily(
    'plain',
    timm=('vit_*_[0-9]*', 'deit_*', 'eva_large*'),
    note="MAE's, DINO's, DeiT's, AugReg's and other ViTs have these names, and the file does not "
    "say with which mean and standard deviation it was trained: those of timm's model are taken; a "
    'name with its tag (vit_small_patch16_224.dino) has its own',
)


def encoder_family(n: Names) -> EncoderFamily | None:
    """The family of a file; None of one that no rule holds for, plain ViTs among them."""
    kind = n.config.get('model_type')
    named = next((family for family in _FAMILIES if kind in family.model_types), None)
    found = next((family for family in _FAMILIES if family.holds(n)), None)
    # The config of a folder is right about its own class, if there is an image network in it.
    return named if named is not None and (found is not None or n.projection) else found
