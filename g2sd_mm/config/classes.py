"""Classes: their names, and those of a data set of one's own wherever a config needs them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmengine.config import Config

from ..errors import UserError
from .parts import EVALUATORS, LOADERS, entries, innermost_datasets, named_teachers, typed_parts

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
        for loader in (cfg[name] for name in LOADERS if cfg.get(name)):
            for dataset in innermost_datasets(loader.dataset):
                dataset.metainfo = dict(classes=tuple(names))
    if 'model' not in cfg:  # test data may stand by themselves
        return
    if text := cfg.model.get('text_encoder'):
        # of SAN: it reads names, and the number in its base config is not that of its data
        number = number if names else None
        text.update(dict(vocabulary=list(names), dataset_name=None) if names else {})
    classified = _classified(cfg)
    if number is None:
        if classified:
            _fit_ranks(cfg, classified)
        return
    panoptic = {things + stuff for things, stuff in _panoptic(cfg.model)}
    if panoptic - {number}:
        raise UserError(
            'num_classes and classes do not tell the things of a panoptic model from its stuff: '
            'set num_things_classes and num_stuff_classes in its heads, and metainfo of its data'
        )
    places = []
    for path, part, key in _counted(cfg.model) if not panoptic else ():
        _fit_weights(path, part, part[key], number)
        part[key] = number
        places.append(f'{path}.{key}')
    for teacher in named_teachers(cfg).values():
        run = [place for place in places if place.split('.')[1] in teacher.get('forward', ())]
        # the teacher of a student without classes has none either, nor has one without a config
        if places and teacher.get('config'):
            overrides = teacher.get('overrides') or {}
            teacher.overrides = {**overrides, **dict.fromkeys(run, number)}
    if classified:
        _classify(cfg, number)
    for step in typed_parts(cfg, (*LOADERS, *_PIPELINES)):
        if step['type'] == 'CheckMasks':
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


def _counted(model: Any) -> Iterator[tuple[str, Any, str]]:
    """Every number of classes in a model config: place of the part, part, and key.

    Heads of MaskFormer count things; with stuff beside them one number says neither. Those of
    Grounding DINO have room for so many words.
    """
    for path, part in entries(model, 'model'):
        if not isinstance(part, dict):
            continue
        if 'num_classes' in part and 'contrastive_cfg' not in part:
            yield path, part, 'num_classes'
        if 'num_things_classes' in part and part.get('num_stuff_classes') == 0:
            yield path, part, 'num_things_classes'


def _panoptic(model: Any) -> Iterator[tuple[int, int]]:
    """Numbers of things and of stuff, of every head that has both."""
    for _, part in entries(model, 'model'):
        if isinstance(part, dict) and part.get('num_stuff_classes'):
            yield part.get('num_things_classes', 0), part['num_stuff_classes']


def _fit_weights(path: str, head: Any, was: Any, number: int) -> None:
    """As many weights in a head's losses as it has classes, and that of the background; in place.

    Raises:
        UserError: for weights that are not all alike: nobody knows those of other classes.
    """
    known = isinstance(was, int) and was != number
    for place, loss in entries(head, path) if known else ():
        weights = loss.get('class_weight') if isinstance(loss, dict) else None
        if not isinstance(weights, (list, tuple)) or len(weights) not in (was, was + 1):
            continue
        if len(set(weights[:was])) > 1:
            raise UserError(
                f'{place}.class_weight is for {was} classes, and there are {number}: give '
                f'{len(weights) - was + number} weights, or None'
            )
        loss['class_weight'] = [weights[0]] * number + list(weights[was:])


def class_counts(value: Any) -> Iterator[int]:
    """Every number of classes in a model config, or a part of one."""
    yield from (part[key] for _, part, key in _counted(value) if isinstance(part[key], int))
    yield from (things + stuff for things, stuff in _panoptic(value))


def _classify(cfg: Config, number: int) -> None:
    for part in (cfg, cfg.model):
        if part.get('data_preprocessor'):
            part.data_preprocessor.num_classes = number  # for one-hot targets
    _fit_ranks(cfg, number)


def _fit_ranks(cfg: Config, number: int) -> None:
    """Top-5 of fewer than 5 classes does not exist; only ``Accuracy`` has such a thing."""
    for metric in typed_parts(cfg, EVALUATORS):
        if str(metric.get('type')).rpartition('.')[2] == 'Accuracy':
            topk = metric.get('topk', 1)
            ranks = (topk,) if isinstance(topk, int) else tuple(topk)
            if max(ranks, default=1) > number:
                metric.topk = tuple(rank for rank in ranks if rank < number) or (1,)
