"""``tools/benchmark.py``: training speed and memory against a reference; loading of files."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from g2sd_mm.cli.exit_codes import run_command
from g2sd_mm.errors import UserError

from . import command_suite, plan
from .stages import QUICK, SIZES, STAGES

if TYPE_CHECKING:
    from . import throughput
    from .suite import Settings

PARTS = ('step', 'teacher', 'student', 'input', 'end_to_end', 'memory', 'startup', 'scaling')
DTYPES = ('float32', 'bfloat16', 'float16')
EXTRAS = (
    'both', 'decode50', 'answers', 'tokens50', 'attended50', 'int8', 'float8', 'labels',
    'recompute', 'channels_last',
)  # fmt: skip
EXAMPLES = """parts:
  step        whole training steps: preprocessing, teacher, student, backward pass, update
  teacher     the part of the teacher that the stage needs
  student     the student's forward and backward pass, without the teacher
  input       reading and augmenting images, without training; for stage 1 and classification
              alternating with mmpretrain's pipeline
  end_to_end  steps that are fed by the input pipeline
  memory      peak memory of a step, each figure from a separate process
  startup     from the start of a process to the first batch, compared with bare imports
  scaling     two processes over gloo compared with one, one core each (CPU)

options (--with; all are off by default, see docs/performance.md):
  both           stage 1: ViT-S and ViT-Ti learn in one step from one answer of the teacher
  decode50       stage 1: both decoders see half of the hidden patches
  answers        stage 1: the teacher's features are read from a file
  tokens50       classification: the teacher sees half of the patches
  attended50     classification: the teacher sees the half that the student attends to
  int8           the teacher's linear layers in 8-bit integers, on a CPU
  labels         classification: the teacher's decisions are read from a file
  recompute      activations of the student's blocks are recomputed, not kept
  channels_last  weights of convolutions in channels-last order

Every figure is compared with that of benchmarks/reference, which computes the same steps the way
the published code does, in float32. docs/performance.md says how to read them.

--suite paper measures something else: a whole step of every distinct network that the suite of
tools/reproduce.py trains, alone, in its precision, at the recipe's batch of one GPU and with
compiled blocks where training compiles them. reproduce.py --dry-run tells GPU hours from the file.

examples:
  python tools/benchmark.py --quick
  python tools/benchmark.py --stages det_vits --parts step memory --out speed.json
  python tools/benchmark.py --parts input --stages generic_vits --threads 1 --images FOLDER
  python tools/benchmark.py --device cuda --parts all --compile --out speed.json
  python tools/benchmark.py --suite paper --out speed.json
  python tools/benchmark.py --device cuda --plan short --out gpu.json
  python tools/benchmark.py --loading mae_pretrain_vit_base_full.pth
"""


def parser() -> argparse.ArgumentParser:
    """The command line of ``benchmark``."""
    p = argparse.ArgumentParser(
        prog='benchmark.py',
        description='Measure training with random weights and images, alternating with a '
        'reference implementation.',
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument('--stages', nargs='+', choices=STAGES, metavar='STAGE',
                   help=f'stages to measure, some of {", ".join(STAGES)} (all)')
    p.add_argument('--parts', nargs='+', choices=(*PARTS, 'all'), metavar='PART',
                   help=f'some of {", ".join(PARTS)}, or all (step memory)')
    p.add_argument('--batch', type=int, help='images per step (depends on the stage or recipe)')
    p.add_argument('--pairs', type=int, help='measured rounds of ours and the reference (5)')
    p.add_argument('--dtype', nargs='+', choices=DTYPES,
                   help='precision of our implementation, teacher included (float32 and bfloat16; '
                   "with --suite each step's own; float16 with a loss scale, on a GPU)")
    p.add_argument('--compile', action='store_true',
                   help='also measure with compiled blocks')
    p.add_argument('--with', nargs='+', choices=EXTRAS, default=[], dest='extras', metavar='OPTION',
                   help=f'also measure with these options: {", ".join(EXTRAS)}')
    p.add_argument('--release', action='store_true',
                   help="also compare steps with those of the published scripts as a whole: the "
                   "reference with their loss scale, autocast, waits and norm of gradients")
    p.add_argument('--size', choices=SIZES, default='full',
                   help='size of the networks; toy is for tests (full)')
    p.add_argument('--device', choices=('cpu', 'cuda'), help='where to measure (cuda if available)')
    p.add_argument('--threads', type=int, help="torch's threads on a CPU (torch's own choice)")
    p.add_argument('--workers', type=int,
                   help='processes that read images (0 on a CPU, 8 with a GPU)')
    p.add_argument('--images', type=Path, metavar='FOLDER',
                   help='images for the part input, in class folders (generated photographs)')
    p.add_argument('--quick', action='store_true',
                   help='steps of every stage, few or small images, 2 rounds: two minutes')
    p.add_argument('--loading', nargs='+', metavar='FILE',
                   help='measure only the memory and time of loading these weights files')
    p.add_argument('--out', type=Path, help='write all figures to this JSON file')
    command_suite.add_options(p)
    plan.add_options(p)
    return p


def settings(args: argparse.Namespace) -> Settings:
    """What the options ask for.

    Raises:
        UserError: if it cannot be measured.
    """
    from .formulation import Variant
    from .suite import Settings

    _refuse_too_few(args)
    device = _device(args)
    if device == 'cpu' and 'float16' in (args.dtype or ()):
        raise UserError('--dtype float16 needs a GPU: use bfloat16')
    parts = args.parts or (('step',) if args.quick else ('step', 'memory'))
    stages = args.stages or tuple(QUICK if args.quick else STAGES)
    pairs = args.pairs if args.pairs is not None else (2 if args.quick else 5)
    if args.images and not args.images.is_dir():
        raise UserError(f'--images {args.images}: no such folder')
    if args.images and any(STAGES[name].task in ('det', 'seg') for name in stages):
        raise UserError('--images is for stage 1 and classification: add --stages generic_vits')
    if args.batch == 1 and any(STAGES[name].task == 'seg' for name in stages):
        raise UserError('--batch 1: segmentation has batch norm on single pixels, give 2 or more')
    return Settings(
        stages=tuple(stages),
        parts=PARTS if 'all' in parts else tuple(parts),
        variants=tuple(
            Variant(dtype, compiled, extra)
            for compiled in ((False, True) if args.compile else (False,))
            for extra in (None, *args.extras)
            for dtype in args.dtype or DTYPES[:2]
        ),
        size=args.size,
        device=device,
        batch=args.batch,
        quick=args.quick,
        pairs=pairs,
        threads=args.threads,
        workers=args.workers if args.workers is not None else (8 if device == 'cuda' else 0),
        images=args.images,
        release=args.release or args.quick,
    )


def suite_settings(args: argparse.Namespace) -> throughput.Settings:
    """What the options ask for with ``--suite``.

    Raises:
        UserError: if it cannot be measured.
    """
    from .throughput import Settings

    _refuse_too_few(args)
    rounds = 5 if args.pairs is None else args.pairs
    return Settings(args.size, _device(args), args.batch, rounds, args.threads)


def _refuse_too_few(args: argparse.Namespace) -> None:
    for name, least in (('pairs', 1), ('batch', 1), ('threads', 1), ('workers', 0)):
        value = getattr(args, name)
        if value is not None and value < least:
            raise UserError(f'--{name} {value}: at least {least} is needed')


def _device(args: argparse.Namespace) -> str:
    """The device that is asked for, or the one that is there."""
    import torch

    cuda = torch.cuda.is_available()
    if args.device == 'cuda' and not cuda:
        raise UserError('--device cuda needs a GPU and torch sees none: use --device cpu')
    return args.device or ('cuda' if cuda else 'cpu')


def _run(args: argparse.Namespace) -> None:
    def save(content: dict[str, Any]) -> None:
        if args.out:
            from g2sd_mm.whole_files import write_text

            command = shlex.join(['python', 'tools/benchmark.py', *sys.argv[1:]])
            args.out.parent.mkdir(parents=True, exist_ok=True)
            write_text(args.out, json.dumps({'command': command, **content}, indent=1) + '\n')

    command_suite.refuse_mixture(args)
    if args.suite:
        command_suite.run(args, suite_settings(args), save)
    else:
        save(_loading(args.loading) if args.loading else _training(settings(args)))


def _training(chosen: Settings) -> dict[str, Any]:
    from g2sd_mm.progress import Bars

    from .report import HEADER, cells, line, plain
    from .suite import measure

    print(line(HEADER), flush=True)
    with Bars() as bars:
        bar = bars.add('measured', len(chosen.stages) * len(chosen.parts), unit='parts')
        seen = set()

        def say(figure: Any) -> None:
            bars.say(line(cells(figure)))
            seen.add((figure.stage, getattr(figure, 'part', type(figure))))
            bar.at(len(seen))

        measured = measure(chosen, say=say)
    environment = measured['environment']
    peaks = ', '.join(f'{d} {rate / 1e9:.0f} GFLOP/s' for d, rate in measured['peaks'].items())
    print(f'peak of matrix products: {peaks}; {environment["threads"]} threads')
    if environment['shared_with_other_work']:
        print(f'the machine had other work (load {environment["load_average"]}): not reliable')
    return plain(measured)


def _loading(files: list[str]) -> dict[str, Any]:
    from g2sd_mm.bench.results import describe_environment

    from .loading import measure_loading

    figures = []
    for file in files:
        figures.append(figure := {'loading': Path(file).name, **measure_loading(file)})
        print(
            f'{file}: {figure["extra"] / 2**20:.0f} MiB above the baseline for '
            f'{figure["file"] / 2**20:.0f} MiB ({figure["ratio"]:.2f} x) in {figure["seconds"]} s',
            flush=True,
        )
    return {'environment': describe_environment(), 'figures': figures}


def main() -> None:
    """Entry point of ``tools/benchmark.py``."""
    args = parser().parse_args()
    run_command(lambda: _run(args))
