"""Features of images, computed once and kept on disk."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..errors import UserError
from .data import Part, batches
from .encoders import Encoder

#: Changes when features of the same inputs would be others.
_VERSION = 2
_BATCH = 64
TOKENS = ('cls', 'mean', 'both')


@dataclass(frozen=True)
class Extracted:
    """Features of one split, on the CPU.

    cls: [N, C], or None; mean: of the patches [N, C]; patches: float16 [N, h, w, C], if asked for.
    labels: int64 [N], or uint8 [N, size, size].
    cached: whether they were on disk.
    """

    cls: Tensor | None
    mean: Tensor
    labels: Tensor
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
    advance: Callable[[int], None] = lambda number: None,
) -> Extracted:
    """Features of a split, from the cache if they are there.

    Args:
        encoder: the network.
        part: the images.
        size, share: see :func:`~g2sd_mm.probe.data.batches`.
        device: where the network runs.
        cache: folder; None keeps nothing.
        patches: whether the whole maps are wanted.
        dtype: precision that it runs in (autocast unless float32).
        advance: told how many images were looked at.
    """
    key = {
        'version': _VERSION, 'weights': encoder.digest, 'built': encoder.built,
        'data': part.digest(), 'size': size, 'share': share, 'block': encoder.block,
        'normed': encoder.normed, 'channels': encoder.channels, 'mean': encoder.mean,
        'std': encoder.std, 'patches': patches, 'dtype': dtype, 'name': encoder.name,
    }  # fmt: skip
    file = cache / f'{_digest(key)}.safetensors' if cache is not None else None
    if file is not None and file.is_file():
        with suppress(SafetensorError):  # a damaged file is written anew
            return _read(file)
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
        advance(len(images))
    tensors = {name: torch.cat(parts) for name, parts in found.items() if parts}
    broken = [name for name, tensor in tensors.items() if not tensor.float().isfinite().all()]
    if broken:
        raise UserError(f'{encoder.name}: features that are not finite ({", ".join(broken)})')
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_suffix(f'.{os.getpid()}')
        save_file(tensors, unfinished, {'key': json.dumps(key)})
        unfinished.replace(file)
    return _made(tensors, cached=False)


def _read(file: Path) -> Extracted:
    return _made(load_file(file), cached=True)


def _made(tensors: dict[str, Tensor], cached: bool) -> Extracted:
    return Extracted(
        tensors.get('cls'), tensors['mean'], tensors['labels'], tensors.get('patches'), cached
    )


def _digest(key: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]
