"""Files from which no network here can learn: without an image encoder, or no longer weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ...text import printable
from .names import Names

_TEXT = (
    'token_embedding.weight',
    'word_embeddings.weight',
    'embed_tokens.weight',
    'tok_embeddings.weight',
    'wte.weight',
)
#: How the names of numbers end that a quantiser leaves beside or instead of weights.
_QUANTISED = (
    '.SCB',
    '.absmax',
    '.quant_map',
    '.weight_format',
    '.qweight',
    '.qzeros',
    '.scales',
    '.weight_scale',
    '.weight_scale_inv',
    '_packed_params',
    '.zero_point',
)
_PATCHES = ('patch_embed', 'visual.', 'vision_', 'conv1.weight', 'stem.')


def unsuitable(state: Mapping[str, Tensor], config: Mapping[str, Any] | None = None) -> str:
    """Why a file is of no use as a teacher or start, with what to give instead; empty if it may be.

    Args:
        state: tensors by name; meta tensors are fine.
        config: ``config.json`` beside them.
    """
    config = config or {}
    names = Names(state, config)
    marks = [f'{name} is in it' for name in state if name.endswith(_QUANTISED)]
    marks += [
        f'{name} is {str(tensor.dtype).removeprefix("torch.")}'
        for name, tensor in state.items()
        if name.endswith('weight') and tensor.ndim > 1 and tensor.element_size() == 1
    ]
    if 'quantization_config' in config:
        marks.append('its config.json has a quantization_config')
    if marks:
        what = printable(marks[0])
        return (
            f'these are quantised weights ({what}), which cannot be read as those of a network: '
            'give the file in float32, float16 or bfloat16 that they were made from'
        )
    if names.shape(*_TEXT) is not None and not names.has(*_PATCHES):
        return (
            'this is a text tower or language model, which cuts no image into patches: give the '
            'file or folder of the image tower (vision_model.* in Hugging Face names)'
        )
    return ''
