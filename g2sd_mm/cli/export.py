"""``tools/export.py``: students as files that run without this project."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..text import printable
from .exit_codes import run_command
from .options import add_options, command_parser, image_size

EXAMPLES = """examples:
  python tools/export.py work_dirs/g2sd_vits_cls
  python tools/export.py work_dirs/g2sd_vits_cls --int8 --test-data configs/shapes/g2sd_vits_cls.py
  python tools/export.py student.safetensors --to torchscript --part backbone --out vit.ts
  python tools/export.py mae_finetuned_vit_base.pth --config configs/imagenet/vitb_cls.py
  python tools/export.py work_dirs/g2sd_vits_maskrcnn --benchmark

Exported outputs by task (inputs: normalised RGB images, any batch size, one image size):
  classification  classifier (logits), backbone (features)
  detection       detector (one image -> boxes, scores, labels, masks after NMS; ONNX only),
                  raw (boxes and scores of every proposal, before the last NMS; ONNX only),
                  pyramid (feature maps), backbone
  segmentation    segmentor (the whole UPerNet: logits of a crop), backbone (feature maps)
  depth           depth (metres at the size of the images), backbone (feature maps)
"""


def parser() -> argparse.ArgumentParser:
    """The command line of ``export``."""
    p = command_parser(
        'Write a student as ONNX, TorchScript or torch.export, compare the file with '
        'the network on random images, and write a JSON file that describes it.',
        EXAMPLES,
    )
    p.add_argument('student', help="weights file, or a run's folder")
    p.add_argument(
        '--config', help='config to build the student from (the JSON file beside the weights)'
    )
    p.add_argument(
        '--to',
        choices=['onnx', 'torchscript', 'torch-export'],
        default='onnx',
        help='format of the file (onnx)',
    )
    p.add_argument('--out', help='file to write (beside the weights, ending in .onnx, .ts or .pt2)')
    p.add_argument('--part', help='part of the network, see below (the largest exportable part)')
    p.add_argument('--opset', type=int, default=18, help='ONNX operator set (18)')
    p.add_argument(
        '--size', type=image_size, metavar='PX',
        help="size of the images: 224, or 224x448, height x width (the student's own)",
    )  # fmt: skip
    p.add_argument('--int8', action='store_true', help='also write NAME_int8.onnx, quantised')
    p.add_argument(
        '--test-data',
        metavar='CONFIG',
        help='print the top-1 accuracy of every file on the test data of CONFIG',
    )
    p.add_argument(
        '--benchmark',
        action='store_true',
        help='print size and latency of student and teacher, as ONNX in float32 and in int8',
    )
    p.add_argument(
        '--teacher',
        metavar='RUN',
        help="of --benchmark: weights or run of the teacher (the file that the student's record "
        'names)',
    )
    add_options(p)
    return p


def export(
    student: str,
    config: str | None = None,
    to: str = 'onnx',
    out: str | None = None,
    part: str | None = None,
    opset: int = 18,
    size: int | tuple[int, int] | None = None,
    int8: bool = False,
    test_data: str | None = None,
    benchmark: bool = False,
    teacher: str | None = None,
    options: dict[str, Any] | None = None,
) -> list[Path]:
    """Export a student; the function behind the command, which prints what it wrote.

    Returns:
        the files written, without their descriptions.

    Raises:
        UserError: for what cannot be exported or quantised.
        CheckpointError: if the weights do not fit.
        ExportError: if the file computes something else than the network.
    """
    from ..agreement.inputs import pixels
    from ..errors import UserError
    from ..export import export_student
    from ..export.check import top1
    from ..export.formats import write_int8
    from ..export.student import FORMATS, add_to_description, runner_of
    from ..models.positions import height_and_width, plain_size
    from ..provenance import file_digest
    from ..students import load_student
    from ..students.load import weights_file

    for name, asked in {'--int8': int8, '--benchmark': benchmark}.items():
        if asked and to != 'onnx':
            raise UserError(f'{name} is about ONNX files: it cannot be had with --to {to}')
    if teacher and not benchmark:
        raise UserError('--teacher is of --benchmark: give both, or neither')
    loaded = load_student(student, config, options)
    if test_data and (loaded.task != 'classification' or part == 'backbone'):
        raise UserError('--test-data measures the top-1 accuracy of whole classifiers')
    path = Path(out) if out else weights_file(student).with_suffix(FORMATS[to])
    size = None if size is None else plain_size(size)
    tested = _tested(loaded, test_data, size) if test_data else None  # refused before the work
    exported = export_student(loaded, path, to, part, opset, size)
    _say(path, f'{exported.part}, differs from PyTorch by {exported.difference:.1e} at most')
    if exported.size != loaded.image_size and loaded.image_size:
        taken, own = (pixels(height_and_width(s)) for s in (exported.size, loaded.image_size))
        print(f'note: it takes images of {taken}, the student was trained on those of {own}')
    if exported.left_out:
        print(printable(f'note: {exported.left_out}'))
    files, quantised = [path], path.with_name(f'{path.stem}_int8{path.suffix}')
    if int8:
        files.append(quantised)
        share = write_int8(path, quantised)
        _say(quantised, f'{100 * share:.0f} % of the weights in int8, those of matrix products: '
             'measure its accuracy before you use it')  # fmt: skip
        add_to_description(exported, int8={'file': quantised.name, 'share': round(share, 4),
                                           'sha256': file_digest(quantised)})  # fmt: skip
    elif to == 'onnx' and quantised.exists():
        print(printable(f'note: {quantised} is of an earlier export: --int8 writes it anew'))
    if tested is not None:
        runners = {file.name: runner_of(file, to) for file in files}
        classifiers = {name: lambda x, run=run: run(x)[0] for name, run in runners.items()}
        accuracies = top1(loaded, tested, {'PyTorch': loaded, **classifiers})
        for name, accuracy in accuracies.items():
            print(printable(f'top-1 {accuracy:.2f} %  {name}'))
        add_to_description(exported, top1={'test_data': test_data, **accuracies})
    if benchmark:
        _benchmark(loaded, exported, teacher, opset)
    return files


def _benchmark(student: Any, exported: Any, teacher: str | None, opset: int) -> None:
    import tempfile
    from dataclasses import asdict

    from ..export import benchmark, export_student
    from ..export.student import add_to_description

    print('exporting the teacher, and measuring ...')
    with tempfile.TemporaryDirectory(prefix='g2sd_teacher_') as folder:
        files = {'student': exported}
        taught_by, note = benchmark.teacher_of(student, teacher)
        if taught_by is not None:
            path = Path(folder) / 'teacher.onnx'
            taught = export_student(taught_by, path, 'onnx', exported.part, opset, exported.size)
            files = {'teacher': taught, **files}
        measured = benchmark.benchmark(files)
    for line in benchmark.lines(measured, exported.size):
        print(line)
    if note:
        print(printable(f'note: {note}'))
    add_to_description(exported, benchmark=[asdict(one) for one in measured])


def _tested(student: Any, config: str, size: int | tuple[int, int] | None) -> Any:
    """The config with the test data, which are there and of the student's kind."""
    from ..config.load import load_config
    from ..runs.data import prepare_data
    from ..students.load import agree_on_test_data

    cfg = load_config(config)
    prepare_data(cfg, ('test_dataloader',))
    agree_on_test_data({'the student': student}, cfg, config, size or student.image_size)
    return cfg


def _say(path: Path, what: str) -> None:
    print(printable(f'{path} ({path.stat().st_size / 1e6:.1f} MB): {what}'))


def main() -> None:
    """Entry point of ``tools/export.py``."""
    run_command(export, parser().parse_args())
