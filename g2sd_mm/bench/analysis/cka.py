"""Linear centred kernel alignment (CKA) of layers: how alike two networks see the same images.

CKA: Kornblith et al., "Similarity of Neural Network Representations Revisited", ICML 2019. Summed
over batches from an unbiased HSIC, as Nguyen, Raghu and Kornblith do ("Do Wide and Deep Networks
Learn the Same Things?", ICLR 2021): the value does not depend on the size of the batches, and
unrelated features of many channels give 0 and not 1.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...errors import UserError
from .network import (
    Advance,
    Networks,
    block_taps,
    known,
    normalised,
    nothing,
    patch_tokens,
    transformer,
)

_FEWEST = 4  # images of a batch: the estimate divides by n - 3


def linear_gram(features: Tensor) -> Tensor:
    """Inner products [n, n] of the rows of ``features`` [n, p], columns centred first.

    HSIC does not change with the centring; the products are more exact with it.
    """
    x = features.double()
    x = x - x.mean(dim=0)
    return x @ x.T


def unbiased_hsic(k: Tensor, l: Tensor) -> Tensor:  # noqa: E741, the formula's name
    """Unbiased estimate of the Hilbert-Schmidt independence criterion, a scalar.

    Song et al., "Feature Selection via Dependence Maximization", JMLR 2012, equation 5.

    Args:
        k, l: kernels [n, n] of the same n > 3 examples.

    Raises:
        ValueError: for three examples or fewer.
    """
    n = len(k)
    if n < _FEWEST:
        raise ValueError(f'the unbiased HSIC needs four examples, got {n}')
    k, l = k.clone().fill_diagonal_(0), l.clone().fill_diagonal_(0)  # noqa: E741
    trace = (k * l).sum()  # both are symmetric
    totals = k.sum() * l.sum() / ((n - 1) * (n - 2))
    rows = 2 / (n - 2) * (k.sum(dim=0) * l.sum(dim=0)).sum()
    return (trace + totals - rows) / (n * (n - 3))


class LayerCKA:
    """CKA of all pairs of layers of two networks, summed up batch by batch."""

    def __init__(self) -> None:
        self._sums: tuple[Tensor, ...] = ()

    def add(self, ours: list[Tensor], theirs: list[Tensor]) -> None:
        """Features of one batch, ``[n, p]`` for each layer; ``p`` may differ, ``n`` may not."""
        own, other = [linear_gram(x) for x in ours], [linear_gram(y) for y in theirs]
        cross = torch.stack([torch.stack([unbiased_hsic(k, m) for m in other]) for k in own])
        parts = (
            cross,
            torch.stack([unbiased_hsic(k, k) for k in own]),
            torch.stack([unbiased_hsic(m, m) for m in other]),
        )
        sums = self._sums or tuple(torch.zeros_like(part) for part in parts)
        self._sums = tuple(total + part for total, part in zip(sums, parts, strict=True))

    def value(self) -> Tensor:
        """CKA [layers of ours, layers of theirs]; NaN where a layer has the same for all images."""
        cross, own, other = self._sums
        scale = (own.clamp(min=0)[:, None] * other.clamp(min=0)[None]).sqrt()
        return torch.where(scale > 0, cross / scale, torch.nan)


@torch.no_grad()
def compare_layers(
    networks: Networks, images: Tensor, batch: int = 100, advance: Advance = nothing
) -> dict[str, Any]:
    """CKA of every block of every student with every block of the teacher.

    The features of a block are its patch tokens, all of an image in one row.

    Args:
        batch: images that are compared at once; a smaller rest is left out.

    Returns:
        ``images``: that were compared; ``cka``: student -> [its blocks][the teacher's blocks], None
        where a block says the same of all images.

    Raises:
        UserError: for fewer than four images, or other backbones.
    """
    batch = min(batch, len(images))
    if batch < _FEWEST:
        raise UserError(f'CKA compares at least {_FEWEST} images, and the data have {len(images)}')
    teacher, *students = networks
    backbones = {name: transformer(student, name) for name, student in networks.items()}
    taps = {name: block_taps(backbone) for name, backbone in backbones.items()}
    sums = {name: LayerCKA() for name in students}
    for part in images.split(batch):
        if len(part) < batch:
            continue
        layers = {}
        for name, backbone in backbones.items():
            x = normalised(networks[name], part)
            rows, columns = backbone.patch_embed.grid(x)
            with taps[name].record() as seen:
                backbone(x)
            layers[name] = [
                tokens[:, patch_tokens(tokens, rows * columns)].flatten(1).cpu()
                for tokens in seen.values()
            ]
            advance(len(x))
        for name in students:
            sums[name].add(layers[name], layers[teacher])
    for tap in taps.values():
        tap.remove()
    return {
        'teacher': teacher,
        'images': len(images) // batch * batch,
        'batch': batch,
        'cka': {
            name: [known(layers) for layers in total.value().tolist()]
            for name, total in sums.items()
        },
    }
