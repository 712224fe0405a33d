"""Weights files of every layout, with the right names and shapes and values that mean nothing.

Names were written down from the published files and libraries, not made by the code under test.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from g2sd_mm.checkpoints import Kind

from .detectron2_names import detectron2_names

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Size:
    """Of the network in a fake file; ``heads`` and ``classes`` where they show in a shape."""

    dim: int = 32
    depth: int = 2
    heads: int = 2
    patch: int = 16
    image: int = 224
    decoder_dim: int = 16
    decoder_depth: int = 2
    classes: int = 5

    @property
    def tokens(self) -> int:
        """Patches and the class token."""
        return 1 + (self.image // self.patch) ** 2


SMALL = Size()
TINY = Size(192, 12, 3, decoder_dim=128, decoder_depth=4, classes=1000)
BASE = Size(768, 12, 12, decoder_dim=512, decoder_depth=8, classes=1000)


def linear(name: str, out: int, into: int) -> Shapes:
    return {f'{name}.weight': (out, into), f'{name}.bias': (out,)}


def norm(name: str, dim: int) -> Shapes:
    return {f'{name}.weight': (dim,), f'{name}.bias': (dim,)}


def patches(name: str, s: Size) -> Shapes:
    return {f'{name}.weight': (s.dim, 3, s.patch, s.patch), f'{name}.bias': (s.dim,)}


def blocks(prefix: str, depth: int, dim: int, names: Mapping[str, str]) -> Shapes:
    """Blocks whose parts are called as ``names`` says; ``qkv`` may be three names."""
    shapes: Shapes = {}
    for i in range(depth):
        at = f'{prefix}.{i}.'
        shapes |= norm(at + names['norm1'], dim)
        for part in names['qkv'].split():
            shapes |= linear(at + part, 3 * dim // len(names['qkv'].split()), dim)
        shapes |= linear(at + names['proj'], dim, dim)
        shapes |= norm(at + names['norm2'], dim)
        shapes |= linear(at + names['fc1'], 4 * dim, dim)
        shapes |= linear(at + names['fc2'], dim, 4 * dim)
    return shapes


PUBLISHED = dict(norm1='norm1', qkv='attn.qkv', proj='attn.proj', norm2='norm2', fc1='mlp.fc1',
                 fc2='mlp.fc2')
MM = dict(norm1='ln1', qkv='attn.qkv', proj='attn.proj', norm2='ln2', fc1='ffn.layers.0.0',
          fc2='ffn.layers.1')
HF = dict(
    norm1='layernorm_before',
    qkv='attention.attention.query attention.attention.key attention.attention.value',
    proj='attention.output.dense',
    norm2='layernorm_after',
    fc1='intermediate.dense',
    fc2='output.dense',
)


# Published ----------------------------------------------------------------------------------------


def trunk(s: Size) -> Shapes:
    return {
        'cls_token': (1, 1, s.dim),
        'pos_embed': (1, s.tokens, s.dim),
        **patches('patch_embed.proj', s),
        **blocks('blocks', s.depth, s.dim, PUBLISHED),
    }


def mae_encoder(s: Size) -> Shapes:
    return trunk(s) | norm('norm', s.dim)


def mae_decoder(s: Size) -> Shapes:
    return {
        'mask_token': (1, 1, s.decoder_dim),
        'decoder_pos_embed': (1, s.tokens, s.decoder_dim),
        **linear('decoder_embed', s.decoder_dim, s.dim),
        **blocks('decoder_blocks', s.decoder_depth, s.decoder_dim, PUBLISHED),
        **norm('decoder_norm', s.decoder_dim),
        **linear('decoder_pred', 3 * s.patch**2, s.decoder_dim),
    }


def mae_full(s: Size) -> Shapes:
    return mae_encoder(s) | mae_decoder(s)


def g2sd_student(s: Size) -> Shapes:
    return {
        **mae_full(s),
        **linear('encoderfeature_pred.fc1', 768, s.dim),
        **linear('encoderfeature_pred.fc2', 768, 768),
        **linear('decoderfeature_pred.fc1', 512, s.decoder_dim),
        **linear('decoderfeature_pred.fc2', 512, 512),
    }


def mae_finetuned(s: Size) -> Shapes:
    return trunk(s) | norm('fc_norm', s.dim) | linear('head', s.classes, s.dim)


def g2sd_classifier(s: Size) -> Shapes:
    return {
        **mae_encoder(s),
        'dist_token': (1, 1, s.dim),
        **linear('head', s.classes, s.dim),
        **linear('head_dist', s.classes, s.dim),
    }


def detectron2(s: Size) -> Shapes:
    return detectron2_names(s.dim, s.heads, s.depth)


def segmentor_trunk(s: Size, layer: str, names: Mapping[str, str], projection: str) -> Shapes:
    grid = s.image // s.patch
    shapes = {
        'backbone.cls_token': (1, 1, s.dim),
        'backbone.pos_embed': (1, s.tokens, s.dim),
        **patches(f'backbone.{projection}', s),
        **blocks(f'backbone.{layer}', s.depth, s.dim, names),
    }
    for i in range(s.depth):
        at = f'backbone.{layer}.{i}.'
        shapes |= {f'{at}gamma_1': (s.dim,), f'{at}gamma_2': (s.dim,)}
        shapes[f'{at}attn.relative_position_bias_table'] = ((2 * grid - 1) ** 2 + 3, s.heads)
        shapes[f'{at}attn.relative_position_index'] = (s.tokens, s.tokens)
    return shapes


def batch_norm(name: str, dim: int) -> Shapes:
    return {
        **norm(name, dim),
        f'{name}.running_mean': (dim,),
        f'{name}.running_var': (dim,),
        f'{name}.num_batches_tracked': (),
    }


def deconvolution(name: str, dim: int) -> Shapes:
    return {f'{name}.weight': (dim, dim, 2, 2), f'{name}.bias': (dim,)}


def pyramid(by_4: str, by_2: str, s: Size) -> Shapes:
    return {
        **deconvolution(f'{by_4}.0', s.dim),
        **batch_norm(f'{by_4}.1', s.dim),
        **deconvolution(f'{by_4}.3', s.dim),
        **deconvolution(f'{by_2}.0', s.dim),
    }


def segmentor_heads(s: Size) -> Shapes:
    C = s.dim

    def conv(name: str, into: int, kernel: int, out: int = C) -> Shapes:
        return {f'{name}.conv.weight': (out, into, kernel, kernel), **batch_norm(f'{name}.bn', out)}

    def last(name: str, into: int) -> Shapes:
        return {f'{name}.weight': (s.classes, into, 1, 1), f'{name}.bias': (s.classes,)}

    shapes = last('decode_head.conv_seg', C)
    for i in range(4):
        shapes |= conv(f'decode_head.psp_modules.{i}.1', C, 1)
    shapes |= conv('decode_head.bottleneck', 5 * C, 3)
    for i in range(3):
        shapes |= conv(f'decode_head.lateral_convs.{i}', C, 1)
        shapes |= conv(f'decode_head.fpn_convs.{i}', C, 3)
    shapes |= conv('decode_head.fpn_bottleneck', 4 * C, 3)
    shapes |= last('auxiliary_head.conv_seg', 256)
    return shapes | conv('auxiliary_head.convs.0', C, 3, 256)


def segmentor(s: Size) -> Shapes:
    return {
        **segmentor_trunk(s, 'blocks', PUBLISHED, 'patch_embed.proj'),
        **pyramid('backbone.fpn1', 'backbone.fpn2', s),
        **segmentor_heads(s),
    }


def seg_distiller(s: Size) -> Shapes:
    inside = segmentor(s)
    return {
        **{f'student.{name}': shape for name, shape in inside.items()},
        **{f'teacher.{name}': shape for name, shape in inside.items()},
        'student_decode_head_conv_seg': (2, s.classes, 4, 4),
        'teacher_decode_head_conv_seg': (2, s.classes, 4, 4),
    }


# Other libraries ----------------------------------------------------------------------------------


def timm_classifier(s: Size) -> Shapes:
    return mae_encoder(s) | linear('head', s.classes, s.dim)


def timm_distilled(s: Size) -> Shapes:
    return {**g2sd_classifier(s), 'pos_embed': (1, s.tokens + 1, s.dim)}


def hf_encoder(model: str, s: Size) -> Shapes:
    return {
        f'{model}.embeddings.cls_token': (1, 1, s.dim),
        f'{model}.embeddings.position_embeddings': (1, s.tokens, s.dim),
        **patches(f'{model}.embeddings.patch_embeddings.projection', s),
        **blocks(f'{model}.encoder.layer', s.depth, s.dim, HF),
    }


def hf_mae(s: Size) -> Shapes:
    return {
        **hf_encoder('vit', s),
        **norm('vit.layernorm', s.dim),
        'decoder.mask_token': (1, 1, s.decoder_dim),
        'decoder.decoder_pos_embed': (1, s.tokens, s.decoder_dim),
        **linear('decoder.decoder_embed', s.decoder_dim, s.dim),
        **blocks('decoder.decoder_layers', s.decoder_depth, s.decoder_dim, HF),
        **norm('decoder.decoder_norm', s.decoder_dim),
        **linear('decoder.decoder_pred', 3 * s.patch**2, s.decoder_dim),
    }


def hf_vit(s: Size) -> Shapes:
    head = linear('classifier', s.classes, s.dim)
    return hf_encoder('vit', s) | norm('vit.layernorm', s.dim) | head


def hf_deit(s: Size) -> Shapes:
    return {
        **hf_encoder('deit', s),
        'deit.embeddings.position_embeddings': (1, s.tokens + 1, s.dim),
        'deit.embeddings.distillation_token': (1, 1, s.dim),
        **norm('deit.layernorm', s.dim),
        **linear('cls_classifier', s.classes, s.dim),
        **linear('distillation_classifier', s.classes, s.dim),
    }


def hf_beit(s: Size) -> Shapes:
    shapes = hf_encoder('beit', s) | norm('beit.pooler.layernorm', s.dim)
    shapes |= linear('classifier', s.classes, s.dim)
    return {name: shape for name, shape in shapes.items() if not name.endswith('key.bias')}


def mm_trunk(s: Size) -> Shapes:
    return {
        'backbone.cls_token': (1, 1, s.dim),
        'backbone.pos_embed': (1, s.tokens, s.dim),
        **patches('backbone.patch_embed.projection', s),
        **blocks('backbone.layers', s.depth, s.dim, MM),
    }


def mmpretrain_mae(s: Size) -> Shapes:
    return {
        **mm_trunk(s),
        **norm('backbone.ln1', s.dim),
        'neck.mask_token': (1, 1, s.decoder_dim),
        'neck.decoder_pos_embed': (1, s.tokens, s.decoder_dim),
        **linear('neck.decoder_embed', s.decoder_dim, s.dim),
        **blocks('neck.decoder_blocks', s.decoder_depth, s.decoder_dim, MM),
        **norm('neck.ln1', s.decoder_dim),
        **linear('neck.decoder_pred', 3 * s.patch**2, s.decoder_dim),
    }


def mmpretrain_vit(s: Size) -> Shapes:
    return mm_trunk(s) | norm('backbone.ln1', s.dim) | linear('head.layers.head', s.classes, s.dim)


def mmpretrain_pooled(s: Size) -> Shapes:
    return mm_trunk(s) | norm('backbone.ln2', s.dim) | linear('head.fc', s.classes, s.dim)


def mmpretrain_deit(s: Size) -> Shapes:
    return {
        **mmpretrain_vit(s),
        'backbone.pos_embed': (1, s.tokens + 1, s.dim),
        'backbone.dist_token': (1, 1, s.dim),
        **linear('head.layers.head_dist', s.classes, s.dim),
    }


def mmseg(s: Size) -> Shapes:
    return {
        **segmentor_trunk(s, 'layers', MM, 'patch_embed.projection'),
        **pyramid('neck.upsample_4x', 'neck.upsample_2x', s),
        **segmentor_heads(s),
    }


# Ours ---------------------------------------------------------------------------------------------


def below(prefix: str, shapes: Shapes) -> Shapes:
    return {prefix + name: shape for name, shape in shapes.items()}


def our_classifier(s: Size) -> Shapes:
    body = below('backbone.', trunk(s) | norm('fc_norm', s.dim))
    return body | linear('head.fc', s.classes, s.dim)


def our_distilled(s: Size) -> Shapes:
    body = below('backbone.', {**mae_encoder(s), 'dist_token': (1, 1, s.dim)})
    heads = [linear(f'head.layers.{head}', s.classes, s.dim) for head in ('head', 'head_dist')]
    return body | heads[0] | heads[1]


def our_segmentor(s: Size) -> Shapes:
    body = segmentor_trunk(s, 'blocks', PUBLISHED, 'patch_embed.proj')
    body = {n: shape for n, shape in body.items() if not n.endswith('relative_position_index')}
    return body | pyramid('neck.upsample_4x', 'neck.upsample_2x', s) | segmentor_heads(s)


def stage1_run(s: Size) -> Shapes:
    inside = {n: shape for n, shape in mae_full(s).items()
              if not n.startswith(('decoder_norm', 'decoder_pred'))}
    predictor = linear('fc1', 512, s.decoder_dim) | linear('fc2', 512, 512)
    return below('student.', inside) | below('distillation.adapters.tokens.', predictor)


def stage1_run_of_0_1(s: Size) -> Shapes:
    """The predictor had its published name."""
    own = 'distillation.adapters.tokens.'
    return {n.replace(own, 'decoderfeature_pred.'): x for n, x in stage1_run(s).items()}


def stage2_run(s: Size) -> Shapes:
    adapters = linear('distillation.adapters.hint', 8, 8)
    adapters |= linear('distillation.adapters.tokens', 8, 8)  # as an adapter of stage 1 is called
    return below('student.', our_distilled(s)) | adapters


@dataclass(frozen=True)
class Fake:
    """A kind of file: what it is, its names and shapes, and how its tensors are wrapped."""

    kind: Kind
    shapes: Callable[[Size], Shapes]
    layout: str
    wrapper: str | None = 'model'


FAKES: dict[str, Fake] = {
    'mae_encoder': Fake(Kind.MAE_ENCODER, mae_encoder, 'mae'),
    'mae_full': Fake(Kind.MAE_FULL, mae_full, 'mae'),
    'mae_finetuned': Fake(Kind.MAE_FINETUNED, mae_finetuned, 'mae'),
    'g2sd_student': Fake(Kind.G2SD_STUDENT, g2sd_student, 'g2sd'),
    'g2sd_classifier': Fake(Kind.G2SD_CLASSIFIER, g2sd_classifier, 'g2sd'),
    'detectron2': Fake(Kind.DETECTRON2, detectron2, 'detectron2'),
    'segmentor': Fake(Kind.PUBLISHED_SEGMENTOR, segmentor, 'g2sd', 'state_dict'),
    'seg_distiller': Fake(Kind.SEG_DISTILLER, seg_distiller, 'g2sd', 'state_dict'),
    'timm': Fake(Kind.TIMM_CLASSIFIER, timm_classifier, 'timm', None),
    'timm_distilled': Fake(Kind.TIMM_DISTILLED, timm_distilled, 'timm', None),
    'hf_mae': Fake(Kind.HUGGING_FACE_MAE, hf_mae, 'huggingface', None),
    'hf_vit': Fake(Kind.HUGGING_FACE, hf_vit, 'huggingface', None),
    'hf_deit': Fake(Kind.HUGGING_FACE_DEIT, hf_deit, 'huggingface', None),
    'hf_beit': Fake(Kind.HUGGING_FACE, hf_beit, 'huggingface', None),
    'mmpretrain_mae': Fake(Kind.MMPRETRAIN_MAE, mmpretrain_mae, 'mmpretrain', 'state_dict'),
    'mmpretrain_vit': Fake(Kind.MMPRETRAIN_CLASSIFIER, mmpretrain_vit, 'mmpretrain', 'state_dict'),
    'mmpretrain_pooled': Fake(
        Kind.MMPRETRAIN_CLASSIFIER, mmpretrain_pooled, 'mmpretrain', 'state_dict'
    ),
    'mmpretrain_deit': Fake(
        Kind.MMPRETRAIN_CLASSIFIER, mmpretrain_deit, 'mmpretrain', 'state_dict'
    ),
    'mmseg': Fake(Kind.MMSEG_MAE, mmseg, 'mmseg', 'state_dict'),
    'our_classifier': Fake(Kind.MM_CLASSIFIER, our_classifier, 'ours', 'state_dict'),
    'our_distilled': Fake(Kind.MM_CLASSIFIER, our_distilled, 'ours', 'state_dict'),
    'our_segmentor': Fake(Kind.MM_SEGMENTOR, our_segmentor, 'ours', 'state_dict'),
    'stage1_run': Fake(Kind.STAGE1_RUN, stage1_run, 'ours', 'state_dict'),
    'stage1_run_of_0_1': Fake(Kind.STAGE1_RUN, stage1_run_of_0_1, 'ours', 'state_dict'),
    'stage2_run': Fake(Kind.STAGE2_RUN, stage2_run, 'ours', 'state_dict'),
}


def random_state(shapes: Shapes) -> dict[str, Tensor]:
    """Every value its own, so that nothing can take another's place unnoticed."""
    return {name: torch.randn(shape) for name, shape in shapes.items()}


def hollow_state(shapes: Shapes) -> dict[str, Tensor]:
    """Full shapes on one number each: files of a few kilobytes."""
    return {name: torch.ones(()).expand(shape) for name, shape in shapes.items()}


def wrapped(fake: Fake, state: Mapping[str, Tensor]) -> dict:
    """The content of a file of that kind."""
    return {fake.wrapper: dict(state)} if fake.wrapper else dict(state)
