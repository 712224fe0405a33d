"""Which patches are hidden: noise that depends on the sample alone, and the masking made of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Masking(NamedTuple):
    """One masking of a batch, shared by every network that sees it.

    Attributes:
        keep: int64 [B, n], raster numbers of the visible patches, in ascending-noise order; of all
            patches in raster order.
        restore: int64 [B, L], for each patch in raster order its place in the shuffled sequence.
        mask: float [B, L], 1 = hidden, raster order.
        hidden: int64 [B, m], raster numbers of the hidden patches that decoders see; None for all.
    """

    keep: Tensor
    restore: Tensor
    mask: Tensor
    hidden: Tensor | None = None

    def to(self, device: torch.device | str) -> Masking:
        """The same masking on another device."""
        moved: Any = (None if part is None else part.to(device) for part in self)
        return Masking(*moved)


def random_masking(noise: Tensor, mask_ratio: float) -> Masking:
    """Keep the ``int(L * (1 - mask_ratio))`` patches of smallest noise [B, L] visible.

    Raises:
        ValueError: if no patch would stay visible, or the share is none.
    """
    if mask_ratio < 0:
        raise ValueError(f'mask_ratio {mask_ratio} is below 0: give the share of hidden patches')
    L = noise.shape[1]
    n = int(L * (1 - mask_ratio))
    if n < 1:
        raise ValueError(f'mask_ratio {mask_ratio} leaves none of {L} patches visible')
    shuffle = noise.argsort(dim=1, stable=True)
    if n == L:  # nothing is left to chance, so that tokens are a map
        shuffle = torch.arange(L, device=noise.device).expand(len(noise), -1)
    restore = shuffle.argsort(dim=1, stable=True)
    mask = (restore >= n).to(noise.dtype if noise.is_floating_point() else torch.float32)
    return Masking(keep=shuffle[:, :n], restore=restore, mask=mask)


def nothing_hidden(images: Tensor, num_patches: int) -> Masking:
    """The masking of a batch of images that leaves all patches visible, in raster order."""
    order = torch.arange(num_patches, device=images.device)
    return random_masking(order.expand(len(images), -1), 0.0)


def some_hidden(masking: Masking, share: float) -> Tensor:
    """Raster numbers of a ``share`` of the hidden patches, at random, at least one: int64 [B, m].

    Those of least noise, so they follow from the sample as the masking does.
    """
    visible = masking.keep.shape[1]
    hidden = masking.restore.argsort(dim=1)[:, visible:]
    return hidden[:, : max(1, round(share * hidden.shape[1]))]


def mask_noise(images: Tensor, data_samples: Sequence | None, num_patches: int) -> Tensor:
    """Masking noise in [0, 1) for a batch, float32 [B, num_patches] on the images' device.

    Samples that carry a ``sample_seed`` (put there by the data set wrapper from the run's seed, the
    epoch and the sample's number) get noise that depends on nothing else, so a run on N processes
    masks exactly as one process does, and a resumed run as an uninterrupted one. Without seeds the
    device's global generator is used.
    """
    seeds = seeds_of(data_samples)
    if seeds is None:
        return torch.rand(len(images), num_patches, device=images.device)
    return counter_noise(seeds.to(images.device, non_blocking=True), num_patches)


def seeds_of(data_samples: Sequence | None) -> Tensor | None:
    """The ``sample_seed`` of each sample of a batch, int64 [B]; None if there are none."""
    seeds = [getattr(sample, 'sample_seed', None) for sample in data_samples or ()]
    return torch.tensor(seeds, dtype=torch.int64) if seeds and None not in seeds else None


def counter_noise(seeds: Tensor, length: int) -> Tensor:
    """Uniform noise as a pure function of ``seeds`` (int64 [B]) and position: float32 [B, length].

    The splitmix64 generator (Steele, Lea and Flood, OOPSLA 2014) evaluated at counter ``position``:
    the same numbers on every device, batch split and torch version.
    """
    counter = torch.arange(1, length + 1, device=seeds.device, dtype=torch.int64)
    z = seeds.unsqueeze(1) + counter * _signed(0x9E3779B97F4A7C15)
    z = (z ^ _shift_right(z, 30)) * _signed(0xBF58476D1CE4E5B9)
    z = (z ^ _shift_right(z, 27)) * _signed(0x94D049BB133111EB)
    z = z ^ _shift_right(z, 31)
    return _shift_right(z, 40).to(torch.float32) * 2.0**-24  # 24 bits fill a float32 exactly


def _signed(constant: int) -> int:
    """A 64-bit constant as the int64 that torch can hold."""
    return constant - (1 << 64) if constant >= 1 << 63 else constant


def _shift_right(x: Tensor, bits: int) -> Tensor:
    """Logical right shift of int64 (torch's ``>>`` copies the sign bit in)."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)
