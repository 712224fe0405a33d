"""A linear layer on frozen patch features, for segmentation: what each patch knows of its class."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

IGNORED = 255


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
