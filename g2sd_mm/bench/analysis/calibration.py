"""Whether a classifier is as often right as it is sure (Guo et al., ICML 2017)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

BINS = 15


def reliability(
    confidence: Tensor, correct: Tensor, bins: int = BINS
) -> dict[str, list[float | int]]:
    """Predictions sorted into bins of equal width by their confidence.

    Args:
        confidence: probability of the predicted class [N], in 0..1.
        correct: bool [N].
        bins: how many.

    Returns:
        for each bin: ``count``, mean ``confidence`` and ``accuracy`` (0..1; 0 in an empty bin).
    """
    # (0, 1/b], (1/b, 2/b], ...; a confidence of 0 goes to the first
    place = (confidence * bins).ceil().long().clamp(1, bins) - 1
    count = torch.bincount(place, minlength=bins)
    mean = [
        torch.bincount(place, weights=values.double(), minlength=bins) / count.clamp(min=1)
        for values in (confidence, correct)
    ]
    return {
        'count': count.tolist(), 'confidence': mean[0].tolist(), 'accuracy': mean[1].tolist()
    }


def expected_calibration_error(table: dict[str, list[float | int]]) -> float:
    """Mean gap of confidence and accuracy over the bins, weighted by their counts, in 0..1."""
    gaps = [
        n * abs(a - c)
        for n, a, c in zip(table['count'], table['accuracy'], table['confidence'], strict=True)
    ]
    return sum(gaps) / max(sum(table['count']), 1)


def calibration(logits: Tensor, labels: Tensor, bins: int = BINS) -> dict[str, Any]:
    """Calibration of class scores [N, classes] against labels [N].

    Returns:
        ``accuracy`` and mean ``confidence`` and ``ece`` in percent, ``nll`` in nats (the mean
        negative log-likelihood), and the table of :func:`reliability`.
    """
    probabilities = logits.double().softmax(dim=1)
    confidence, predicted = probabilities.max(dim=1)
    correct = predicted == labels
    table = reliability(confidence, correct, bins)
    truth = probabilities.gather(1, labels.unsqueeze(1)).clamp(min=1e-300)
    return {
        'accuracy': 100 * correct.double().mean().item(),
        'confidence': 100 * confidence.mean().item(),
        'ece': 100 * expected_calibration_error(table),
        'nll': -truth.log().mean().item(),
        'bins': table,
    }
