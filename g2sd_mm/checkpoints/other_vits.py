"""Vision transformers of other methods, whose names look like MAE's but whose layers differ."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from torch import Tensor

Names = Mapping[str, Tensor]


def _has(names: Iterable[str], *parts: str) -> bool:
    return any(part in name for name in names for part in parts)


def _bare(names: Names) -> bool:
    """timm's arrangement: blocks and patches without anything before them."""
    return any(name.startswith('blocks.') for name in names) and any(
        name.startswith('patch_embed.') for name in names
    )


def _q_bias(names: Names) -> bool:
    return _bare(names) and _has(names, '.attn.q_bias')


def _scaled(names: Names) -> bool:
    return _bare(names) and _has(names, '.ls1.')


def _hf_scaled(names: Names) -> bool:
    return _has(names, '.layer_scale1.')


def _hf_beit(names: Names) -> bool:
    return _has(names, '.lambda_1', '.relative_position_bias_table') and _has(
        names, '.attention.query.', '.attention.q_proj.'
    )


def _self_attention(names: Names) -> bool:
    return _has(names, '.self_attn.q_proj.') and _has(names, 'embeddings.patch_embedding.')


#: What a file is, by the first rule that holds.
OTHER_VITS: tuple[tuple[str, Callable[[Names], bool]], ...] = (
    (
        'a DINOv3 ViT (registers, layer scale, rotary positions)',
        lambda n: (_bare(n) and _has(n, '.gamma_1') and 'pos_embed' not in n and 'reg_token' in n)
        or (_hf_scaled(n) and _has(n, '.mlp.up_proj.', '.mlp.gate_proj.')),
    ),
    (
        'a BEiT, BEiT v2 or data2vec ViT (relative positions, layer scale)',
        lambda n: (_bare(n) and _has(n, 'relative_position_bias_table')) or _hf_beit(n),
    ),
    ('an EVA ViT (no bias of keys)', lambda n: _q_bias(n) or (_bare(n) and _has(n, '.mlp.w12.'))),
    ('an EVA-02 ViT (gated layers)', lambda n: _bare(n) and _has(n, '.attn.q_proj.', '.fc1_g.')),
    ('a SigLIP ViT (pooled by attention)', lambda n: _bare(n) and _has(n, 'attn_pool.')),
    (
        'a SigLIP model (Hugging Face names)',
        lambda n: _self_attention(n) and _has(n, 'head.probe'),
    ),
    ('a CLIP ViT (a norm before the blocks)', lambda n: _bare(n) and 'norm_pre.weight' in n),
    (
        'a CLIP model (Hugging Face names)',
        lambda n: _self_attention(n) and _has(n, 'pre_layrnorm.'),
    ),
    ("a CLIP model (OpenAI's names)", lambda n: _has(n, 'transformer.resblocks.')),
    (
        'a DINOv2 ViT (layer scale)',
        lambda n: (_scaled(n) and 'head.weight' not in n) or _hf_scaled(n),
    ),
    ('a DeiT III ViT or another with layer scale', _scaled),
    (
        'a SAM image encoder',
        lambda n: _bare(n) and _has(n, '.attn.rel_pos_h') and 'neck.0.weight' in n,
    ),
    (
        'a ViT with blocks of another kind',
        lambda n: _bare(n)
        and _has(n, '.attns.', '.gamma_1', '.q_norm.', 'reg_token', '.mlp.norm.', '.attn.norm.'),
    ),
)


def other_vit(names: Names) -> str:
    """What a state dict is if it is a ViT that no network here is; else empty."""
    return next((title for title, holds in OTHER_VITS if holds(names)), '')
