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
        note: what a file cannot say, and a user should know; empty if there is nothing.
        rotary: its blocks turn queries and keys by where a patch is.
    """

    name: str
    network: str = 'ViT'
    timm: tuple[str, ...] = ()
    note: str = ''
    rotary: bool = False


_TWINS = 'their names and shapes are the same; only where it comes from says which, and its licence'

DINOV2 = EncoderFamily(
    'DINOv2',
    timm=('vit_*dinov2',),
    note='other networks trained with its layers (Franca) have the same names',
)
DINOV3 = EncoderFamily('DINOv3', timm=('vit_*dinov3',), rotary=True)
EUPE = EncoderFamily('EUPE', timm=('vit_*dinov3_qkvb',), rotary=True)
DINOV3_WITH_BIAS = EncoderFamily(
    'DINOv3, EUPE or LingBot',
    timm=('vit_*dinov3_qkvb', 'vit_*lingbot'),
    note=_TWINS,
    rotary=True,
)
ROPE = EncoderFamily('RoPE', timm=('vit_*rope*',), rotary=True)
BEIT = EncoderFamily(
    'BEiT, BEiT v2 or data2vec',
    timm=('beitv2_*', 'beit_*'),
    note=f"{_TWINS}; BEiT's images have mean and standard deviation 0.5 (timm's beit_*), BEiT v2's "
    "those of ImageNet (beitv2_*)",
)
BEIT3 = EncoderFamily('BEiT-3', timm=('beit3_*',))
EVA = EncoderFamily('EVA', timm=('eva_giant*', 'eva02_enormous*'))
EVA02 = EncoderFamily('EVA-02', timm=('eva02_*',), rotary=True)
CLIP = EncoderFamily(
    'CLIP',
    timm=('vit_*clip_[0-9]*',),
    note='the activation is not in the file: of those that OpenAI, MetaCLIP and DFN trained, the '
    'timm model has "quickgelu" in its name',
)
PERCEPTION = EncoderFamily('Perception Encoder (PE)', timm=('vit_pe_*',), rotary=True)
SIGLIP = EncoderFamily('SigLIP or SigLIP 2', timm=('vit_*siglip_[0-9]*',), note=_TWINS)
SIGLIP2 = EncoderFamily('SigLIP 2')
NAFLEX = EncoderFamily('NaFlex ViT (of SigLIP 2 or RADIO)', network='')
AIM = EncoderFamily('AIMv2', timm=('aimv2_*',))
RADIO = EncoderFamily('RADIO', timm=('vit_*radio*',))
TIPS = EncoderFamily('TIPSv2', timm=('vit_*tipsv2',))
DEIT3 = EncoderFamily('DeiT III', timm=('deit3_*',))
SCALED = EncoderFamily('(with layer scale, as DeiT III has it)', timm=('deit3_*', 'vit_*'))
OTHER_REGISTERS = EncoderFamily('(with layer scale and registers)', timm=('vit_*reg*',))
SAM = EncoderFamily('SAM')
NO_CLASS_TOKEN = EncoderFamily(
    '(without a class token)',
    timm=('vit_*siglip_gap*', 'vit_*gap*'),
    note="SigLIP's and SigLIP 2's without their pooling, I-JEPA's and ViTs with mean pooling have "
    'this layout; their means and standard deviations differ',
)
HYBRID = EncoderFamily(
    'hybrid of ResNet and ViT', network='', timm=('vit_*_r[0-9]*', 'vit_*resnet*')
)
OTHER = EncoderFamily('(with blocks of another kind)', timm=('vit_*',))

CONVNEXT = EncoderFamily(
    'ConvNeXt',
    network='',
    timm=('convnext_*',),
    note='trained with labels, as CLIP, DINOv3 or EUPE: the names are the same',
)
CONVNEXT2 = EncoderFamily('ConvNeXt V2', network='', timm=('convnextv2_*',))
DINOV3_CONVNEXT = EncoderFamily('DINOv3', 'ConvNeXt', timm=('convnext_*',))
SWIN = EncoderFamily('Swin', network='', timm=('swin_*_patch4*', 'swin_s3*'))
SWIN2 = EncoderFamily(
    'Swin V2',
    network='',
    timm=('swinv2_*_window*',),
    note='the size of its windows is not in the file: it is in the name of its timm model',
)
SWIN2_CR = EncoderFamily('Swin V2 (CR)', network='', timm=('swinv2_cr_*',))
HIERA = EncoderFamily('Hiera', network='', timm=('hiera_*',))
SAM2 = EncoderFamily('SAM 2 Hiera', network='', timm=('sam2_hiera_*', 'hieradet_*'))
RESNET = EncoderFamily(
    'ResNet', network='', timm=tuple(f'resnet{depth}' for depth in (18, 34, 50, 101, 152))
)
PLAIN = EncoderFamily(
    'plain',
    timm=('vit_*_[0-9]*', 'deit_*', 'eva_large*'),
    note="MAE's, DINO's, DeiT's, AugReg's and other ViTs have these names, and the file does not "
    "say with which mean and standard deviation it was trained: those of timm's model are taken; a "
    'name with its tag (vit_small_patch16_224.dino) has its own',
)

#: ``model_type`` of transformers' ``config.json``.
HUGGING_FACE: dict[str, EncoderFamily] = {
    'dinov2': DINOV2,
    'dinov2_with_registers': DINOV2,
    'dinov3_vit': DINOV3,
    'dinov3_convnext': DINOV3_CONVNEXT,
    'clip': CLIP,
    'clip_vision_model': CLIP,
    'siglip': SIGLIP,
    'siglip_vision_model': SIGLIP,
    'siglip2': SIGLIP2,
    'siglip2_vision_model': SIGLIP2,
    'beit': BEIT,
    'data2vec-vision': BEIT,
    'aimv2': AIM,
    'aimv2_vision_model': AIM,
    'ijepa': NO_CLASS_TOKEN,
    'convnext': CONVNEXT,
    'convnextv2': CONVNEXT2,
    'swin': SWIN,
    'swinv2': SWIN2,
    'hiera': HIERA,
}


def _self_attention(n: Names) -> bool:
    return n.has('.self_attn.q_proj.') and n.has('embeddings.patch_embedding.')


#: Of transformers, by names in memory (its version 5) and on disk.
_OF_HUGGING_FACE: tuple[tuple[EncoderFamily, Callable[[Names], bool]], ...] = (
    (
        DINOV3,
        lambda n: n.has('.layer_scale1.') and n.has('.mlp.up_proj.', '.mlp.gate_proj.'),
    ),
    (DINOV2, lambda n: n.has('.layer_scale1.')),
    (
        BEIT,
        lambda n: n.has('.lambda_1', '.relative_position_bias_table')
        and n.has('.attention.query.', '.attention.q_proj.')
        and not n.has('.blocks.'),
    ),
    (
        SIGLIP2,
        lambda n: _self_attention(n) and len(n.shape('patch_embedding.weight') or ()) == 2,
    ),
    (SIGLIP, lambda n: _self_attention(n) and n.has('head.probe')),
    (CLIP, lambda n: _self_attention(n) and n.has('pre_layrnorm.')),
    (AIM, lambda n: n.has('embeddings.rms_norm.') and n.has('.ffn.gate_proj.')),
    (CONVNEXT2, lambda n: n.has('.layers.0.dwconv.') and n.has('.grn.weight')),
    (CONVNEXT, lambda n: n.has('.layers.0.dwconv.') and n.has('.layer_scale_parameter')),
    (DINOV3_CONVNEXT, lambda n: n.has('.layers.0.depthwise_conv.')),
    (SWIN2, lambda n: n.has('.continuous_position_bias_mlp.')),
    (SWIN, lambda n: n.has('\nencoder.layers.', '.encoder.layers.') and n.has('.blocks.0.attent')),
    (HIERA, lambda n: n.has('encoder.stages.') and n.has('.attn.qkv.') and n.grid is not None),
    (
        NO_CLASS_TOKEN,
        lambda n: n.has('.attention.query.', '.attention.q_proj.')
        and n.has('embeddings.position_embeddings')
        and n.projection is not None
        and not n.class_token,
    ),
)


def _rotary_of_dino(n: Names) -> bool:
    return n.bare and n.registers == 4 and 'pos_embed' not in n and n.has('.gamma_1', '.ls1.gamma')


def _key_bias(n: Names) -> bool:
    return n.has('.attn.qkv.bias', '.attn.q_bias')


def _hiera(n: Names) -> bool:
    shape = n.projection
    return n.bare and shape is not None and shape[-1] == 7 and n.has('.attn.qkv.')


def _scaled(n: Names) -> bool:
    return n.bare and n.has('.ls1.gamma')


def _swin(n: Names) -> bool:
    return n.has('\nlayers.0.blocks.0.attn.qkv.') and n.has('\npatch_embed.')


#: Of timm and of the original releases, by the first rule that holds.
_OF_TIMM: tuple[tuple[EncoderFamily, Callable[[Names], bool]], ...] = (
    (SAM2, lambda n: _hiera(n) and 'pos_embed_window' in n),
    (HIERA, _hiera),
    (SWIN2, lambda n: _swin(n) and n.has('.attn.cpb_mlp.')),
    (SWIN, _swin),
    (SWIN2_CR, lambda n: n.has('\nstages.0.blocks.0.attn.meta_mlp.')),
    (
        CONVNEXT2,
        lambda n: (n.has('\nstages.0.blocks.0.conv_dw.') and n.has('.mlp.grn.'))
        or (n.has('\nstages.0.0.dwconv.') and n.has('.grn.')),
    ),
    (
        CONVNEXT,
        lambda n: (n.has('\nstages.0.blocks.0.conv_dw.') and n.has('\nstages.0.blocks.0.gamma'))
        or n.has('\nstages.0.0.dwconv.'),
    ),
    (
        RESNET,
        lambda n: (n.shape('conv1.weight') or ())[1:] == (3, 7, 7) and n.has('\nlayer4.0.bn1.'),
    ),
    (EUPE, lambda n: _rotary_of_dino(n) and (n.projection or (0,))[0] == 192),
    (EUPE, lambda n: _rotary_of_dino(n) and n.has('\nprojectors.')),
    (DINOV3_WITH_BIAS, lambda n: _rotary_of_dino(n) and _key_bias(n)),
    (DINOV3, _rotary_of_dino),
    (BEIT, lambda n: n.bare and n.has('relative_position_bias_table')),
    (PERCEPTION, lambda n: n.bare and 'norm_pre.weight' in n and n.has('\nattn_pool.')),
    (PERCEPTION, lambda n: n.bare and 'norm_pre.weight' in n and 'norm.weight' not in n),
    (AIM, lambda n: n.bare and 'patch_embed.norm.weight' in n and not n.class_token),
    (EVA02, lambda n: n.bare and n.has('.attn.q_proj.', '.fc1_g.', '.mlp.w1.')),
    (HYBRID, lambda n: n.bare and n.has('\npatch_embed.backbone.')),
    (
        EVA02,  # packed gates: half as many channels come out of fc1 as go in
        lambda n: n.bare
        and n.has('.attn.q_bias')
        and (n.shape('mlp.fc1.weight') or (0,))[0] == 2 * (n.shape('mlp.fc2.weight') or (0, 0))[1],
    ),
    (EVA, lambda n: n.bare and n.has('.attn.q_bias', '.mlp.w12.') and not n.has('.ls1.')),
    (SIGLIP, lambda n: n.bare and n.has('\nattn_pool.')),
    (CLIP, lambda n: n.bare and 'norm_pre.weight' in n),
    (CLIP, lambda n: n.has('\nvisual.transformer.resblocks.')),
    (NAFLEX, lambda n: n.has('\nblocks.0.attn.') and n.has('\nembeds.proj.')),
    (RADIO, lambda n: _scaled(n) and n.registers > 0 and 'norm.weight' not in n),
    (TIPS, lambda n: _scaled(n) and n.registers == 1),
    (DINOV2, lambda n: _scaled(n) and n.registers in (0, 4) and _patch(n) == 14 and _as_dinov2(n)),
    (OTHER_REGISTERS, lambda n: _scaled(n) and n.registers > 0),
    (
        DEIT3,
        lambda n: n.bare
        and n.has('.ls1.gamma', '.gamma_1')
        and n.class_token
        and 'pos_embed' in n
        and not n.registers
        and not n.position_of_class
        and not n.has('.rope'),
    ),
    (SCALED, _scaled),
    (
        ROPE,
        lambda n: n.bare and n.has('.gamma_1') and 'pos_embed' not in n and n.class_token,
    ),
    (BEIT3, lambda n: n.bare and n.has('.attn.norm.') and n.has('.mlp.norm.')),
    (SAM, lambda n: n.bare and n.has('.attn.rel_pos_h') and 'neck.0.weight' in n),
    (
        OTHER,
        lambda n: n.bare
        and n.has('.attns.', '.gamma_1', '.q_norm.', '\nreg_token', '.mlp.norm.', '.attn.norm.'),
    ),
    (
        NO_CLASS_TOKEN,
        lambda n: n.bare
        and n.projection is not None
        and not n.class_token
        and 'pos_embed' in n
        and n.has('\nblocks.0.attn.qkv.bias')
        and not n.has('\ndecoder'),
    ),
    (OTHER, lambda n: n.bare and n.has('.attn.qkv.weight') and not n.has('.attn.qkv.bias')),
)


def _patch(n: Names) -> int:
    return (n.projection or (0,))[-1]


def _as_dinov2(n: Names) -> bool:
    """The class token has a position of its own, or, beside registers in timm, it has none."""
    return n.position_of_class or n.registers == 4


def encoder_family(n: Names) -> EncoderFamily | None:
    """The family of a file; None of one that no rule holds for, plain ViTs among them."""
    named = HUGGING_FACE.get(str(n.config.get('model_type')))
    rules = (*_OF_HUGGING_FACE, *_OF_TIMM)
    found = next((family for family, holds in rules if holds(n)), None)
    # The config of a folder is right about its own class, if there is an image network in it.
    return named if named is not None and (found is not None or n.projection) else found
