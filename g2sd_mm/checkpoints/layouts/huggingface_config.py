"""``config.json`` of a converted network: what transformers has to know beside the tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from .published import Family

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
        num_hidden_layers=_depth(published, 'blocks.'),
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
        config |= _decoder(published, decoder_heads)
    if 'head.weight' in published:
        classes = range(published['head.weight'].shape[0])
        config['id2label'] = {str(i): f'LABEL_{i}' for i in classes}
        config['label2id'] = {f'LABEL_{i}': i for i in classes}
    return config


def _decoder(published: Mapping[str, Tensor], heads: int | None) -> dict[str, Any]:
    if 'decoder_embed.weight' not in published:
        return {'architectures': ['ViTMAEModel']}
    return dict(
        decoder_num_attention_heads=heads,
        decoder_hidden_size=published['decoder_embed.weight'].shape[0],
        decoder_num_hidden_layers=_depth(published, 'decoder_blocks.'),
        decoder_intermediate_size=published['decoder_blocks.0.mlp.fc1.weight'].shape[0],
        mask_ratio=0.75,
        norm_pix_loss=True,
    )


def _depth(published: Mapping[str, Tensor], prefix: str) -> int:
    return 1 + max(int(n[len(prefix) :].split('.')[0]) for n in published if n.startswith(prefix))
