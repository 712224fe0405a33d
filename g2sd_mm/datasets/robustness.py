"""ImageNet's test sets for robustness: ImageNet-A, -R, -Sketch and -C, and how each is scored.

Their images lie in folders named like ImageNet's classes. ImageNet-A and -R have 200 of them, so a
prediction counts among those alone (Hendrycks et al., CVPR 2021 and ICCV 2021). ImageNet-C has 15
corruptions in five strengths, scored by errors relative to AlexNet's (Hendrycks and Dietterich,
ICLR 2019).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from mmengine.evaluator import BaseMetric
from mmengine.registry import DATASETS, METRICS
from mmpretrain.datasets import CustomDataset
from mmpretrain.evaluation import Accuracy

from ..errors import UserError
from ..image_files import files_below, folders_in
from ..published import content


@DATASETS.register_module()
class ImageNetVariant(CustomDataset):
    """Images in class folders at any depth, numbered as ImageNet numbers its classes.

    Args:
        numbering: folder whose sub-folders, sorted, are the classes 0, 1, ...; ImageNet's own
            ``train`` or ``val``. They may be empty.
        kwargs: of ``CustomDataset``; ``data_root`` is the folder of the test set.

    ``metainfo['present']`` are the numbers of the classes that have images.

    Raises:
        UserError: if the numbering is missing, an image lies in no class folder, or none is found.
    """

    def __init__(self, numbering: str, **kwargs: Any) -> None:
        self.numbering = Path(numbering)
        super().__init__(**kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        """``img_path`` and ``gt_label`` of every image, sorted by path."""
        if not self.numbering.is_dir():
            raise UserError(
                f'no folder {self.numbering}: its class folders (empty ones will do) give the '
                'classes their numbers'
            )
        classes = [path.name for path in folders_in(self.numbering)]
        number = {name: i for i, name in enumerate(classes)}
        paths = sorted(p for p in files_below(self.data_root) if self.is_valid_file(p.name))
        if not paths:
            raise UserError(f'no images below {self.data_root}')
        strange = next((path for path in paths if path.parent.name not in number), None)
        if strange:
            raise UserError(f'{strange} lies in no class folder of {self.numbering}')
        samples = [dict(img_path=str(p), gt_label=number[p.parent.name]) for p in paths]
        present = sorted({number[p.parent.name] for p in paths})
        self._metainfo.update(classes=tuple(classes), present=tuple(present))
        return samples


@METRICS.register_module()
class SubsetAccuracy(Accuracy):
    """Accuracy in percent, with predictions among the classes that the test set has."""

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Scores of absent classes become -1, below any probability."""
        present = list(self.dataset_meta['present'])
        restricted = []
        for sample in data_samples:
            scores = sample['pred_score'].cpu()
            kept = scores.new_full(scores.shape, -1.0)
            kept[present] = scores[present]
            restricted.append(dict(gt_label=sample['gt_label'], pred_score=kept))
        super().process(data_batch, restricted)


@METRICS.register_module()
class CorruptionError(BaseMetric):
    """Errors of ImageNet-C, in percent, from ``.../<corruption>/<severity>/<class>/<image>``.

    ``error_<corruption>`` is the mean over severities; ``mCE`` the mean over the corruptions of
    ``relative_to``, each as percent of the error there, if all of them are present; ``top1`` the
    mean accuracy of those that are.

    Args:
        relative_to: corruption -> AlexNet's error in percent; None takes the published ones.
    """

    default_prefix = 'imagenet_c'

    def __init__(self, relative_to: dict[str, float] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if relative_to is None:
            relative_to = content()['alexnet_corruption_errors']['values']
        self.relative_to = relative_to

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep corruption, severity and whether the best class is wrong."""
        for sample in data_samples:
            corruption, severity = Path(sample['img_path']).parts[-4:-2]
            wrong = int(sample['pred_score'].argmax()) != int(sample['gt_label'])
            self.results.append((corruption, severity, wrong))

    def compute_metrics(self, results: list[tuple[str, str, bool]]) -> dict[str, float]:
        """See the class."""
        wrong: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
        for corruption, severity, is_wrong in results:
            wrong[corruption][severity].append(is_wrong)
        errors = {
            corruption: 100 * fmean(fmean(answers) for answers in severities.values())
            for corruption, severities in sorted(wrong.items())
        }
        metrics = {f'error_{corruption}': error for corruption, error in errors.items()}
        common = [name for name in self.relative_to if name in errors]
        if common:
            metrics['top1'] = 100 - fmean(errors[name] for name in common)
        if common and len(common) == len(self.relative_to):
            metrics['mCE'] = fmean(100 * errors[n] / self.relative_to[n] for n in common)
        return metrics
