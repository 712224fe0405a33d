"""What a config predicts, in plain values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.config import Config

from ..agreement.data_names import names_of
from ..config.classes import class_name
from ..config.parts import LOADERS


def class_names(cfg: Config) -> tuple[str, ...]:
    """Names of the classes that a config's test data have; empty if nothing tells them.

    From ``metainfo`` in the config, else from the data set's class, else from the class folders.
    A config without test data has those of validation or training.
    """
    for loader in reversed(LOADERS):
        if found := names_of(cfg, loader):
            return found[0].order
    return ()


def plain_prediction(sample: Any, classes: Sequence[str], threshold: float) -> dict[str, Any]:
    """A data sample's prediction as numbers, strings, lists and dicts (see ``Student.predict``)."""
    if 'pred_sem_seg' in sample:
        labels, counts = np.unique(sample.pred_sem_seg.data.cpu().numpy(), return_counts=True)
        shares = counts / counts.sum()
        return {
            'classes': {
                class_name(classes, int(label)): round(float(share), 4)
                for label, share in zip(labels, shares, strict=True)
            }
        }
    if 'pred_instances' in sample:
        found = sample.pred_instances
        return {
            'instances': [
                _instance(found, i, classes)
                for i in range(len(found))
                if float(found.scores[i]) >= threshold
            ]
        }
    scores = sample.pred_score.cpu().tolist()
    order = sorted(range(len(scores)), key=lambda label: -scores[label])[:5]
    return {'scores': {class_name(classes, label): round(scores[label], 4) for label in order}}


def _instance(found: Any, i: int, classes: Sequence[str]) -> dict[str, Any]:
    from pycocotools import mask as coco_mask

    plain = {
        'class': class_name(classes, int(found.labels[i])),
        'score': round(float(found.scores[i]), 4),
        'box': [round(float(edge), 1) for edge in found.bboxes[i]],
    }
    if 'masks' in found:
        pixels = np.asfortranarray(found.masks[i].cpu().numpy().astype(np.uint8))
        encoded = coco_mask.encode(pixels)
        plain['mask'] = {'size': encoded['size'], 'counts': encoded['counts'].decode()}
    return plain
