"""Classification with mmpretrain: ImageNet in the paper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from .drawing import Drawing, as_numpy, write
from .task import Backbone, Features, Image, Metric, PaperData, Task, class_name


class Classifier(Features):
    """With the head: logits [B, classes], both heads of a two-token student averaged."""

    output = 'logits'

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.head = model.head

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, classes]."""
        logits = self.head(self.features(images))
        # of Conformer those of two branches
        return logits[0] + logits[1] if isinstance(logits, tuple) else logits


def plain(sample: Any, classes: Sequence[str], threshold: float) -> dict[str, Any]:
    """``scores``: probability by class name, the best five, falling."""
    scores = sample.pred_score.cpu().tolist()
    order = sorted(range(len(scores)), key=lambda label: -scores[label])[:5]
    return {'scores': {class_name(classes, label): round(scores[label], 4) for label in order}}


def draw(image: Image, sample: Any, classes: Sequence[str], options: Drawing) -> Image:
    """The names of the best five classes, with their scores."""
    if options.side == 'gt':
        lines = [class_name(classes, int(label)) for label in as_numpy(sample.gt_label)]
    else:
        scores = as_numpy(sample.pred_score)
        best = np.argsort(scores)[::-1][:5]
        lines = [f'{class_name(classes, int(label))} {scores[label]:.2f}' for label in best]
    for i, line in enumerate(lines):
        write(image, line, (6, 18 + 18 * i), (255, 255, 255))
    return image


TASK = Task(
    key='cls',
    name='classification',
    title='Classification',
    scope='mmpretrain',
    head='cls',
    metrics=(
        Metric('top1', 'accuracy/top1'),
        Metric('top5', 'accuracy/top5'),
        # corrupted images (configs/robustness)
        Metric('top1', 'imagenet_c/top1'),
        Metric('mCE', 'imagenet_c/mCE', lower_is_better=True),
        # frozen features (tools/probe.py)
        Metric('knn_top1', 'knn/top1'),
        Metric('linear_top1', 'linear/top1'),
    ),
    best_by=('accuracy/top1',),
    paper=PaperData(
        'imagenet', 'ImageNet', 'ImageNet-1k', {'Image Classification': {'Top 1 Accuracy': 'top1'}}
    ),
    parts={'classifier': Classifier, 'backbone': Backbone},
    plain=plain,
    draw=draw,
    pictures=8,
    place=0,
)
