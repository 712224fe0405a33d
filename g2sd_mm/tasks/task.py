"""What a task is: one record, whose fields are all that the rest of the package asks of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

#: uint8 [height, width, 3], RGB.
Image = np.ndarray


def class_name(classes: Sequence[str], label: int) -> str:
    """What a label is called; ``class N`` where there is no name for it.

    Where several classes have one name, as ``crane`` of ImageNet, the number says which is meant:
    predictions are told by name, and none may take the place of another.
    """
    if label >= len(classes):
        return f'class {label}'
    name = classes[label]
    return f'{name} (class {label})' if name in _repeated(tuple(classes)) else name


@lru_cache(maxsize=4)
def _repeated(classes: tuple[str, ...]) -> frozenset[str]:
    """Names that several classes have; looked for once, and not for each box of each picture."""
    return frozenset(name for name, number in Counter(classes).items() if number > 1)


@dataclass(frozen=True)
class Metric:
    """One figure of an evaluation.

    Attributes:
        name: in ``results.json``, tables and options.
        logged: as the evaluator calls it.
        factor: what makes ``unit`` of it.
        unit: percent, unless it says otherwise; ``''`` for a plain number.
        lower_is_better: of an error.
    """

    name: str
    logged: str
    factor: float = 1
    unit: str = '%'
    lower_is_better: bool = False


@dataclass(frozen=True)
class PaperData:
    """The data set of the task's tables in the paper.

    Attributes:
        folder: of its configs.
        name: short, in headings.
        full_name: in OpenMMLab's model index, whose ``measures`` are task -> metric -> our metric.
    """

    folder: str
    name: str
    full_name: str
    measures: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


# functions with a name, unlike lambdas, can be sent to another process


def _no_files(sample: Any, path: Path, threshold: float) -> dict[str, Any]:
    return {}


def _all_of_it(model: Any, images: Tensor) -> Any:
    return model(images)


@dataclass(frozen=True)
class Task:
    """A task as its library's configs, suites, reports and students know it.

    Attributes:
        key: in rows, options and folder names: ``cls``.
        name: in ``weights.json`` and prose: ``classification``.
        scope: the library whose models it trains; ``model_types`` names those models where the
            library serves another task too.
        head: how configs are called after the network: ``g2sd_vits_maskrcnn``.
        metrics: the first is the headline, by which rows are compared.
        best_by: logged names in the order in which the best weights are chosen by them.
        parts: name -> network as a function of one tensor, made from the library's model; the first
            is the whole.
        exports: further ones, for files alone, ahead of ``parts``: of one image, with
            ``output_names`` and ``defaults`` (see :class:`g2sd_mm.tasks.two_stage.Detector`).
        plain: (data sample, class names, least score) -> plain values.
        draw: (image, data sample, class names, options) -> picture; see
            :mod:`g2sd_mm.tasks.drawing`.
        paper: None for a task that the paper does not have.
        files: (data sample, path without ending, least score) -> entries of ``predictions.json``:
            writes what plain values cannot hold, such as maps, and names the files.
        fixed_part: (model, images) -> None runs the part whose arithmetic every image costs alike.
        left_out: what an export of one of ``parts`` leaves out, and why.
        pictures: how many images a report shows.
        place: in tables.
    """

    key: str
    name: str
    title: str
    scope: str
    head: str
    metrics: tuple[Metric, ...]
    parts: Mapping[str, Callable[[Any], nn.Module]]
    plain: Callable[[Any, Sequence[str], float], dict[str, Any]]
    draw: Callable[..., Image]
    paper: PaperData | None = None
    files: Callable[[Any, Path, float], dict[str, Any]] = _no_files
    exports: Mapping[str, Callable[[Any], nn.Module]] = field(default_factory=dict)
    model_types: tuple[str, ...] = ()
    best_by: tuple[str, ...] = ()
    fixed_part: Callable[[Any, Tensor], Any] = _all_of_it
    left_out: str = ''
    pictures: int = 4
    place: int = 99

    @property
    def headline(self) -> str:
        """Name of the metric that rows are compared by."""
        return self.metrics[0].name

    def whole(self, model: Any) -> nn.Module:
        """The whole network as far as it is a function of one tensor [B, 3, height, width]."""
        return next(iter(self.parts.values()))(model)

    def metric(self, name: str) -> Metric:
        """The metric of this name; one in percent, of which more is better, if nothing is known."""
        return next((m for m in self.metrics if m.name == name), Metric(name, name))

    def agreed(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """An evaluation's figures under the names of ``results.json``, in each one's unit."""
        return {
            metric.name: metric.factor * metrics[metric.logged]
            for metric in self.metrics
            if metric.logged in metrics
        }


# Such a network can be called, exported and timed without its library. It takes normalised RGB
# images [B, 3, height, width] and gives tensors; each task's file has its own.

class Backbone(nn.Module):
    """The ViT alone.

    Classifier: the pooled feature [B, D], or class and dist token, [B, D] each. Detector: one map
    [B, D, h, w]. Segmentor: one map [B, D, h, w] for each of ``out_indices``.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.backbone = model.backbone

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Features, see the class."""
        features = self.backbone(images)
        while isinstance(features, (tuple, list)) and len(features) == 1:
            (features,) = features
        return features


class Features(nn.Module):
    """Backbone and neck, if any: maps; of PIDNet and DDRNet one map, which is no tuple."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.backbone, self.neck = model.backbone, getattr(model, 'neck', None)

    def features(self, images: Tensor) -> Any:
        features = self.backbone(images)
        return features if self.neck is None else self.neck(features)
