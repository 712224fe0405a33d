"""Box overlaps, the three kinds of non-maximum suppression, focal loss, and their precision."""

from __future__ import annotations

import torch
import torchvision  # noqa: F401  registers the kernels of torch.ops.torchvision
from torch import Tensor

from g2sd_mm import precision


def _area(boxes: Tensor, offset: int) -> Tensor:
    return (boxes[..., 2:] - boxes[..., :2] + offset).prod(-1)


def _intersection(first: Tensor, second: Tensor, offset: int) -> Tensor:
    upper_left = torch.maximum(first[..., :2], second[..., :2])
    lower_right = torch.minimum(first[..., 2:], second[..., 2:])
    return (lower_right - upper_left + offset).clamp(min=0).prod(-1)


def _iou(first: Tensor, second: Tensor, offset: int) -> Tensor:
    shared = _intersection(first, second, offset)
    return shared / (_area(first, offset) + _area(second, offset) - shared)


def bbox_overlaps(
    bboxes1: Tensor, bboxes2: Tensor, ious: Tensor, mode: int, aligned: bool, offset: int
) -> None:
    """Write IoU (``mode`` 0) or intersection over ``bboxes1`` (``mode`` 1) into ``ious``."""
    first, second = full_pair(bboxes1, bboxes2)
    if not aligned:
        first = first[:, None]
    if mode == 0:
        ious.copy_(_iou(first, second, offset))
    else:
        ious.copy_(_intersection(first, second, offset) / _area(first, offset))


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Indices of the kept boxes, best first."""
    if boxes.numel() == 0:
        return boxes.new_empty((0,), dtype=torch.long)
    boxes, scores = full_pair(boxes, scores)
    # A side is x2 - x1 + offset in mmcv: the same as moving the far corner by the offset.
    boxes = torch.cat([boxes[:, :2], boxes[:, 2:] + offset], dim=1)
    return torch.ops.torchvision.nms(boxes, scores, float(iou_threshold))


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Write kept boxes with decayed scores into the first rows of ``dets``, return their indices.

    ``method`` is 0 (naive), 1 (linear) or 2 (gaussian). The best box is kept whatever its score.
    """
    boxes, scores = full_pair(boxes, scores)
    indices = torch.arange(len(boxes), device=boxes.device)
    kept: list[int] = []
    while len(scores):
        best = int(scores.argmax())
        row = dets[len(kept)]
        row[:4], row[4] = boxes[best], scores[best]
        kept.append(int(indices[best]))

        scores = scores * _decay(
            _iou(boxes[best], boxes, offset), iou_threshold, sigma=sigma, method=method
        )
        # `not (a < b)` and not `a >= b`, so that a NaN score survives as it does in mmcv.
        alive = ~(scores < min_score)
        alive[best] = False
        boxes, scores, indices = boxes[alive], scores[alive], indices[alive]
    return torch.tensor(kept, dtype=torch.long)


def _decay(iou: Tensor, iou_threshold: float, *, sigma: float, method: int) -> Tensor:
    if method == 0:
        return (~(iou >= iou_threshold)).to(iou.dtype)
    if method == 1:
        return torch.where(iou >= iou_threshold, 1 - iou, torch.ones_like(iou))
    return torch.exp(-iou.square() / sigma)


def nms_match(dets: Tensor, iou_threshold: float) -> list[list[int]]:
    """Groups of detections: a kept one first, then those it suppresses, best first."""
    dets = full(dets)
    waiting = dets[:, 4].argsort(descending=True)
    groups: list[list[int]] = []
    while len(waiting):
        best, waiting = waiting[0], waiting[1:]
        suppressed = _iou(dets[best, :4], dets[waiting, :4], offset=0) >= iou_threshold
        groups.append([int(best), *waiting[suppressed].tolist()])
        waiting = waiting[~suppressed]
    return groups


_TINY = torch.finfo(torch.float32).tiny


def _focal_terms(input: Tensor, target: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Probabilities, where the target class is, and the weight of each row."""
    probability = full(input).sigmoid()
    classes = torch.arange(input.size(1), device=input.device)
    positive = target.view(-1, 1) == classes
    if weight.numel() == 0:
        return probability, positive, probability.new_ones(())
    background = weight.new_ones(1)
    row_weight = torch.cat([weight, background]).to(probability.dtype)[target].view(-1, 1)
    return probability, positive, row_weight


def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Write the loss of each (row, class) into ``output``; target ``C`` means background."""
    p, positive, row_weight = _focal_terms(input, target, weight)
    hit = -alpha * (1 - p) ** gamma * p.clamp(min=_TINY).log()
    miss = -(1 - alpha) * p**gamma * (1 - p).clamp(min=_TINY).log()
    output.copy_(torch.where(positive, hit, miss) * row_weight)


def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Write the derivative of each loss by its logit into ``grad_input``."""
    p, positive, row_weight = _focal_terms(input, target, weight)
    log_p, log_q = p.clamp(min=_TINY).log(), (1 - p).clamp(min=_TINY).log()
    hit = -alpha * (1 - p) ** gamma * (1 - p - gamma * p * log_p)
    miss = -(1 - alpha) * p**gamma * (gamma * (1 - p) * log_q - p)
    grad_input.copy_(torch.where(positive, hit, miss) * row_weight)


def full(tensor: Tensor) -> Tensor:
    """The tensor in a precision that torchvision's kernels know on every device."""
    tensor = precision.full(tensor) if tensor.is_floating_point() else tensor.float()
    return tensor.contiguous()


def full_pair(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Both tensors in the wider of their full precisions: the kernels take no mixture."""
    first, second = full(first), full(second)
    dtype = torch.promote_types(first.dtype, second.dtype)
    return first.to(dtype), second.to(dtype)
