"""The names and shapes of a weights file, asked in the ways that tell one vision encoder apart."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

#: Where a patch projection lies: timm and the original releases, then Hugging Face's.
_PROJECTIONS = (
    'patch_embed.proj.weight',
    'patch_embeddings.projection.weight',
    'patch_embeddings.weight',
    'patch_embedding.weight',
    'patch_embed.weight',
)
_POSITIONS = ('pos_embed', 'position_embeddings', 'position_embedding.weight')
_REGISTERS = ('reg_token', 'storage_tokens', 'register_tokens')
_CLASS_TOKENS = ('cls_token', 'class_embedding')
_BLOCK = re.compile(r'^(?:.*\.)?(?:blocks|layers|layer)\.(\d+)\.')


@dataclass(frozen=True)
class Names:
    """What a state dict says.

    Args:
        state: tensors by name; meta tensors are fine.
        config: ``config.json`` of the folder that it lies in, where there is one.
    """

    state: Mapping[str, Tensor]
    config: Mapping[str, Any] = field(default_factory=dict)

    def has(self, *parts: str) -> bool:
        """Whether any of the parts is in any name."""
        return any(part in self._joined for part in parts)

    def __contains__(self, name: str) -> bool:
        return name in self.state

    def shape(self, *endings: str) -> tuple[int, ...] | None:
        """Of the first tensor whose name ends so; None if there is none."""
        for ending in endings:
            for name, tensor in self.state.items():
                if name == ending or name.endswith(f'.{ending}'):
                    return tuple(tensor.shape)
        return None

    @functools.cached_property
    def _joined(self) -> str:
        return '\n'.join(('', *self.state, ''))

    @functools.cached_property
    def bare(self) -> bool:
        """timm's arrangement: blocks and patches without anything before them."""
        return self.has('\nblocks.') and self.has('\npatch_embed.')

    @functools.cached_property
    def projection(self) -> tuple[int, ...] | None:
        """Shape of the patch projection [width, channels, patch, patch]."""
        found = self.shape(*_PROJECTIONS)
        if found and len(found) == 2 and found[1] % 3 == 0:  # of patches that were cut before
            side = math.isqrt(found[1] // 3)
            return (found[0], 3, side, side) if side * side * 3 == found[1] else None
        return found if found and len(found) == 4 and 0 not in found else None

    @functools.cached_property
    def class_token(self) -> bool:
        """Whether there is one; a head that pools by attention may have another."""
        parts = (name.split('.') for name in self.state)
        return any(part[-1] in _CLASS_TOKENS and part[-2:-1] != ['head'] for part in parts)

    @functools.cached_property
    def registers(self) -> int:
        """How many register tokens there are."""
        shape = self.shape(*_REGISTERS)
        return shape[1] if shape and len(shape) == 3 else 0

    @functools.cached_property
    def depth(self) -> int:
        """How many blocks a network of blocks of one width has."""
        found = [_BLOCK.match(name) for name in self.state if 'decoder' not in name]
        return len({match[1] for match in found if match})

    @functools.cached_property
    def grid(self) -> tuple[int, int] | None:
        """Rows and columns of patches in a table of learnt positions; None where it has none."""
        shape = self.shape(*_POSITIONS)
        if shape is None:
            return None
        if len(shape) == 4:  # a map: SAM has the channels last, Hiera first
            return (shape[1], shape[2]) if shape[1] == shape[2] else (shape[2], shape[3])
        rows = shape[-2] if len(shape) > 1 else 0
        for others in (0, 1, 1 + self.registers + ('dist_token' in self)):
            side = math.isqrt(max(rows - others, 0))
            if side and side * side == rows - others:
                return side, side
        return None

    @functools.cached_property
    def position_of_class(self) -> bool:
        """Whether the table of positions has one row more than a square of patches."""
        shape = self.shape(*_POSITIONS)
        rows = shape[-2] if shape and len(shape) in (2, 3) else 0
        return rows > 1 and math.isqrt(rows - 1) ** 2 == rows - 1


def is_sin_cos(table: Tensor | None) -> bool:
    """True for a table [1, 1 + N, D] of sines and cosines with zeros for the class token.

    Rows and columns of patches fill a half of the channels each, sines first: the squares of a
    half's two quarters sum to one, whichever grid it is and whichever half comes first.
    """
    if table is None or table.ndim != 3 or table.is_meta or not table.is_floating_point():
        return False
    if table.shape[1] < 2 or table.shape[2] % 4 or not table.shape[2] or table[0, 0].any():
        return False
    sin_a, cos_a, sin_b, cos_b = table[0, 1:].float().chunk(4, dim=1)
    ones = torch.stack([sin_a**2 + cos_a**2, sin_b**2 + cos_b**2])
    return bool((ones - 1).abs().max() < 0.02)  # float16 and bfloat16 are that far off
