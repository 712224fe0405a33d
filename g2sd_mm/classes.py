"""Classes: their names, and those of a data set of one's own wherever a config needs them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from mmengine.config import Config, ConfigDict

from .config_parts import LOADERS, innermost_dataset
from .errors import UserError

_PIPELINES = ('train_pipeline', 'test_pipeline', 'tta_pipeline')


def class_name(classes: Sequence[str], label: int) -> str:
    """What a label is called; ``class N`` where there is no name for it."""
    return classes[label] if label < len(classes) else f'class {label}'


def apply_classes(cfg: Config) -> None:
    """Spread the top-level ``num_classes`` or ``classes`` of a config, in place.

    ``num_classes`` (an int) goes into every head, into the heads that the teacher runs, and into
    the check of masks; ``classes`` (names in the order of their numbers) gives that number, and the
    names to the data sets: detection finds categories by name, segmentation draws them in legends.

    Raises:
        UserError: if both are given and do not agree.
    """
    names, number = cfg.get('classes'), cfg.get('num_classes')
    if names is not None:
        if number not in (None, len(names)):
            raise UserError(
                f'num_classes={number}, but classes has {len(names)} names: give one of the two'
            )
        number = len(names)
        for dataset in _datasets(cfg):
            dataset.metainfo = dict(classes=tuple(names))
    if number is None or 'model' not in cfg:  # test data may stand by themselves
        return
    places = list(_class_counts(cfg.model))
    cfg.merge_from_dict({f'model.{place}': number for place in places})
    if cfg.get('distillation'):
        teacher = cfg.distillation.teacher
        run = [place for place in places if place.split('.')[0] in teacher.get('forward', ())]
        if places:  # the teacher of a student without classes has none either
            teacher.overrides = {
                **(teacher.get('overrides') or {}),
                **{f'model.{place}': number for place in run},
            }
    if cfg.model.get('type') == 'ImageClassifier':
        _classify(cfg, number)
    for step in _mask_checks(cfg):
        step.num_classes = number


def _class_counts(value: Any, path: str = '') -> Iterator[str]:
    """Dotted places of every ``num_classes`` in a model config; cascades have lists of heads."""
    items: Iterable[tuple[Any, Any]] = value.items() if isinstance(value, dict) else ()
    items = enumerate(value) if isinstance(value, list) else items
    for key, item in items:
        if key == 'num_classes':
            yield f'{path}{key}'
        yield from _class_counts(item, f'{path}{key}.')


def _classify(cfg: Config, number: int) -> None:
    cfg.data_preprocessor.num_classes = number  # for one-hot targets
    if 1 < number < 5:
        # top-5 of fewer than 5 classes does not exist
        for evaluator in ('val_evaluator', 'test_evaluator'):
            if cfg.get(evaluator):
                cfg[evaluator].topk = (1,)


def _datasets(cfg: Config) -> Iterator[ConfigDict]:
    for loader in LOADERS:
        if cfg.get(loader):
            yield innermost_dataset(cfg[loader].dataset)


def _mask_checks(cfg: Config) -> Iterator[ConfigDict]:
    pipelines = [dataset.get('pipeline') or [] for dataset in _datasets(cfg)]
    pipelines += [cfg.get(name) or [] for name in _PIPELINES]
    for pipeline in pipelines:
        yield from (step for step in pipeline if step.get('type') == 'CheckMasks')
