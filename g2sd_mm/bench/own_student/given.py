"""Which networks are trained: the student that is asked for, and what becomes of a given teacher.

A masked autoencoder takes the place of the teacher's pre-training. A network that was fine-tuned on
the task takes that of the fine-tuned teacher, and its encoder teaches stage 1. Any other encoder
teaches both networks without labels: the larger one, fine-tuned, is then the teacher of stage 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import timm
import torch

from ...checkpoints import read_weights
from ...checkpoints.facts import Facts, facts_of
from ...checkpoints.identify import Kind
from ...checkpoints.vision import unsuitable
from ...checkpoints.vision.teaching import how_to_teach
from ...checkpoints.vision.timm_models import teaching_block
from ...devices import on_meta_device
from ...errors import UserError
from ...models.sizes import ENCODERS, EncoderSize
from ...models.slicing import is_sliceable
from ...models.timm_network import gives_class_token, level_strides, level_widths, timm_network
from ...tasks import TASKS

PATCH = 8  # px, of the mini configs: 56 px are 7 x 7 patches
#: Student -> the teacher that is trained for it, where none is given: the next larger one.
_TEACHER_OF = {
    'demo-student': 'demo-teacher', 'demo-teacher': 'small', 'tiny': 'small', 'small': 'base',
    'base': 'large',
}  # fmt: skip
#: Those for a network of timm, the smallest one first.
_TEACHERS = ('demo-teacher', 'small', 'base', 'large')
_AUTOENCODERS = (Kind.MAE_FULL, Kind.MAE_RUN)
_OF_TASK = {'cls': Kind.MM_CLASSIFIER, 'det': Kind.MM_DETECTOR, 'seg': Kind.MM_SEGMENTOR}
_STRIDES = [4, 8, 16, 32]  # px, of the maps that necks of detection and segmentation take


@dataclass(frozen=True)
class _Given:
    """The large network, and what was given for it.

    Attributes:
        teacher: its size; ``decoder`` are width and depth of its decoder.
        reasons: a line for each choice.
        kind: of what was given: ``''`` for nothing, ``autoencoder``, ``task`` or ``encoder``.
        file: that was given; empty for a hub name.
        entry: ``distillation.teacher`` of stage 1, of an encoder; ``width`` is that of its answer.
    """

    teacher: EncoderSize
    reasons: tuple[str, ...] = ()
    kind: str = ''
    file: str = ''
    decoder: tuple[int, int] = (64, 2)
    entry: Mapping[str, Any] = field(default_factory=dict)
    width: int = 0


@dataclass(frozen=True, kw_only=True)
class Networks(_Given):
    """What is trained from what.

    Attributes:
        student: name; ``arch`` is its size, None of a network of timm, whose ``widths`` are those
            of its last four maps.
    """

    student: str
    arch: EncoderSize | None
    widths: tuple[int, ...]

    @property
    def usual(self) -> bool:
        """Whether all is as the mini suite has it."""
        demo = ENCODERS['demo-student'], ENCODERS['demo-teacher']
        return not self.kind and (self.arch, self.teacher) == demo

    @property
    def sliceable(self) -> bool:
        """Whether the student's ViT can start as a slice of the teacher's."""
        return self.arch is not None and is_sliceable(self.teacher, self.arch)


def choose_networks(student: str | None, teacher: str | None, task: str) -> Networks:
    """The networks for what is asked for.

    Args:
        student: an arch of this project or a name of timm; None for one that fits the machine.
        teacher: a file or folder of weights, a name of timm, or both as ``NAME=FILE``; None to
            train one.
        task: cls, det, seg or depth.

    Raises:
        UserError, CheckpointError: for what is unknown, or cannot teach or learn here.
    """
    student, reason = (student, 'as asked for') if student else _usual_student()
    arch, widths, small = _student(student, task)
    larger = _TEACHER_OF.get(student) or next(
        (name for name in _TEACHERS if _parameters(_in_patches(name)) > 1.5 * small), _TEACHERS[-1]
    )
    if teacher:
        found = _given(teacher, task, larger)
    else:
        found = _Given(_in_patches(larger), (
            f'teacher {larger}, an encoder of {_parameters(_in_patches(larger)) / 1e6:.1f} M '
            'parameters: the next larger network, pre-trained on your images, since no '
            '--teacher was given',
        ))  # fmt: skip
    size = _parameters(found.teacher)
    if size <= small:
        raise UserError(
            f'--student {student} has {small / 1e6:.1f} M parameters and its teacher '
            f'{size / 1e6:.1f} M: take a smaller student or a larger teacher'
        )
    said = f'student {student}, an encoder of {small / 1e6:.1f} M parameters: {reason}'
    known = {**vars(found), 'reasons': (said, *found.reasons)}
    return Networks(student=student, arch=arch, widths=widths, **known)


def _usual_student() -> tuple[str, str]:
    """Its name, and why it is the one."""
    if torch.cuda.is_available():
        return 'tiny', 'there is a GPU; --student demo-student is smaller'
    return 'demo-student', (
        'there is no GPU, and CPUs train it in minutes to hours; --student tiny is larger'
    )


def _student(name: str, task: str) -> tuple[EncoderSize | None, tuple[int, ...], int]:
    """Size of a ViT of this project, or None and the widths of a timm network's last maps; and
    the encoder's parameters, those of a classifier left out."""
    if name in ENCODERS:
        size = _in_patches(name)
        return size, (), _parameters(size)
    if not timm.is_model(name.partition('.')[0]):
        # a student's mistyped name is more often one of ours
        raise UserError(f'--student {name}: there are {", ".join(ENCODERS)}, and all names of timm')
    with on_meta_device():
        network = timm_network(name, '--student')
    strides = level_strides(network)[-4:]
    if task not in ('cls', 'depth') and strides != _STRIDES:
        raise UserError(
            f'--student {name} has maps of stride {strides} px, and {TASKS[task].name} takes '
            f'{_STRIDES}: take another, such as convnext_atto, or one of {", ".join(ENCODERS)}'
        )
    if task == 'depth':
        raise UserError(f'--student {name}: depth takes {", ".join(ENCODERS)}, no network of timm')
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return None, tuple(level_widths(network)[-4:]), parameters


def _in_patches(name: str) -> EncoderSize:
    return replace(ENCODERS[name], patch_size=PATCH)


def _parameters(size: EncoderSize) -> int:
    return 12 * size.depth * size.embed_dim**2 + 3 * size.patch_size**2 * size.embed_dim


# What was given ----------------------------------------------------------------------------------


def _given(teacher: str, task: str, larger: str) -> _Given:
    """``larger``: the network that learns beside the student where an encoder teaches."""
    name, _, file = teacher.partition('=')
    if Path(teacher).exists():
        return _of_file(teacher, task, larger)
    if file and timm.is_model(name.partition('.')[0]):
        if not Path(file).exists():
            raise UserError(f'--teacher {teacher}: no file {file}')
        return _of_timm(name, larger, {'checkpoint': file})
    if timm.is_model(name.partition('.')[0]):
        return _of_timm(name, larger, {'pretrained': True})
    raise UserError(
        f'--teacher {teacher}: neither a file nor a name of timm {timm.__version__}; give a file '
        'of weights, a name (timm.list_pretrained() has them), or NAME=FILE'
    )


def _of_file(file: str, task: str, larger: str) -> _Given:
    weights = read_weights(file, mmap=True)
    if reason := unsuitable(weights.state, weights.config):
        raise UserError(f'--teacher {file}: {reason}')
    facts = facts_of(weights)
    if facts.broken:
        raise UserError(f'--teacher {file}: {facts.notes[-1]}')
    if facts.kind in _AUTOENCODERS and facts.size.get('patch') == PATCH:
        return _of_autoencoder(facts, file)
    if facts.kind in _AUTOENCODERS and facts.family:
        # patches of another size than the student's: its encoder sees whole images instead
        size = {768: 'base', 1024: 'large', 1280: 'huge'}.get(facts.size['width'])
        if size:
            model = f'vit_{size}_patch{facts.size["patch"]}_224.mae'
            return _of_timm(model, larger, {'checkpoint': file})
    if facts.kind in (*_OF_TASK.values(), Kind.MAE_FINETUNED) and facts.family:
        return _of_task(facts, file, task)
    teaching = how_to_teach(weights, facts.encoder, file) if facts.encoder else None
    if teaching is None or not teaching.teacher:
        why = teaching.reason if teaching else 'it is no encoder of images that can teach here'
        raise UserError(
            f'--teacher {file} is {facts.title}: {why} (python tools/checkpoint.py inspect {file})'
        )
    model = str(teaching.teacher.get('model', file))
    found = _of_encoder(model, dict(teaching.teacher), teaching.width, larger, file)
    if not teaching.note:
        return found
    return replace(found, reasons=(*found.reasons, f'teacher {file}: {teaching.note}'))


def _of_autoencoder(facts: Facts, file: str) -> _Given:
    size = _size_of(facts, file)
    if 'decoder width' not in facts.size:
        raise UserError(f'--teacher {file}: its decoder is missing')
    decoder = (facts.size['decoder width'], facts.size['decoder depth'])
    reason = f'teacher {file}: {facts.title}, so its pre-training is left out'
    return _Given(size, (reason,), 'autoencoder', file, decoder)


def _of_task(facts: Facts, file: str, task: str) -> _Given:
    if facts.kind is not _OF_TASK.get(task):
        raise UserError(
            f'--teacher {file} is {facts.title}, and the data are of {TASKS[task].name}: give a '
            'teacher of that task, a masked autoencoder or another encoder'
        )
    if facts.size.get('patch') != PATCH:
        raise UserError(
            f'--teacher {file} has patches of {facts.size.get("patch")} px, and the networks here '
            f'have {PATCH}: distil it with the configs of configs/imagenet, coco or ade20k '
            '(docs/own_images.md, own_coco.md, own_masks.md)'
        )
    entry = {'type': 'EncoderTeacher', 'img_size': 7 * PATCH, 'checkpoint': file}
    size = _size_of(facts, file)
    reason = f'teacher {file}: {facts.title}, fine-tuned already; its encoder teaches stage 1'
    return _Given(size, (reason,), 'task', file, entry=entry, width=size.embed_dim)


def _size_of(facts: Facts, file: str) -> EncoderSize:
    """Of the sizes that have a name; the number of heads is not in a file."""
    width, depth = facts.size.get('width'), facts.size.get('depth')
    for size in ENCODERS.values():
        if (size.embed_dim, size.depth) == (width, depth):
            return replace(size, patch_size=PATCH)
    known = ', '.join(f'{size.embed_dim} x {size.depth}' for size in ENCODERS.values())
    raise UserError(
        f'--teacher {file} has width {width} and depth {depth}, and networks here have {known}'
    )


def _of_timm(model: str, larger: str, weights: Mapping[str, Any]) -> _Given:
    with on_meta_device():
        try:
            network = timm.create_model(model, num_classes=0)
        except RuntimeError as error:
            raise UserError(f'--teacher {model}: {error}') from error
    if not hasattr(network, 'forward_intermediates'):
        raise UserError(f'--teacher {model}: timm gives no feature maps of it; take another')
    entry = {'type': 'TimmTeacher', 'model': model, **weights}
    block, width = teaching_block(network)
    if block != -1:
        entry['block'] = block
    if not gives_class_token(network):
        entry['cls'] = 'mean'
    return _of_encoder(model, entry, width, larger, str(weights.get('checkpoint', '')))


def _of_encoder(
    model: str, entry: Mapping[str, Any], width: int, larger: str, file: str
) -> _Given:
    where = file or 'weights from the hub that timm names'
    reason = (
        f'teacher {model} ({where}): it teaches two networks without labels, the student and '
        f'{larger}, which is then fine-tuned on your labels and teaches stage 2'
    )
    return _Given(_in_patches(larger), (reason,), 'encoder', file, entry=entry, width=width)
