"""Named network sizes, so that a config says ``arch='small'`` and nothing else.

Sources: the published release of G2SD (``mae_vit_{size}_patch16_dec{D}d{B}b``) and, for the
``demo-*`` rows, this project: they are small enough for two CPU cores.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class DecoderSize:
    """Width, depth and heads of a masked autoencoder's decoder."""

    embed_dim: int
    depth: int
    num_heads: int


@dataclass(frozen=True)
class EncoderSize(DecoderSize):
    """Width, depth and heads of a ViT encoder; ``patch_size`` in pixels, and the MLPs' widening."""

    patch_size: int = 16
    mlp_ratio: float = 4


ENCODERS: dict[str, EncoderSize] = {
    'tiny': EncoderSize(192, 12, 3),
    'tiny-12h': EncoderSize(192, 12, 12),
    'small': EncoderSize(384, 12, 6),
    'base': EncoderSize(768, 12, 12),
    'large': EncoderSize(1024, 24, 16),
    'huge': EncoderSize(1280, 32, 16, patch_size=14),
    'demo-teacher': EncoderSize(128, 4, 4, patch_size=8),
    'demo-student': EncoderSize(64, 4, 2, patch_size=8),
}

# Head counts of the published decoders do not follow one head size: 32 channels a head everywhere
# but 16 for width 64 and 24 for width 192.
_DECODER_HEADS = {32: 2, 64: 4, 96: 3, 128: 4, 192: 8, 256: 8, 512: 16}
_DECODER_NAME = re.compile(r'dec(?P<dim>\d+)d(?P<depth>\d+)b')


def encoder_size(arch: str | Mapping | EncoderSize) -> EncoderSize:
    """The size called ``arch``, or a size given in full.

    Args:
        arch: a name of :data:`ENCODERS`, or a mapping with ``embed_dim``, ``depth``, ``num_heads``
            and, where it is not 16, ``patch_size``, and where it is not 4, ``mlp_ratio``.

    Raises:
        ValueError: for an unknown name; the message lists the known ones and the nearest.
    """
    if isinstance(arch, EncoderSize):
        return arch
    if isinstance(arch, Mapping):
        return EncoderSize(**arch)
    if arch not in ENCODERS:
        near = difflib.get_close_matches(str(arch), ENCODERS, n=1)
        hint = f'; did you mean {near[0]!r}?' if near else ''
        raise ValueError(f'unknown arch {arch!r}: known are {", ".join(ENCODERS)}{hint}')
    return ENCODERS[arch]


def decoder_size(decoder: str | Mapping | DecoderSize) -> DecoderSize:
    """The decoder called ``dec{width}d{depth}b`` (official grammar), or a size given in full.

    Raises:
        ValueError: for a name outside the grammar or a width without a published head count.
    """
    if isinstance(decoder, DecoderSize):
        return decoder
    if isinstance(decoder, Mapping):
        return DecoderSize(**decoder)
    match = _DECODER_NAME.fullmatch(str(decoder))
    if match is None or int(match['dim']) not in _DECODER_HEADS:
        widths = ', '.join(map(str, _DECODER_HEADS))
        raise ValueError(
            f'unknown decoder {decoder!r}: write dec<width>d<depth>b with a width of {widths}, '
            'or give dict(embed_dim=, depth=, num_heads=)'
        )
    dim = int(match['dim'])
    return DecoderSize(dim, int(match['depth']), _DECODER_HEADS[dim])


def usual_heads(width: int) -> int | None:
    """Heads of the published encoder of that width; None if there is none."""
    return next((size.num_heads for size in ENCODERS.values() if size.embed_dim == width), None)


def usual_decoder_heads(width: int) -> int | None:
    """Heads of the published decoder of that width; None if there is none."""
    return _DECODER_HEADS.get(width)
