"""The one place where what weights say of themselves meets a config and its data.

Test, infer, export, analyze, ``load_student``, resuming, and the teacher's checkpoint come by here.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log

from ..checkpoints import read_weights
from ..checkpoints.record import read_sidecar, restore, sidecar_path
from ..config.classes import class_counts
from ..config.parts import network_of
from ..errors import UserError
from ..models.sizes import ENCODERS
from ..text import some
from .data import (
    BY_POSITION,
    TRAINING,
    Agreement,
    Names,
    agree_on_classes,
    class_names,
    clean_names,
    difference,
)
from .inputs import (
    Inputs,
    cut_of,
    inputs_of,
    pipeline_of,
    pixels,
    read_inputs,
    reading,
    unlike,
)

#: Entries of a depth head, in metres -> their values.
Range = dict[str, float]

_ENDS = ('min_depth', 'max_depth')


@dataclass(frozen=True)
class Recorded:
    """The facts; empty where nothing is known.

    source: what says so, for messages.
    classes: names by number.
    inputs: the images.
    notes: lines for the log.
    depth: the range that is predicted, of a depth head.
    attention: width and heads of a ViT, whose tensors fit one with any number of heads.
    """

    source: str = ''
    classes: Names = ()
    inputs: Inputs = field(default_factory=Inputs)
    notes: tuple[str, ...] = ()
    depth: Range = field(default_factory=dict)
    attention: tuple[int, int] | None = None


def recorded(checkpoint: str | Path) -> Recorded:
    """Facts from the JSON beside a file, from our own record in it, or from mmengine's.

    Args:
        checkpoint: file or folder of any layout; that it can be read is not asked here.
    """
    path, notes = Path(checkpoint).expanduser(), []
    if not path.is_file():
        return Recorded()
    try:
        record = read_sidecar(path)
    except UserError as error:
        record = None
        notes.append(f'{error}; what it says of the classes is not used')
    if record is not None:
        return of_record(record, str(sidecar_path(path)))
    meta = read_weights(path, mmap=True).meta
    student = meta.get('student')
    if isinstance(student, Mapping):
        return of_record(student, str(path), tuple(notes))
    known = meta.get('dataset_meta')
    classes = known.get('classes') if isinstance(known, Mapping) else meta.get('CLASSES')
    return Recorded(str(path), clean_names(classes), notes=tuple(notes))


def of_record(record: Mapping[str, Any], source: str, notes: tuple[str, ...] = ()) -> Recorded:
    """Facts of a record, see :mod:`g2sd_mm.checkpoints.record`; older ones have no ``inputs``."""
    network = record.get('network')
    network = network if isinstance(network, Mapping) else {}
    known = read_inputs(_inputs_of_network(network))
    inputs = read_inputs(record['inputs']) if record.get('inputs') else known
    if reading(restore(network.get('test_pipeline') or []))[0] is None:
        inputs = replace(inputs, channels=known.channels)  # was BGR, and these data give RGB
    model = network.get('model')
    model = model if isinstance(model, Mapping) else {}
    classes, depth = clean_names(network.get('classes')), depth_range({'model': model})
    return Recorded(source, classes, inputs, notes, depth, attention_of(model))


def _inputs_of_network(network: Mapping[str, Any]) -> Any:
    model = network.get('model')
    if not isinstance(model, Mapping):
        return {}
    cfg = {
        'model': restore(model),
        'default_scope': network.get('scope'),
        'test_dataloader': {'dataset': {'pipeline': restore(network.get('test_pipeline') or [])}},
    }
    return inputs_of(cfg).plain()


def reconcile(
    cfg: Config, checkpoint: str | None, name: str, loaders: Sequence[str] = ()
) -> Agreement:
    """Compare a checkpoint's recorded facts with a config, and fit the config's data to them.

    Args:
        cfg: loaded config; the labels of the data that will be read are asked to follow the names
            of the weights, and a depth head to predict in their range, in place.
        checkpoint: weights; None for none.
        name: of the config, for messages.
        loaders: the data loaders that will be used; none where images come from elsewhere.

    Raises:
        UserError: if classes or normalisation differ, with both sides and what to do.
    """
    facts = recorded(checkpoint) if checkpoint else Recorded()
    here = inputs_of(cfg)
    if differs := unlike(facts.inputs, here):
        raise UserError(
            f'{facts.source} and {name} prepare images differently ({differs}): set '
            'data_preprocessor as the weights were trained'
        )
    _check_number(cfg, facts, name)
    check_heads(facts, cfg, name)
    agreement = (
        reconcile_data(cfg, facts.classes, facts.source, loaders)
        if loaders
        else _without_data(cfg, facts, name)
    )
    notes = (*facts.notes, *agreement.notes, *_size_notes(facts, here, name))
    notes += follow_range(cfg, facts.depth, facts.source, name)
    inputs = Inputs(facts.inputs.size or here.size, here.mean, here.std, here.channels)
    return Agreement(agreement.classes, notes, inputs)


def reconcile_data(
    cfg: Config, classes: Sequence[str], source: str, loaders: Sequence[str]
) -> Agreement:
    """The part of :func:`reconcile` that fits data to the classes of weights, in place.

    Raises:
        UserError: if the classes differ.
    """
    agreed = agree_on_classes(cfg, loaders, classes, source)
    _check_data_number(cfg, agreed.classes, loaders, known=bool(classes))
    return agreed


def say(notes: Iterable[str]) -> None:
    """Log notes now, for commands without a run that has a log."""
    for note in notes:
        print_log(note, logger='current', level=logging.WARNING)


def numbers_of_classes(cfg: Config) -> tuple[int, ...]:
    """What the heads of a config's model are made for; most models have one number."""
    if cfg.get('num_classes'):
        return (int(cfg.num_classes),)
    return tuple(dict.fromkeys(class_counts(cfg.get('model') or {})))


def _check_number(cfg: Config, facts: Recorded, name: str) -> None:
    numbers = numbers_of_classes(cfg)
    if facts.classes and numbers and len(facts.classes) not in numbers:
        raise UserError(
            f'{facts.source} has {len(facts.classes)} classes and {name} num_classes={numbers[0]}: '
            f'add --cfg-options num_classes={len(facts.classes)}, or give the config that the '
            'weights were trained with'
        )


def check_heads(facts: Recorded, cfg: Mapping[str, Any], name: str) -> None:
    """Weights fill a ViT with another number of heads, which is another network.

    Raises:
        UserError: if the config says another number than the weights.
    """
    (width, heads), here = facts.attention or (0, 0), attention_of(network_of(cfg))
    if here and width == here[0] and heads != here[1]:  # what has another width does not fit
        raise UserError(
            f'{facts.source} has {heads} heads of attention and {name} {here[1]}: set '
            'model.backbone.arch as the weights were trained'
        )


def attention_of(model: Mapping[str, Any]) -> tuple[int, int] | None:
    """Width and heads of a config's ViT; None where it does not say them."""
    backbone = model.get('backbone')
    backbone = backbone if isinstance(backbone, Mapping) else {}
    arch = backbone.get('arch')
    if str(backbone.get('type')).startswith('G2SD') and arch in [*ENCODERS]:
        return ENCODERS[arch].embed_dim, ENCODERS[arch].num_heads
    sizes = arch if isinstance(arch, Mapping) else {}
    width, heads = sizes.get('embed_dim', sizes.get('embed_dims')), sizes.get('num_heads')
    # of Swin each stage has its own
    return (width, heads) if isinstance(width, int) and isinstance(heads, int) else None


def _check_data_number(
    cfg: Config, names: Names, loaders: Sequence[str], known: bool
) -> None:
    """Where the data alone name classes, a missing one would shift all labels after it."""
    numbers = numbers_of_classes(cfg)
    if known or not names or not numbers or len(names) in numbers:
        return
    number = numbers[0]
    if TRAINING in loaders or cfg.get('default_scope') != 'mmpretrain':
        raise UserError(
            f'the data have the names of {len(names)} classes ({some(names)}) and the config '
            f'num_classes={number}: if there are {len(names)}, add --cfg-options num_classes='
            f'{len(names)}; if there are {number}, name those by classes=(...) in the config'
        )
    raise UserError(
        f'the test data have {len(names)} classes, the config num_classes={number}, and the '
        f'weights do not say their names. If the weights have {len(names)} classes, add '
        f'--cfg-options num_classes={len(names)}; if they have {number}, name all of them in '
        'order, --cfg-options "classes=(\'...\', \'...\')", and labels follow the names'
    )


def _without_data(cfg: Config, facts: Recorded, name: str) -> Agreement:
    given = tuple(cfg.get('classes') or ())
    if not facts.classes:
        names = given or class_names(cfg)
        unnamed = not names and bool(numbers_of_classes(cfg))  # a depth map has no classes
        return Agreement(names, (f'{name}: its classes have no names',) if unnamed else ())
    if not given or given == facts.classes:
        return Agreement(facts.classes)
    differs = difference(given, facts.classes, (name, facts.source))
    if cfg.get(BY_POSITION):
        return Agreement(given, (f'{BY_POSITION}: {differs}',))
    if sorted(given) != sorted(facts.classes):
        raise UserError(
            f'{differs}. Take classes out of the config, or, if only the names differ, '
            f'--cfg-options {BY_POSITION}=True'
        )
    return Agreement(facts.classes, (f'{differs}: those of the weights count',))


def _size_notes(facts: Recorded, here: Inputs, name: str) -> Iterable[str]:
    there = facts.inputs.size
    if there and here.size and there != here.size:
        yield (
            f'{facts.source} was trained on images of {pixels(there)}, and {name} gives '
            f'{pixels(here.size)}'
        )


def cut_note(cfg: Config, loader: str) -> str:
    """A line about a classification pipeline that does not bring images to one scale."""
    if cfg.get('default_scope') != 'mmpretrain':
        return ''
    cut = cut_of(pipeline_of(cfg, loader))
    if not cut.as_it_is or cut.size is None:
        return ''
    edge = round(min(cut.size) * 8 / 7)
    return (
        f'{loader} cuts {pixels(cut.size)} out of images as they are: of larger ones the network '
        f"sees a part, smaller ones stay small. dict(type='ResizeEdge', scale={edge}, "
        "edge='short') before the crop brings all to one scale"
    )


def depth_range(cfg: Mapping[str, Any]) -> Range:
    """The range of the decode head of a config's network; empty if it has none."""
    head = network_of(cfg).get('decode_head')
    ends = {name: head.get(name) for name in _ENDS} if isinstance(head, Mapping) else {}
    return {name: float(end) for name, end in ends.items() if isinstance(end, (int, float))}


def follow_range(cfg: Config, trained: Range, source: str, name: str) -> tuple[str, ...]:
    """Let a config's depth head predict in the range that its weights were trained in, in place.

    Returns:
        a line for the log if the config had another range; none if the weights do not say theirs.
    """
    here = depth_range(cfg)
    differing = {end: value for end, value in trained.items() if here.get(end) != value}
    if not differing:
        return ()
    network_of(cfg)['decode_head'].update(differing)
    return (
        f'the weights were trained to predict {metres(trained)} ({source}), {name} says '
        f'{metres(here)}: they go on predicting {metres(trained)}',
    )


def metres(depth: Range) -> str:
    """A range in words."""
    return ' to '.join(f'{end:g}' for end in depth.values()) + ' m'
