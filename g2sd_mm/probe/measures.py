"""Measures of features [N, D] with labels [N]: neighbours, a linear layer, few examples, retrieval.

And :func:`dense_probe` of patches: what each knows of its class.

All are deterministic. Features are compared by cosine. ``centred='train'`` takes the mean of the
training features off before, ``'each'`` each split's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import minimize
from torch import Tensor, nn

from ..errors import UserError

#: Label of a pixel that is of no class.
IGNORED = 255
_QUERIES = 512  # that are compared at once
#: Whose mean is taken off: that of the training images, or of each split its own.
CENTRES = ('train', 'each')
#: Strengths among which the linear probe chooses, as scikit-learn counts them.
STRENGTHS = tuple(10.0**exponent for exponent in range(-5, 2))


def unit(features: Tensor, centre: Tensor | None = None) -> Tensor:
    """Features of length 1, float32, the centre [D] taken off before."""
    features = features.float()
    return F.normalize(features if centre is None else features - centre.float(), dim=1)


def _compared(train: Tensor, val: Tensor, centred: str | None) -> tuple[Tensor, Tensor]:
    """Both splits in unit length, centred as one of :data:`CENTRES` says."""
    if centred not in (None, *CENTRES):
        raise UserError(f'centred={centred!r} is none of {", ".join(CENTRES)}')
    first = train.float().mean(dim=0) if centred else None
    second = val.float().mean(dim=0) if centred == 'each' else first
    return unit(train, first), unit(val, second)


def neighbour_votes(
    train: Tensor, labels: Tensor, queries: Tensor, k: int, temperature: float, classes: int
) -> Tensor:
    """Votes [Q, classes] of the k most similar training images, weighted ``exp(cosine / T)``.

    Args:
        train: unit features [N, D].
        labels: int64 [N].
        queries: unit features [Q, D].
        k: neighbours; all of them, where there are fewer.
        temperature: T; DINO's is 0.07.
        classes: how many there are.
    """
    votes = []
    for part in queries.split(_QUERIES):
        similarity, nearest = (part @ train.T).topk(min(k, len(train)), dim=1)
        # the largest is taken off, or exp would overflow at a small T; the ranking is the same
        weights = ((similarity - similarity[:, :1]) / temperature).exp()
        weights = weights.clamp(min=torch.finfo(weights.dtype).tiny)  # the farthest votes too
        empty = weights.new_zeros(len(part), classes)
        votes.append(empty.scatter_add_(1, labels[nearest], weights))
    return torch.cat(votes)


def accuracies(scores: Tensor, labels: Tensor) -> dict[str, float]:
    """Percent of the images [Q] whose class has the highest of the scores [Q, classes], or is among
    the five highest; ``top5`` where there are more than five classes. A class of score -inf is no
    answer, whatever its place."""
    ranks = (1, 5) if scores.shape[1] > 5 else (1,)
    values, classes = scores.topk(max(ranks), dim=1)
    best = (classes == labels[:, None]) & (values > -torch.inf)
    return {f'top{k}': round(100 * best[:, :k].any(dim=1).double().mean().item(), 4) for k in ranks}


def k_nearest(
    train: Tensor, labels: Tensor, val: Tensor, val_labels: Tensor,
    k: int = 20, temperature: float = 0.07, centred: str | None = None,
    classes: int | None = None,
) -> dict[str, Any]:
    """``top1`` and ``top5`` in percent of :func:`neighbour_votes`; DINO's protocol."""
    number = _number(labels, val_labels) if classes is None else classes
    x, y = _compared(train, val, centred)
    votes = neighbour_votes(x, labels, y, k, temperature, number)
    # a class that no neighbour is of is not among the five best
    return {**accuracies(votes.log(), val_labels), 'k': k, 'temperature': temperature}


def logistic_regression(
    features: Tensor, labels: Tensor, classes: int, strength: float, steps: int = 500
) -> tuple[Tensor, Tensor]:
    """The linear layer that minimises ``|W|^2 / 2 + strength * sum of cross-entropies``.

    scikit-learn's ``LogisticRegression(C=strength)``; the bias is not penalised. L-BFGS in float64
    on the features' device.

    Returns:
        W [classes, D] and bias [classes], float64.
    """
    x, y = features.double(), labels
    n, d = x.shape

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights = torch.from_numpy(flat).to(x.device).view(classes, d + 1).requires_grad_()
        value = F.cross_entropy(x @ weights[:, :d].T + weights[:, d], y)
        value = value + weights[:, :d].square().sum() / (2 * strength * n)
        value.backward()
        assert weights.grad is not None
        return value.item(), weights.grad.flatten().cpu().numpy()

    found = minimize(
        loss, np.zeros(classes * (d + 1)), jac=True, method='L-BFGS-B',
        options={'maxiter': steps, 'maxcor': 20, 'gtol': 1e-7, 'ftol': 1e-12},
    ).x  # fmt: skip
    weights = torch.from_numpy(found).to(x.device).view(classes, d + 1)
    return weights[:, :d], weights[:, d]


def linear_probe(
    train: Tensor, labels: Tensor, val: Tensor, val_labels: Tensor,
    strengths: Sequence[float] = STRENGTHS, classes: int | None = None,
) -> dict[str, Any]:
    """Accuracy of a linear layer on standardised features, in percent.

    The strength is the one that is best on a fifth of the training images (every fifth of a class)
    when the others train; then all of them train. Validation images take no part in the choice.
    """
    number = _number(labels, val_labels) if classes is None else classes
    mean = train.double().mean(dim=0)
    # of a single image there is no deviation
    std = train.double().std(dim=0, correction=min(1, len(train) - 1)).clamp(min=1e-6)
    x, queries = (train.double() - mean) / std, (val.double() - mean) / std
    held = _every_fifth(labels)
    chosen, tried = strengths[0], {}
    if len(strengths) > 1 and held.any() and not held.all():
        for strength in strengths:
            w, b = logistic_regression(x[~held], labels[~held], number, strength)
            tried[strength] = accuracies(x[held] @ w.T + b, labels[held])['top1']
        chosen = max(strengths, key=lambda s: tried[s])
    w, b = logistic_regression(x, labels, number, chosen)
    return {**accuracies(queries @ w.T + b, val_labels), 'strength': chosen, 'held_out': tried}


def few_shot(
    train: Tensor, labels: Tensor, val: Tensor, val_labels: Tensor,
    shots: Sequence[int] = (1, 5, 10), draws: int = 5, seed: int = 0, centred: bool = True,
    classes: int | None = None,
) -> dict[str, Any]:
    """Accuracy from a few images a class: the class whose mean is nearest (Euclidean).

    The images are drawn anew ``draws`` times; features have length 1, and the mean of the drawn
    ones is taken off before.

    Returns:
        number of images -> ``top1`` in percent (mean of the draws) and ``std`` (of the draws);
        numbers that a class has not enough images for are left out.
    """
    number = _number(labels, val_labels) if classes is None else classes
    present = [c for c in range(number) if (labels == c).any()]
    least = min(int((labels == c).sum()) for c in present)
    found = {}
    for shot in (shot for shot in shots if shot <= least):
        tops = []
        for draw in range(draws):
            generator = torch.Generator().manual_seed(1000 * seed + draw)
            taken = torch.stack([_drawn(labels, c, shot, generator) for c in present])
            chosen = train[taken.flatten().to(train.device)]
            centre = chosen.float().mean(dim=0) if centred else None
            means = unit(chosen, centre).view(len(present), shot, -1).mean(dim=1)
            near = torch.cdist(unit(val, centre), means).argmin(dim=1)
            right = torch.tensor(present, device=near.device)[near] == val_labels
            tops.append(100 * right.double().mean().item())
        std = float(np.std(tops, ddof=1)) if draws > 1 else 0.0
        found[str(shot)] = {'top1': round(float(np.mean(tops)), 4), 'std': round(std, 4)}
    return {'shots': found, 'draws': draws}


def retrieval(
    gallery: Tensor, labels: Tensor, queries: Tensor, query_labels: Tensor,
    ranks: Sequence[int] = (1, 5, 10), centred: str | None = None,
) -> dict[str, Any]:
    """Mean average precision over the whole ranking, and recall at k, in percent.

    An image is right for a query of its class. Recall at k is the share of the queries that have a
    right image among the k most similar. Queries of a class without images are left out, counted.
    """
    gallery, queries = _compared(gallery, queries, centred)
    precisions: list[Tensor] = []
    hits: dict[int, list[Tensor]] = {k: [] for k in ranks}
    for part, own in zip(queries.split(_QUERIES), query_labels.split(_QUERIES), strict=True):
        order = (part @ gallery.T).argsort(dim=1, descending=True, stable=True)
        right = labels[order] == own[:, None]
        right = right[right.any(dim=1)]
        places = torch.arange(1, right.shape[1] + 1, device=right.device)
        precision = right.cumsum(dim=1).double() / places
        precisions.append((precision * right).sum(dim=1) / right.sum(dim=1))
        for k in ranks:
            hits[k].append(right[:, :k].any(dim=1).double())
    found = torch.cat(precisions)
    recalls = {f'recall@{k}': _percent(torch.cat(hits[k])) for k in ranks}
    return {'mAP': _percent(found), **recalls, 'left_out': len(queries) - len(found)}


def _percent(shares: Tensor) -> float:
    return round(100 * shares.mean().item(), 4) if len(shares) else 0.0


def _number(*labels: Tensor) -> int:
    return 1 + max(int(part.max()) for part in labels)


def _every_fifth(labels: Tensor) -> Tensor:
    """A mask [N]: of each class its fifth, tenth, ... image; its last one of two to four."""
    held = torch.zeros_like(labels, dtype=torch.bool)
    for label in labels.unique():
        places = (labels == label).nonzero().flatten()
        fifths = places[4::5] if len(places) >= 5 else places[1:][-1:]
        held[fifths] = True
    return held


def _drawn(labels: Tensor, label: int, number: int, generator: torch.Generator) -> Tensor:
    places = (labels.cpu() == label).nonzero().flatten()
    return places[torch.randperm(len(places), generator=generator)[:number]]


# Patches of images with masks --------------------------------------------------------------------


def dense_probe(
    train: Tensor, train_masks: Tensor, val: Tensor, val_masks: Tensor, classes: int,
    epochs: int = 30, rate: float = 1e-3, batch: int = 16, seed: int = 0, least: int = 500,
) -> dict[str, Any]:
    """Mean IoU of a batch norm and a 1x1 convolution, its logits resized to the masks (bilinear).

    Args:
        train, val: patch features [N, rows, columns, C].
        train_masks, val_masks: labels uint8 [N, height, width]; 255 is ignored.
        classes: how many.
        epochs, rate, batch, seed: of AdamW, its rate falling to 0 by a cosine.
        least: updates; of few images it takes more epochs to learn anything at all.

    Returns:
        ``mIoU`` (of classes that occur in masks or answers), ``mAcc`` and ``aAcc``, in percent.
    """
    device = train.device
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        width = train.shape[-1]
        head = nn.Sequential(nn.BatchNorm2d(width, affine=False), nn.Conv2d(width, classes, 1))
    head.to(device).train()
    optimizer = torch.optim.AdamW(head.parameters(), lr=rate, weight_decay=1e-4)
    each = max(1, len(train) // batch)
    epochs = max(epochs, -(-least // each))
    steps = epochs * each
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        order = torch.randperm(len(train), generator=generator).to(device)
        for part in order.split(batch)[:each]:
            logits = _logits(head, train[part], train_masks.shape[1:])
            loss = F.cross_entropy(logits, train_masks[part].long(), ignore_index=IGNORED)
            if torch.isnan(loss):  # nothing but ignored pixels
                continue
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    head.eval()
    counts = torch.zeros(classes, classes, dtype=torch.int64)
    with torch.no_grad():
        for part, masks in zip(val.split(batch), val_masks.split(batch), strict=True):
            found = _logits(head, part, masks.shape[1:]).argmax(dim=1)
            counts += confusion(found, masks, classes)
    return intersections(counts)


def _logits(head: nn.Module, features: Tensor, size: Any) -> Tensor:
    logits = head(features.float().permute(0, 3, 1, 2))
    return F.interpolate(logits, tuple(size), mode='bilinear', align_corners=False)


def confusion(found: Tensor, masks: Tensor, classes: int) -> Tensor:
    """Pixels [classes, classes] by their label (rows) and what was answered (columns)."""
    counted = masks != IGNORED
    pairs = masks[counted].long() * classes + found[counted].long()
    return torch.bincount(pairs.cpu(), minlength=classes**2).view(classes, classes)


def intersections(counts: Tensor) -> dict[str, float]:
    """mIoU, mean and overall accuracy in percent, of a table of :func:`confusion`."""
    right, labelled, answered = counts.diagonal().double(), counts.sum(dim=1), counts.sum(dim=0)
    union = labelled + answered - right
    there, known = union > 0, labelled > 0
    return {
        'mIoU': round(100 * (right[there] / union[there]).mean().item(), 4),
        'mAcc': round(100 * (right[known] / labelled[known]).mean().item(), 4),
        'aAcc': round(100 * (right.sum() / counts.sum()).item(), 4),
    }
