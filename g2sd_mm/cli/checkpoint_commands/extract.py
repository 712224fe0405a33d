"""``checkpoint.py extract CHECKPOINT --student``."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...config.options import read_options
from ..options import add_options

EXAMPLES = """examples:
  python tools/checkpoint.py extract work_dirs/g2sd_vits_cls/epoch_200.pth --student
  python tools/checkpoint.py extract epoch_200.pth --layout timm --out student.safetensors
"""
#: Layouts of files that hold one network; a Hugging Face folder is what ``convert`` writes.
LAYOUTS = ('ours', 'timm', 'mmpretrain', 'mmseg', 'detectron2', 'mae', 'g2sd')


def add_arguments(p: argparse.ArgumentParser) -> None:
    """Options of the sub-command."""
    p.add_argument('checkpoint', metavar='CHECKPOINT', help="a run's epoch_N.pth, iter_N.pth, ...")
    p.add_argument(
        '--student',
        action='store_true',
        help='take the student (the default; nothing else can be extracted)',
    )
    p.add_argument('--out', metavar='FILE', help='.pth or .safetensors (student.pth beside it)')
    p.add_argument(
        '--layout',
        choices=LAYOUTS,
        default='ours',
        help='names of the tensors: ours (default), for mmpretrain, mmdet and mmseg with '
        "custom_imports of our backbones, or another library's",
    )
    p.add_argument(
        '--weights',
        choices=('raw', 'ema'),
        help='of a file with raw and averaged (EMA) weights, those to take',
    )
    p.add_argument('--config', help='config of the run, if the checkpoint does not contain it')
    p.add_argument('--force', action='store_true', help='overwrite FILE')
    add_options(p)


def run(args: argparse.Namespace) -> None:
    """Write the student and say where it came from."""
    from ... import register_all
    from ...errors import UserError
    from ...students.extract import extract_student
    from ...text import printable

    target = Path(args.out or Path(args.checkpoint).with_name('student.pth'))
    if target.exists() and not args.force:
        raise UserError(f'{target} exists: choose another --out, or overwrite it with --force')
    register_all()
    done = extract_student(
        args.checkpoint,
        target,
        args.layout,
        args.config,
        read_options(args.cfg_options),
        args.weights,
    )
    what = f'student for {done.network["task"]}' if done.network else 'pre-trained encoder'
    print(printable(f'{done.path}: {what}, {done.tensors} tensors'))
    print(printable(f'{done.sidecar}: what it is and where it comes from'))
    if done.left_behind:
        parts = sorted({name.split('.')[0] for name in done.left_behind})
        print(printable(f'left behind: {len(done.left_behind)} tensors of {", ".join(parts)}'))
