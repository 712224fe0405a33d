"""Export a student: write the file, run it against the network, describe it beside."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..agreement.inputs import pixels
from ..checkpoints.record import FORMAT
from ..errors import UserError
from ..models.positions import height_and_width
from ..provenance import file_digest
from ..students.student import Student
from ..tasks import task_named
from ..whole_files import tried_first, write_text
from .check import compare, compare_detector, random_images
from .formats import (
    OPSET,
    Runner,
    as_list,
    onnx_runner,
    torch_export_runner,
    torchscript_runner,
    write_onnx,
    write_torch_export,
    write_torchscript,
)

#: Ending of the file by format.
FORMATS = {'onnx': '.onnx', 'torchscript': '.ts', 'torch-export': '.pt2'}
_RUNNERS: dict[str, Callable] = {
    'onnx': onnx_runner,
    'torchscript': torchscript_runner,
    'torch-export': torch_export_runner,
}


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: the file.
        sidecar: the JSON beside it.
        part: ``classifier``, ``detector``, ``segmentor``, ``backbone``, ...
        difference: the largest difference to the network, as a share of the output's largest value.
        left_out: in words, what of the student is not in the file; None for nothing.
        size: side in pixels of the images that it takes, or height and width.
    """

    path: Path
    sidecar: Path
    part: str
    difference: float
    left_out: str | None
    size: int | tuple[int, int]


def export_student(
    student: Student,
    path: str | Path,
    to: str = 'onnx',
    part: str | None = None,
    opset: int = OPSET,
    size: int | tuple[int, int] | None = None,
) -> Exported:
    """Write a student as a file that runs without this project.

    The file takes normalised images, RGB unless the student saw others, float32
    [batch, 3, size, size] with any batch (of other students their own channels, height and width);
    a whole detector takes one, and its size in it. The JSON beside the file says the order of the
    channels, how to normalise them, what comes out, and where the student comes
    from; an ONNX file has size, class names, mean and std in its own metadata too.

    Args:
        student: from :func:`g2sd_mm.load_student`; left on the CPU.
        path: the file; its folder is made.
        to: ``onnx``, ``torchscript`` or ``torch-export``.
        part: one of the task's ``parts`` or, of ONNX, ``exports``; None for the largest.
        opset: of ONNX.
        size: side of the images in pixels, or height and width; None for the student's own.

    Raises:
        UserError: for what cannot be exported, or without the packages that ONNX needs.
        ExportError: if the file computes something else than the network. What was at ``path``
            is left as it was then.
    """
    if to not in FORMATS:
        raise UserError(f'unknown format {to!r}: known are {", ".join(FORMATS)}')
    path = Path(path)
    if path.suffix != FORMATS[to]:
        raise UserError(f'a {to} file ends in {FORMATS[to]}, not as {path.name} does')
    student = student.to('cpu')
    name, network = _part_of(student, part, to)
    size = size or student.image_size
    if size is None:
        raise UserError('the backbone does not say what images it is laid out for: give a size')
    height, width = height_and_width(size)
    further: dict[str, Tensor] = network.defaults(height, width) if _is_whole(network) else {}
    example = random_images(1 if further else 2, size, channels=student.in_channels)
    try:
        with torch.no_grad():
            outputs = as_list(network(example, *further.values()))
    except ValueError as error:  # the size does not divide into patches
        given = pixels((height, width))
        raise UserError(f'images of {given} do not fit this student: {error}') from error
    names = _names_of(network, len(outputs))
    channels = student.channels or f'{student.in_channels}, as in the files'
    about = {
        'task': student.task, 'part': name, 'size': [height, width], 'mean': student.mean,
        'std': student.std, 'channels': channels, 'classes': student.classes,
        **({'threshold': further['threshold'].item()} if 'threshold' in further else {}),
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    with tried_first(path) as new:
        if to == 'onnx':
            write_onnx(network, example, new, names, opset, further, about)
        elif to == 'torchscript':
            write_torchscript(network, example, new)
        else:
            write_torch_export(network, example, new)
        run = runner_of(new, to)
        if further:
            check = compare_detector(student.model, network, run, example.shape[1:])
        else:
            check = compare(network, run, size, names, student.in_channels)
    left_out = task_named(student.task).left_out if not further and name != 'backbone' else None
    batch = 1 if further else 'batch'
    content: dict[str, Any] = {
        'format': FORMAT,
        'file': {'file': path.name, 'sha256': file_digest(path), 'kind': to, 'part': name},
        'input': {
            'name': 'images',
            'shape': [batch, *example.shape[1:]],
            'type': 'float32',
            'channels': channels,
            'mean': student.mean,
            'std': student.std,
            'test_pipeline': student.network['test_pipeline'],  # how a picture becomes one
        },
        'further_inputs': {key: {'shape': list(value.shape), 'type': 'float32',
                                 'usual': value.tolist()} for key, value in further.items()},
        'outputs': [
            {'name': n, 'shape': _shape(network, n, o)}
            for n, o in zip(names, outputs, strict=True)
        ],
        'left_out': left_out,
        'check': check,
        'classes': student.classes,
        'origin': student.origin,
    }  # fmt: skip
    if to == 'onnx':
        content['file']['opset'] = opset
    difference = max(check['difference'].values())
    sidecar = path.with_name(f'{path.name}.json')  # weights.json is the weights' own
    write_text(sidecar, json.dumps(content, indent=2))
    return Exported(path, sidecar, name, difference, left_out, size)


def _is_whole(network: Any) -> bool:
    return hasattr(network, 'defaults')


def _shape(network: Any, name: str, output: Tensor) -> list[int | str]:
    if not _is_whole(network):
        return ['batch', *output.shape[1:]]
    return list(output.shape) if getattr(network, 'raw', False) else ['found', *output.shape[1:]]


def runner_of(path: str | Path, to: str) -> Runner:
    """An exported file as a function: images [B, 3, size, size], further inputs -> outputs."""
    return _RUNNERS[to](Path(path))


def add_to_description(exported: Exported, **facts: Any) -> None:
    """Write more into the JSON beside an exported file: plain values by name."""
    content = json.loads(exported.sidecar.read_text(encoding='utf-8'))
    write_text(exported.sidecar, json.dumps({**content, **facts}, indent=2))


def _part_of(student: Student, part: str | None, to: str) -> tuple[str, Any]:
    """Name and network of the part to export, in eval mode and without gradients."""
    task = task_named(student.task)
    parts = {**(task.exports if to == 'onnx' else {}), **task.parts}
    part = part or next(iter(parts))
    if part not in parts:
        only = ' (as ONNX only)' if part in task.exports else ''
        raise UserError(
            f'a student for {student.task} has no part {part!r} to export{only}, but '
            f'{" and ".join(parts)}'
        )
    return part, parts[part](student.model).eval().requires_grad_(False)


def _names_of(network: Any, number: int) -> list[str]:
    """Names of so many outputs: the network's own, or of its ``output``."""
    if _is_whole(network):
        return list(network.output_names)
    name = str(getattr(network, 'output', 'features'))
    return [name] if number == 1 else [f'{name}_{i}' for i in range(number)]
