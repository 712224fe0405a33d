"""What an exported student gains: size and latency beside its teacher's, in float32 and int8."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..agreement.inputs import pixels
from ..checkpoints import CheckpointError
from ..checkpoints.record import known_record
from ..compat.guards import installed
from ..errors import UserError
from ..models.positions import height_and_width
from ..provenance import digest_if_there
from ..students.load import load_student
from ..students.student import Student
from .check import random_images
from .formats import onnx_runner, write_int8
from .student import Exported

#: Rounds of one image that are counted, and that are run before.
ROUNDS, WARM_UP = 30, 5


@dataclass(frozen=True)
class Measured:
    """One file.

    Attributes:
        network: ``teacher`` or ``student``.
        precision: ``float32`` or ``int8``.
        megabytes: of the file, in 10**6 bytes.
        milliseconds: median time of one image, on one thread.
    """

    network: str
    precision: str
    megabytes: float
    milliseconds: float


def teacher_of(student: Student, given: str | None = None) -> tuple[Student | None, str]:
    """The network that taught a student and ``''``, or None and a line that says why.

    ``given``: its run or weights; None for what the student's record names.

    Raises:
        UserError, CheckpointError: if the one that is given cannot be loaded.
    """
    if given:
        teacher = load_student(given)
        if teacher.task != student.task:
            raise UserError(f'--teacher {given} is of {teacher.task}, the student {student.task}')
        return teacher, ''
    described = [student.origin.get('teacher'), *(student.origin.get('teachers') or {}).values()]
    known: dict[str, Any] = next((one for one in described if one and one.get('file')), {})
    path = known.get('file')
    if not path:
        return None, 'the student names no teacher of its task: give one with --teacher RUN'
    if not Path(path).is_file():
        return None, f'its teacher {path} is not there: give one with --teacher RUN'
    if known.get('sha256') and digest_if_there(path) != known['sha256']:
        return None, f'{path} is not the file that taught it: give one with --teacher RUN'
    try:
        config = None if known_record(Path(path)) else known.get('config')
        teacher = load_student(path, config)
    except (UserError, CheckpointError) as error:
        return None, f'its teacher cannot be measured ({error})'
    if teacher.task != student.task:
        return None, f'its teacher {path} is of {teacher.task}: give one with --teacher RUN'
    return teacher, ''


def benchmark(files: Mapping[str, Exported]) -> list[Measured]:
    """Quantise exported ONNX files, and time them and their int8 copies on one thread.

    They are timed in turn, round by round, so that what else the machine does touches all alike.
    The image is noise; what a detector finds in it goes on to its masks.

    Args:
        files: name of the network -> its file in float32.
    """
    with tempfile.TemporaryDirectory(prefix='g2sd_benchmark_') as folder:
        paths: dict[tuple[str, str], Path] = {}
        for name, exported in files.items():
            paths[name, 'float32'] = exported.path
            paths[name, 'int8'] = Path(folder) / f'{name}_int8.onnx'
            write_int8(exported.path, paths[name, 'int8'])
        runs = {key: onnx_runner(path, threads=1) for key, path in paths.items()}
        inputs = {name: _inputs(exported) for name, exported in files.items()}
        times: dict[tuple[str, str], list[float]] = {key: [] for key in runs}
        for _ in range(WARM_UP + ROUNDS):
            for key, run in runs.items():
                began = time.perf_counter()
                run(*inputs[key[0]])
                times[key].append(time.perf_counter() - began)
        return [
            Measured(
                *key, round(path.stat().st_size / 1e6, 3),
                round(1e3 * statistics.median(times[key][WARM_UP:]), 3),
            )
            for key, path in paths.items()
        ]  # fmt: skip


def _inputs(exported: Exported) -> list[Tensor]:
    described = json.loads(exported.sidecar.read_text(encoding='utf-8'))
    _, channels, height, width = described['input']['shape']
    usual = [torch.tensor(given['usual']) for given in described['further_inputs'].values()]
    return [random_images(1, (height, width), channels=channels), *usual]


def lines(measured: Sequence[Measured], size: int | tuple[int, int]) -> list[str]:
    """A table of what was measured, a line for each file."""
    header = (
        f'one image of {pixels(height_and_width(size))} on one thread, median of {ROUNDS} rounds, '
        f'onnxruntime {installed("onnxruntime")}:'
    )
    return [header] + [
        f'  {one.network:<8} {one.precision:<8} {one.megabytes:9.2f} MB {one.milliseconds:9.2f} ms'
        for one in measured
    ]
