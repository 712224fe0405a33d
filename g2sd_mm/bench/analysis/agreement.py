"""How often a student says what its teacher says, and how sure both are."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from .calibration import calibration
from .network import Advance, Networks, logits, nothing


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
    """Agreement of every student with the teacher, and the calibration of all.

    Args:
        networks: classifiers, the teacher first.
        images: uint8 [N, 3, height, width].
        labels: int64 [N].
        advance: told of images that a network has seen.
    """
    teacher, *students = networks
    scores = {name: logits(network, images, advance) for name, network in networks.items()}
    return {
        'teacher': teacher,
        'images': len(images),
        'agreement': {name: agreement(scores[name], scores[teacher], labels) for name in students},
        'calibration': {name: calibration(scores[name], labels) for name in networks},
    }
