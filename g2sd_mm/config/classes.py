"""Classes: their names, and those of a data set of one's own wherever a config needs them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from mmengine.config import Config, ConfigDict

from ..errors import UserError
from .parts import LOADERS, all_datasets, innermost_datasets, teachers_in

_PIPELINES = ('train_pipeline', 'test_pipeline', 'tta_pipeline')


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
        _check_names(names)
        if number not in (None, len(names)):
            raise UserError(
                f'num_classes={number}, but classes has {len(names)} names: set num_classes='
                f'{len(names)}, or other classes'
            )
        number = len(names)
        for dataset in _datasets(cfg):
            dataset.metainfo = dict(classes=tuple(names))
    if 'model' not in cfg:  # test data may stand by themselves
        return
    classified = _classified(cfg)
    if number is None:
        if classified:
            _fit_ranks(cfg, classified)
        return
    places = list(_class_counts(cfg.model))
    cfg.merge_from_dict({f'model.{place}': number for place in places})
    for teacher in teachers_in(cfg.get('distillation')).values():
        run = [place for place in places if place.split('.')[0] in teacher.get('forward', ())]
        # the teacher of a student without classes has none either, nor has one without a config
        if places and teacher.get('config'):
            teacher.overrides = {
                **(teacher.get('overrides') or {}),
                **{f'model.{place}': number for place in run},
            }
    if classified:
        _classify(cfg, number)
    for step in _mask_checks(cfg):
        step.num_classes = number


def _classified(cfg: Config) -> int | None:
    """How many classes the head of a classifier has; None of any other model."""
    head = cfg.model.get('head')
    ours = cfg.model.get('type') == 'ImageClassifier' or cfg.get('default_scope') == 'mmpretrain'
    number = head.get('num_classes') if ours and isinstance(head, dict) else None
    return number if isinstance(number, int) else None


def _check_names(names: Any) -> None:
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise UserError(f"classes={names!r} is no list of names: classes=('cat', 'dog')")
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(f'classes names {twice[0]!r} twice')


def _class_counts(value: Any, path: str = '') -> Iterator[str]:
    """Dotted places of every ``num_classes`` in a model config; cascades have lists of heads."""
    items: Iterable[tuple[Any, Any]] = value.items() if isinstance(value, dict) else ()
    items = enumerate(value) if isinstance(value, list) else items
    for key, item in items:
        if key == 'num_classes':
            yield f'{path}{key}'
        yield from _class_counts(item, f'{path}{key}.')


def class_counts(value: Any) -> Iterator[int]:
    """Every ``num_classes`` in a model config, or a part of one."""
    if isinstance(value, dict) and isinstance(value.get('num_classes'), int):
        yield value['num_classes']
    items = value.values() if isinstance(value, dict) else value
    for item in items if isinstance(value, (dict, list)) else ():
        yield from class_counts(item)


def _classify(cfg: Config, number: int) -> None:
    for part in (cfg, cfg.model):
        if part.get('data_preprocessor'):
            part.data_preprocessor.num_classes = number  # for one-hot targets
    _fit_ranks(cfg, number)


def _fit_ranks(cfg: Config, number: int) -> None:
    """Top-5 of fewer than 5 classes does not exist; only ``Accuracy`` has such a thing."""
    for metric in _metrics(cfg):
        if str(metric.get('type')).rpartition('.')[2] == 'Accuracy':
            ranks = _ranks(metric.get('topk', 1))
            if max(ranks, default=1) > number:
                metric.topk = tuple(rank for rank in ranks if rank < number) or (1,)


def _metrics(cfg: Config) -> Iterator[ConfigDict]:
    """Every metric of both evaluators: one, a list of them, or an ``Evaluator`` with some."""
    for name in ('val_evaluator', 'test_evaluator'):
        evaluator = cfg.get(name)
        if isinstance(evaluator, dict) and 'metrics' in evaluator:
            evaluator = evaluator['metrics']
        metrics = evaluator if isinstance(evaluator, (list, tuple)) else [evaluator]
        yield from (metric for metric in metrics if isinstance(metric, dict))


def _ranks(topk: Any) -> tuple[int, ...]:
    return (topk,) if isinstance(topk, int) else tuple(topk)


def _datasets(cfg: Config) -> Iterator[ConfigDict]:
    for loader in LOADERS:
        if cfg.get(loader):
            yield from innermost_datasets(cfg[loader].dataset)


def _mask_checks(cfg: Config) -> Iterator[ConfigDict]:
    loaders = [cfg[name] for name in LOADERS if cfg.get(name)]
    parts = [part for loader in loaders for part in all_datasets(loader.dataset)]
    pipelines = [part.get('pipeline') or [] for part in parts]
    pipelines += [cfg.get(name) or [] for name in _PIPELINES]
    for pipeline in pipelines:
        yield from (step for step in pipeline if step.get('type') == 'CheckMasks')
