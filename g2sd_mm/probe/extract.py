"""Features of images, computed once and kept on disk."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..errors import UserError
from ..provenance import cache_key
from ..whole_files import whole_or_not
from .data import Part, batches
from .encoders import Encoder

#: Changes when features of the same inputs would be others.
_VERSION = 2
_BATCH = 64
TOKENS = ('cls', 'mean', 'both')


@dataclass(frozen=True)
class Extracted:
    """Features of one split, on the CPU.

    mean: of the patches [N, C].
    labels: int64 [N], or uint8 [N, size, size].
    cls: [N, C], of a network that has a class token.
    patches: float16 [N, h, w, C], if asked for.
    cached: whether they were on disk.
    """

    mean: Tensor
    labels: Tensor
    cls: Tensor | None = None
    patches: Tensor | None = None
    cached: bool = False

    def token(self, token: str) -> Tensor:
        """``cls``, ``mean`` or ``both`` side by side, [N, C] or [N, 2 C].

        Raises:
            UserError: for a class token where there is none.
        """
        if token == 'mean':
            return self.mean
        if self.cls is None:
            raise UserError(f'--token {token}: this network has no class token, take --token mean')
        return self.cls if token == 'cls' else torch.cat([self.cls, self.mean], dim=1)


def extract(
    encoder: Encoder,
    part: Part,
    size: int,
    share: float,
    device: str = 'cpu',
    cache: Path | None = None,
    patches: bool = False,
    dtype: str = 'float32',
) -> Extracted:
    """Features of a split, from the cache if they are there.

    Args:
        encoder, part, size, share, device, patches, dtype: see :func:`computed`.
        cache: folder; None keeps nothing.
    """
    key = {
        'version': _VERSION, 'weights': encoder.digest, 'built': encoder.built,
        'data': part.digest(), 'size': size, 'share': share, 'block': encoder.block,
        'normed': encoder.normed, 'channels': encoder.channels, 'mean': encoder.mean,
        'std': encoder.std, 'patches': patches, 'dtype': dtype, 'name': encoder.name,
    }  # fmt: skip
    file = cache / f'{cache_key(key)}.safetensors' if cache is not None else None
    if file is not None and file.is_file():
        with suppress(SafetensorError):  # a damaged file is written anew
            return Extracted(**load_file(file), cached=True)
    tensors: dict[str, Any] = computed(encoder, part, size, share, device, patches, dtype)
    broken = [name for name, tensor in tensors.items() if not tensor.float().isfinite().all()]
    if broken:
        raise UserError(f'{encoder.name}: features that are not finite ({", ".join(broken)})')
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        with whole_or_not(file) as unfinished:
            save_file(tensors, unfinished, {'key': json.dumps(key)})
    return Extracted(**tensors)


def computed(
    encoder: Encoder,
    part: Part,
    size: int,
    share: float,
    device: str,
    patches: bool = False,
    dtype: str = 'float32',
) -> dict[str, Tensor]:
    """The fields of :class:`Extracted`, of the images as they are now.

    Args:
        encoder: the network.
        part: the images.
        size, share: see :func:`~g2sd_mm.probe.data.batches`.
        device: where the network runs.
        patches: whether the whole maps are wanted.
        dtype: precision that it runs in (autocast unless float32).
    """
    encoder.network.to(device)
    found: dict[str, list[Tensor]] = {'cls': [], 'mean': [], 'labels': [], 'patches': []}
    kind = torch.device(device).type
    lower = torch.autocast(kind, getattr(torch, dtype), enabled=dtype != 'float32')
    for images, labels in batches(part, size, share, _BATCH):
        with lower:
            answer = encoder.answer(images.to(device))
        mean = answer.patches.flatten(1, 2).mean(dim=1)
        with torch.no_grad():
            found['mean'].append((encoder.pool(mean) if encoder.pool else mean).cpu())
        if answer.cls is not None:
            found['cls'].append(answer.cls.cpu())
        if patches:
            found['patches'].append(answer.patches.half().cpu())
        found['labels'].append(labels)
    return {name: torch.cat(parts) for name, parts in found.items() if parts}
