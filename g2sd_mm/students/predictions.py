"""What a config predicts, in plain values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.registry import DATASETS

from ..config.classes import class_name
from ..config.parts import innermost_dataset


def class_names(cfg: Config) -> tuple[str, ...]:
    """Names of the classes that a config's test data have; empty if nothing tells them.

    From ``metainfo`` in the config, else from the data set's class, else from the class folders.
    """
    from pathlib import Path

    dataset = innermost_dataset(cfg.test_dataloader.dataset)
    metainfo = dataset.get('metainfo') or {}
    if metainfo.get('classes'):
        return tuple(metainfo['classes'])
    kind = DATASETS.switch_scope_and_registry(cfg.default_scope)
    with kind as registry:
        known = getattr(registry.get(dataset.type), 'METAINFO', {}).get('classes')
    if known:
        return tuple(known)
    prefix = dataset.get('data_prefix') or ''
    if not isinstance(prefix, str):
        prefix = prefix.get('img_path', '')
    root = Path(dataset.get('data_root') or '.') / prefix
    folders = (
        sorted(entry.name for entry in root.iterdir() if entry.is_dir()) if root.is_dir() else []
    )
    return tuple(folders)


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
