"""Top-1 accuracy of exported classifiers on a config's test data."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from torch import Tensor

from ..students.student import Student

Classify = Callable[[Tensor], Tensor]


@torch.no_grad()
def top1(student: Student, cfg: Config, classifiers: Mapping[str, Classify]) -> dict[str, float]:
    """Percent of the test images whose most likely class is right, for several classifiers at once.

    Args:
        student: prepares the images.
        cfg: config with ``test_dataloader``.
        classifiers: name -> normalised images [B, 3, height, width] to logits [B, classes].

    Returns:
        accuracy by name, 0 to 100.
    """
    right = dict.fromkeys(classifiers, 0)
    total = 0
    with DefaultScope.overwrite_default_scope(student.network['scope']):
        loader = Runner.build_dataloader(cfg.test_dataloader)
        for batch in loader:
            batch = student.model.data_preprocessor(batch)
            labels = torch.cat([sample.gt_label for sample in batch['data_samples']]).cpu()
            total += len(labels)
            for name, classify in classifiers.items():
                found = classify(batch['inputs'].cpu()).argmax(dim=1)
                right[name] += int((found == labels).sum())
    return {name: 100 * number / total for name, number in right.items()}
