"""How much of an image a classifier can do without.

Patches are taken out of the sequence in front of the first block, as masked pre-training does, so
that nothing of them reaches the network: at random, or those first that matter most to the teacher.
Every network loses the same patches.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...distill.taps import Taps
from ...models.masking import counter_noise
from ...students.student import Student
from .network import BATCH, Advance, Networks, accuracy, normalised, nothing, transformer

#: Of patches that go; the whole image comes first.
FRACTIONS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@contextmanager
def visible_only(backbone: Any, keep: Tensor) -> Iterator[None]:
    """Within the block a classification ViT is given the patches in ``keep`` alone.

    Args:
        backbone: a ``G2SDViT``.
        keep: raster numbers of patches [B, n]; the class token, and a distillation token behind
            the patches, stay.
    """

    def choose(block: nn.Module, args: tuple) -> tuple:
        x, *rest = args
        behind = 1 if getattr(backbone, 'out_type', '') == 'dist_token' else 0
        patches = x[:, 1 : x.shape[1] - behind]
        kept = patches.gather(1, keep.unsqueeze(-1).expand(-1, -1, x.shape[2]))
        return torch.cat([x[:, :1], kept, x[:, x.shape[1] - behind :]], dim=1), *rest

    handle = backbone.blocks[0].register_forward_pre_hook(choose)
    try:
        yield
    finally:
        handle.remove()


def saliency(student: Student, images: Tensor) -> Tensor:
    """How much every patch speaks for the class that is predicted: [B, L].

    Gradient of that class's score by the patch's token, times the token: to first order, what the
    score loses without it.

    Args:
        student: a classifier.
        images: normalised [B, 3, height, width].
    """
    tokens = []

    def keep(module: nn.Module, args: tuple, output: Tensor) -> Tensor:
        tokens.append(output.detach().requires_grad_())
        return tokens[0]

    handle = student.model.backbone.patch_embed.register_forward_hook(keep)
    try:
        with torch.enable_grad():
            scores = student(images)
            (gradient,) = torch.autograd.grad(scores.max(dim=1).values.sum(), tokens)
    finally:
        handle.remove()
    return (gradient * tokens[0]).sum(-1).detach()


def drop_orders(teacher: Student, images: Tensor, advance: Advance = nothing) -> dict[str, Tensor]:
    """In which order patches go, raster numbers [N, L] for each way.

    ``random``: noise that depends on the image's number alone. ``salient``: by the teacher's
    :func:`saliency`, the most important first.
    """
    ranks = []
    for part in images.split(BATCH):
        ranks.append(saliency(teacher, normalised(teacher, part)).cpu())
        advance(len(part))
    salient = torch.cat(ranks)
    noise = counter_noise(torch.arange(len(images)), salient.shape[1])
    return {
        'random': noise.argsort(dim=1),
        'salient': salient.argsort(dim=1, descending=True, stable=True),
    }


def number_kept(patches: int, fraction: float) -> int:
    """Patches that stay when a fraction goes; at least one."""
    return max(1, patches - round(patches * fraction))


@torch.no_grad()
def answers(
    student: Student, images: Tensor, order: Tensor, fraction: float, advance: Advance = nothing
) -> tuple[Tensor, Tensor]:
    """Class scores [N, classes] and features [N, D] without the first ``fraction`` of ``order``."""
    kept = number_kept(order.shape[1], fraction)
    backbone = student.model.backbone
    taps = Taps(student.model, {'feature': 'backbone'})
    scores, features = [], []
    for part, places in zip(images.split(BATCH), order.split(BATCH), strict=True):
        x = normalised(student, part)
        # in raster order: with nothing dropped, the very same computation as on the whole image
        keep = places[:, order.shape[1] - kept :].sort(dim=1).values.to(x.device)
        with visible_only(backbone, keep), taps.record() as seen:
            scores.append(student(x).cpu())
        (found,) = seen['feature']  # of a network of two tokens both are handed to its head
        features.append((torch.cat(found, dim=1) if isinstance(found, tuple) else found).cpu())
        advance(len(x))
    taps.remove()
    return torch.cat(scores), torch.cat(features)


def similarity(features: Tensor, whole: Tensor) -> float:
    """Mean cosine of features [N, D] with those of the whole images, relative to their mean.

    1 for the same; 0 is what features of other images would give. Without taking the mean away, any
    two images would look alike.
    """
    centre = whole.mean(dim=0)
    return F.cosine_similarity(features - centre, whole - centre, dim=1).mean().item()


def occlusion(
    networks: Networks, images: Tensor, labels: Tensor, advance: Advance = nothing
) -> dict[str, Any]:
    """Accuracy and feature similarity of classifiers against the fraction of dropped patches.

    Returns:
        ``orders``: ``random`` and ``salient`` -> network -> ``accuracy`` in percent and
        ``similarity`` (see :func:`similarity`), a value for each fraction.
    """
    teacher = next(iter(networks))
    for name, student in networks.items():
        transformer(student, name)
    orders = drop_orders(networks[teacher], images, advance)
    curves: dict[str, dict[str, dict[str, list[float]]]] = {way: {} for way in orders}
    for name, student in networks.items():
        # with nothing dropped, the order does not matter
        whole = answers(student, images, orders['random'], FRACTIONS[0], advance)
        for way, order in orders.items():
            found = [whole, *(answers(student, images, order, f, advance) for f in FRACTIONS[1:])]
            curves[way][name] = {
                'accuracy': [accuracy(scores, labels) for scores, _ in found],
                'similarity': [similarity(features, whole[1]) for _, features in found],
            }
    return {
        'teacher': teacher,
        'images': len(images),
        'patches': orders['random'].shape[1],
        'fractions': list(FRACTIONS),
        'orders': curves,
    }

