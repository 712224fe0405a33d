"""Hugging Face: ``ViTMAE``, ``ViT``, ``DeiT`` with two heads, and ``Beit`` for mean pooling.

Names are those of files on their hub. transformers 5 has others in memory and translates; both are
read. ``Beit`` is the one class there that averages patch tokens before a norm; its keys have no
bias, which changes nothing: a key's bias adds the same number to every logit of a query, and
softmax takes it away again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from .published import Family, Layout, depth_of, dist_last, dist_second
from .rules import Rule, State


def _blocks(published: str, theirs: str, key_bias: bool = True) -> tuple[Rule, ...]:
    attention = f'{theirs}.attention.attention'
    parts = [f'{attention}.{part}' for part in ('query', 'key', 'value')]
    weights = tuple(f'{part}.weight' for part in parts)
    biases: tuple[str | None, ...] = tuple(f'{part}.bias' for part in parts)
    if not key_bias:
        biases = (biases[0], None, biases[2])
    return (
        Rule(f'{published}.norm1.{{p}}', f'{theirs}.layernorm_before.{{p}}'),
        Rule(f'{published}.attn.qkv.weight', weights),
        Rule(f'{published}.attn.qkv.bias', biases),
        Rule(f'{published}.attn.proj.{{p}}', f'{theirs}.attention.output.dense.{{p}}'),
        Rule(f'{published}.norm2.{{p}}', f'{theirs}.layernorm_after.{{p}}'),
        Rule(f'{published}.mlp.fc1.{{p}}', f'{theirs}.intermediate.dense.{{p}}'),
        Rule(f'{published}.mlp.fc2.{{p}}', f'{theirs}.output.dense.{{p}}'),
    )


def _encoder(model: str, norm: Rule, key_bias: bool = True) -> tuple[Rule, ...]:
    embeddings = f'{model}.embeddings'
    return (
        Rule('cls_token', f'{embeddings}.cls_token'),
        Rule('pos_embed', f'{embeddings}.position_embeddings'),
        Rule('patch_embed.proj.{p}', f'{embeddings}.patch_embeddings.projection.{{p}}'),
        *_blocks('blocks.{i}', f'{model}.encoder.layer.{{i}}', key_bias),
        norm,
    )


_DECODER = (
    Rule('mask_token', 'decoder.mask_token'),
    Rule('decoder_pos_embed', 'decoder.decoder_pos_embed'),
    Rule('decoder_embed.{p}', 'decoder.decoder_embed.{p}'),
    *_blocks('decoder_blocks.{i}', 'decoder.decoder_layers.{i}'),
    Rule('decoder_norm.{p}', 'decoder.decoder_norm.{p}'),
    Rule('decoder_pred.{p}', 'decoder.decoder_pred.{p}'),
)
_VIT = _encoder('vit', Rule('norm.{p}', 'vit.layernorm.{p}'))

# transformers 5 in memory -> on disk; the first is how it writes a ViTMAE's decoder
_IN_MEMORY = (
    (re.compile(r'\.decoder_encoder\.layer\.'), '.decoder_layers.'),
    (re.compile(r'(?<!decoder_)\blayers\.(\d+)\.'), r'encoder.layer.\1.'),
    (re.compile(r'\.attention\.q_proj\.'), '.attention.attention.query.'),
    (re.compile(r'\.attention\.k_proj\.'), '.attention.attention.key.'),
    (re.compile(r'\.attention\.v_proj\.'), '.attention.attention.value.'),
    (re.compile(r'\.attention\.o_proj\.'), '.attention.output.dense.'),
    (re.compile(r'\.mlp\.fc1\.'), '.intermediate.dense.'),
    (re.compile(r'\.mlp\.fc2\.'), '.output.dense.'),
)


def _as_on_disk(state: State) -> State:
    """transformers 5's names in memory, and models saved without their head, as files have them."""
    state = {_rename(name): tensor for name, tensor in state.items()}
    if not any(name.startswith('embeddings.') for name in state):
        return state
    if 'embeddings.distillation_token' in state:
        model = 'deit'
    else:
        model = 'vit' if 'encoder.layer.0.attention.attention.key.bias' in state else 'beit'
    return {f'{model}.{name}': tensor for name, tensor in state.items()}


def _rename(name: str) -> str:
    for pattern, replacement in _IN_MEMORY:
        name = pattern.sub(replacement, name)
    return name


HUGGING_FACE = Layout(
    name='huggingface',
    title='Hugging Face transformers (ViTMAE, ViT, DeiT, Beit)',
    tables={
        Family.MAE: (*_VIT, *_DECODER),
        Family.CLASSIFIER: (*_VIT, Rule('head.{p}', 'classifier.{p}')),
        Family.POOLED: (
            *_encoder('beit', Rule('fc_norm.{p}', 'beit.pooler.layernorm.{p}'), key_bias=False),
            Rule('head.{p}', 'classifier.{p}'),
        ),
        Family.DISTILLED: (
            *_encoder('deit', Rule('norm.{p}', 'deit.layernorm.{p}')),
            Rule('dist_token', 'deit.embeddings.distillation_token'),
            Rule('head.{p}', 'cls_classifier.{p}'),
            Rule('head_dist.{p}', 'distillation_classifier.{p}'),
        ),
    },
    cannot_hold=('encoderfeature_pred.*', 'decoderfeature_pred.*'),
    not_weights=('*.pooler.dense.*', '*.embeddings.mask_token', '*.relative_position_index'),
    tidy=_as_on_disk,
    arrange=dist_second,
    undo=dist_last,
)


_MODELS = {
    Family.MAE: ('vit_mae', 'ViTMAEForPreTraining'),
    Family.CLASSIFIER: ('vit', 'ViTForImageClassification'),
    Family.POOLED: ('beit', 'BeitForImageClassification'),
    Family.DISTILLED: ('deit', 'DeiTForImageClassificationWithTeacher'),
}
#: What ``Beit`` has to leave out to be a plain ViT with mean pooling.
_PLAIN_BEIT = dict(
    use_mean_pooling=True,
    use_absolute_position_embeddings=True,
    use_relative_position_bias=False,
    use_shared_relative_position_bias=False,
    use_mask_token=False,
    layer_scale_init_value=0.0,
    drop_path_rate=0.0,
)


def hugging_face_config(
    published: Mapping[str, Tensor], family: Family, heads: int, decoder_heads: int | None = None
) -> dict[str, Any]:
    """``config.json`` for a network under published names.

    Args:
        published: its tensors; meta tensors are fine.
        family: what it is.
        heads: attention heads of the encoder, which no tensor shows.
        decoder_heads: of the decoder; needed where there is one.

    Returns:
        a dict for ``json.dump``. ``layer_norm_eps`` is 1e-6: transformers' own default, 1e-12, is
        not what these networks were trained with.
    """
    width, channels, patch = (published['patch_embed.proj.weight'].shape[i] for i in (0, 1, 2))
    grid = round((published['pos_embed'].shape[1] - 1) ** 0.5)
    model_type, architecture = _MODELS[family]
    config: dict[str, Any] = dict(
        model_type=model_type,
        architectures=[architecture],
        hidden_size=width,
        num_hidden_layers=depth_of(published, 'blocks.'),
        num_attention_heads=heads,
        intermediate_size=published['blocks.0.mlp.fc1.weight'].shape[0],
        hidden_act='gelu',
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        layer_norm_eps=1e-6,
        image_size=grid * patch,
        patch_size=patch,
        num_channels=channels,
        qkv_bias=True,
    )
    if family is Family.POOLED:
        config |= _PLAIN_BEIT
    if family is Family.MAE:
        config |= _decoder_config(published, decoder_heads)
    if 'head.weight' in published:
        classes = range(published['head.weight'].shape[0])
        config['id2label'] = {str(i): f'LABEL_{i}' for i in classes}
        config['label2id'] = {f'LABEL_{i}': i for i in classes}
    return config


def _decoder_config(published: Mapping[str, Tensor], heads: int | None) -> dict[str, Any]:
    if 'decoder_embed.weight' not in published:
        return {'architectures': ['ViTMAEModel']}
    return dict(
        decoder_num_attention_heads=heads,
        decoder_hidden_size=published['decoder_embed.weight'].shape[0],
        decoder_num_hidden_layers=depth_of(published, 'decoder_blocks.'),
        decoder_intermediate_size=published['decoder_blocks.0.mlp.fc1.weight'].shape[0],
        mask_ratio=0.75,
        norm_pix_loss=True,
    )
