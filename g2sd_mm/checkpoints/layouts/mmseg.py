"""mmseg 1.x: ``EncoderDecoder`` with its ``MAE`` backbone (BEiT's arrangement), neck and heads."""

from __future__ import annotations

from .layout import Layout
from .mmpretrain import mm_blocks
from .ours import PYRAMID
from .published import SEGMENTOR_HEADS, Family
from .rules import Rule, same

_BLOCK, _LAYER = 'backbone.blocks.{i}', 'backbone.layers.{i}'

MMSEG = Layout(
    name='mmseg',
    title='mmseg EncoderDecoder with its MAE backbone',
    tables={
        Family.SEGMENTOR: (
            *same(('backbone.cls_token', 'backbone.pos_embed')),
            Rule('backbone.patch_embed.proj.{p}', 'backbone.patch_embed.projection.{p}'),
            *mm_blocks(_BLOCK, _LAYER),
            # read only: BEiT has no bias of keys, and the other two apart
            Rule(
                f'{_BLOCK}.attn.qkv.bias',
                (f'{_LAYER}.attn.q_bias', None, f'{_LAYER}.attn.v_bias'),
            ),
            Rule(f'{_BLOCK}.gamma_{{j}}', f'{_LAYER}.gamma_{{j}}'),
            Rule(
                f'{_BLOCK}.attn.relative_position_bias_table',
                f'{_LAYER}.attn.relative_position_bias_table',
            ),
            *PYRAMID,
            *same(SEGMENTOR_HEADS),
        )
    },
    not_weights=('data_preprocessor.*', '*.relative_position_index'),
    wrapper='state_dict',
)
