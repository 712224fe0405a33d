"""How often a student says what its teacher says, and whether both are as often right as sure.

The calibration error is that of Guo et al., ICML 2017.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .network import Advance, Networks, accuracy, logits, nothing

BINS = 15  # of confidence


def agreement(student: Tensor, teacher: Tensor, labels: Tensor) -> dict[str, float | None]:
    """Agreement of two classifiers' scores [N, classes] on the same images.

    Returns:
        ``same``: percent of images of which both say the same class; ``same_where_right`` and
        ``same_where_wrong``: the same among those of which the teacher is right or wrong (None
        where there are none); ``kl``: mean KL divergence of the student's probabilities from the
        teacher's, in nats.
    """
    same = student.argmax(dim=1) == teacher.argmax(dim=1)
    right = teacher.argmax(dim=1) == labels
    kl = F.kl_div(
        student.double().log_softmax(dim=1), teacher.double().log_softmax(dim=1),
        log_target=True, reduction='batchmean',
    )  # fmt: skip
    return {
        'same': _percent(same),
        'same_where_right': _percent(same[right]),
        'same_where_wrong': _percent(same[~right]),
        'kl': kl.item(),
    }


def _percent(flags: Tensor) -> float | None:
    return 100 * flags.double().mean().item() if len(flags) else None


def compare_answers(
    networks: Networks, images: Tensor, labels: Tensor, advance: Advance = nothing
) -> dict[str, Any]:
    """Agreement of every student with the teacher, and the calibration of all."""
    teacher, *students = networks
    scores = {name: logits(network, images, advance) for name, network in networks.items()}
    return {
        'teacher': teacher,
        'images': len(images),
        'agreement': {name: agreement(scores[name], scores[teacher], labels) for name in students},
        'calibration': {name: calibration(scores[name], labels) for name in networks},
    }


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
        'accuracy': accuracy(logits, labels),
        'confidence': 100 * confidence.mean().item(),
        'ece': 100 * expected_calibration_error(table),
        'nll': -truth.log().mean().item(),
        'bins': table,
    }
