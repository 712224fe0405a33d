"""Do weights, config, data and teacher mean the same? Asked before the first step of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.config import Config
from mmengine.registry import MODELS

from ..agreement.data import BY_POSITION, Names, comparable, difference
from ..agreement.inputs import Inputs, Size, channel_order, inputs_of, pixels, unlike
from ..agreement.weights import Recorded, cut_note, depth_range, metres, reconcile, recorded
from ..config.classes import class_counts
from ..config.parts import (
    LOADERS,
    add_hook,
    distillations_in,
    encoder_start,
    preprocessor_of,
    teacher_config,
    teachers_in,
)
from ..distill.several import flat, listed, owner
from ..distill.taps import side_of
from ..errors import UserError

_TRAINED, _VALIDATED, _TESTED = LOADERS


def agree_for_training(cfg: Config, name: str) -> tuple[list[str], Size | None]:
    """Fit class names of training and validation, compare the teacher; in place.

    A resumed run keeps the order of classes that its checkpoint was trained with.

    Returns:
        lines for the log, and the size of the images that a resumed run was trained on.

    Raises:
        UserError: see :func:`~g2sd_mm.agreement.weights.reconcile` and
            :func:`agree_with_teacher`.
    """
    checkpoint = cfg.load_from if cfg.get('resume') else None
    agreement = reconcile(cfg, checkpoint, name, (_TRAINED, _VALIDATED))
    notes = [*agreement.notes, *_start_notes(cfg, agreement.inputs)]
    notes += agree_with_teacher(cfg, agreement.classes, agreement.inputs)
    notes += [note for loader in (_TRAINED, _VALIDATED) if (note := cut_note(cfg, loader))]
    # a resumed run may validate and end without seeing a training image
    return notes, recorded(checkpoint).inputs.size if checkpoint else None


def agree_for_test(cfg: Config, checkpoint: str, name: str) -> Names:
    """Fit the labels of the test data to the classes of the weights, in place; gives the classes.

    Raises:
        UserError: see :func:`~g2sd_mm.agreement.weights.reconcile`.
    """
    agreement = reconcile(cfg, checkpoint, name, (_TESTED,))
    notes = dict.fromkeys(filter(None, [*agreement.notes, cut_note(cfg, _TESTED)]))
    add_hook(cfg, 'AgreementHook', notes=list(notes), size=recorded(checkpoint).inputs.size)
    return agreement.classes


def _start_notes(cfg: Config, inputs: Inputs) -> Iterator[str]:
    """A backbone that starts from weights of differently prepared images still trains."""
    checkpoint = encoder_start(cfg)
    if isinstance(checkpoint, str) and not cfg.get('resume'):
        facts = recorded(checkpoint)
        if differs := unlike(facts.inputs, inputs):
            yield (
                f'{facts.source} was trained on images that were prepared differently ({differs}): '
                'the backbone starts from features of other colours'
            )
    whole = None if cfg.get('resume') else cfg.get('load_from')
    facts = recorded(whole) if whole else Recorded()
    here = depth_range(cfg)
    if facts.depth and here and facts.depth != here:
        yield (
            f'{facts.source} was trained to predict {metres(facts.depth)}, and this run predicts '
            f'{metres(here)}: what it starts from is stretched to that'
        )


def agree_with_teacher(cfg: Config, classes: Names, student: Inputs) -> Iterator[str]:
    """Compare what the teacher's checkpoint says with the student's data; yields lines for the log.

    Class names count only where a loss compares what both say of classes: a pyramid or region
    proposals know none. Nothing is permuted: a student can be asked for the teacher's order.

    Raises:
        UserError: if the classes differ, with both lists and the first difference, or the images
            are normalised differently. (A teacher of features normalises for itself.)
    """
    for block in distillations_in(cfg):
        for name, teacher in teachers_in(block).items():
            yield from _agree(cfg, block, name, teacher, classes, student)


def _agree(
    cfg: Config, block: Mapping[str, Any], name: str, teacher: Mapping[str, Any], classes: Names,
    student: Inputs,
) -> Iterator[str]:
    """The same with one of the teachers."""
    if prepares_images(teacher):
        _check_reader(cfg, student)
        return
    checkpoint = teacher.get('checkpoint')
    facts = recorded(checkpoint) if isinstance(checkpoint, str) else Recorded()
    yield from facts.notes
    config = _config(teacher)
    told = (facts.source, facts.inputs), ("the teacher's config", inputs_of(config))
    for source, inputs in told:
        if differs := unlike(inputs, student):
            raise UserError(
                f'teacher and student must prepare images alike: {source} and the student have '
                f"{differs}. Give the student's data_preprocessor the values of the teacher"
            )
    if not isinstance(checkpoint, str):
        return
    there = facts.inputs.size
    if there and student.size and there != student.size:
        yield (
            f'the teacher was trained on images of {pixels(there)} and sees those of the student, '
            f'{pixels(student.size)}'
        )
    taught, learnt = facts.depth or depth_range(config), depth_range(cfg)
    if 'decode_head' in teacher.get('forward', ()) and taught and learnt and taught != learnt:
        yield f'the teacher predicts {metres(taught)} of depth, the student {metres(learnt)}'
    if compares_classes(block, name):
        yield from _agree_on_names(cfg, facts, checkpoint, classes)


def prepares_images(teacher: Mapping[str, Any]) -> bool:
    """Whether a teacher of that config normalises the student's images anew for itself."""
    kind = teacher.get('type')
    family = MODELS.get(kind) if isinstance(kind, str) else kind
    return bool(getattr(family, 'prepares_images', False))


def _check_reader(cfg: Config, student: Inputs) -> None:
    """Such a teacher knows the student's preprocessor, and takes it that files are read as BGR."""
    expected = channel_order(preprocessor_of(cfg))
    if expected and student.channels and expected != student.channels:
        raise UserError(
            'train_pipeline reads images as RGB, and a teacher that normalises them anew takes it '
            'that they are read as BGR: leave channel_order out of LoadImageFromFile, and set '
            'to_rgb (bgr_to_rgb) of data_preprocessor to turn them'
        )


def _config(teacher: Mapping[str, Any]) -> Config:
    return teacher_config(teacher.get('config') or {}, teacher.get('overrides'))


def compares_classes(block: Mapping[str, Any], teacher: str = '') -> bool:
    """Whether a tap of the teacher of that name listens to a part that tells classes apart."""
    teachers = teachers_in(block)
    model = _config(teachers.get(teacher) or {}).get('model') or {}
    telling = {name for name, part in model.items() if any(class_counts(part))}
    names = list(teachers)
    heard = side_of(flat(block.get('taps'), names), 'teacher')
    places = listed(place for tap, place in heard.items() if owner(tap, names)[0] == teacher)
    return any(place.partition('.')[0] in telling for place in places)


def _agree_on_names(
    cfg: Config, facts: Recorded, checkpoint: str, classes: Names
) -> Iterator[str]:
    if not facts.classes or not classes:
        unknown = checkpoint if classes else 'the training data'
        yield (
            f'the classes of {unknown} have no names: class numbers of teacher and student are '
            'taken for the same'
        )
        return
    # another number is for the losses to refuse, which know what they compare
    if facts.classes == classes or len(facts.classes) != len(classes):
        return
    differs = difference(facts.classes, classes, (f'the teacher ({facts.source})', 'the student'))
    if not comparable(facts.classes, classes) or cfg.get(BY_POSITION):
        yield f'{differs}: class numbers are taken for the same'
        return
    if sorted(facts.classes) == sorted(classes):
        listed = ', '.join(map(repr, facts.classes[:2]))
        remedy = f"Give the student's config the classes in the teacher's order: classes=({listed}"
        remedy += ', ...)' if len(classes) > 2 else ')'
        if cfg.get('default_scope') == 'mmseg':
            remedy += ' with masks that are numbered so'
    else:
        remedy = 'Take a teacher of these classes'
    raise UserError(
        f'{differs}. {remedy}, or, if only the names differ, --cfg-options {BY_POSITION}=True'
    )
