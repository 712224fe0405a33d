"""``tools/analyze.py``: compare students with their teacher, and draw what came out."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config.options import read_options
from ..errors import UserError
from .exit_codes import run_command
from .options import add_options, command_parser

if TYPE_CHECKING:
    from mmengine.config import Config

    from ..bench.analysis.network import Networks
    from ..progress import Bars


RECONSTRUCTION = 'reconstruction'
NAMES = ('agreement', 'occlusion', 'corruption', 'cka', 'attention', RECONSTRUCTION)
EXAMPLES = """analyses:
  agreement       how often student and teacher predict the same class; calibration of both
  occlusion       accuracy and feature similarity with some of the patches removed
  corruption      accuracy under noise, blur, fog, ... at five severities
  cka             similarity of every layer to every layer of the teacher (CKA)
  attention       mean distance and entropy of the attention of every layer
  reconstruction  masked images, completed by the stage-1 student through the teacher's decoder

agreement, occlusion and corruption are for classifiers; cka and attention work for any task.
docs/analyze.md says how to read the figures.

examples:
  python tools/analyze.py --run work_dirs/demo
  python tools/analyze.py cka attention --run work_dirs/demo --task seg
  python tools/analyze.py --run work_dirs/paper --students vits vitt
  python tools/analyze.py occlusion --out-dir occlusion --images 5000 \\
      --teacher configs/imagenet/vitb_cls.py mae_finetuned_vit_base.pth \\
      --student configs/imagenet/vits_deploy.py work_dirs/g2sd_vits_cls/weights.pth
  python tools/analyze.py reconstruction --out-dir pictures \\
      --generic configs/imagenet/g2sd_vits_generic.py work_dirs/g2sd_vits_generic/epoch_300.pth \\
      --cfg-options distillation.teacher.checkpoint=mae_pretrain_vit_base_full.pth
"""


def parser() -> argparse.ArgumentParser:
    """The command line of ``analyze``."""
    p = command_parser(
        'Compare trained students with their teacher. Every analysis writes a JSON '
        'file and a plot.',
        EXAMPLES,
    )
    p.add_argument('analyses', nargs='*', metavar='ANALYSIS',
                   help=f'some of {", ".join(NAMES)} (all that the inputs allow)')
    p.add_argument('--run', metavar='DIR',
                   help='folder of a suite (work_dirs/demo): finds teacher, students and stage 1')
    p.add_argument('--task', default='cls',
                   help='task of the suite (cls)')
    p.add_argument('--seed', type=int, default=0, help='seed of the suite (0)')
    p.add_argument('--students', action='extend', nargs='+', metavar='NAME',
                   help='networks of the suite: vits, vitt (the first that has rows)')
    pair: dict[str, Any] = dict(nargs=2, metavar=('CONFIG', 'CHECKPOINT'))
    p.add_argument('--teacher', **pair, help='teacher to compare with, instead of --run')
    p.add_argument('--student', **pair, action='append',
                   help='student to analyse; may be given several times')
    p.add_argument('--generic', **pair, help='stage-1 run, for the reconstruction')
    p.add_argument('--images', type=int, metavar='N',
                   help='number of images, evenly sampled from the test data (depends on the '
                   'analysis)')
    p.add_argument('--pictures', type=int, default=6, help='pictures of the reconstruction (6)')
    p.add_argument('--out-dir', metavar='DIR',
                   help='folder for JSON files and plots (DIR/analysis of --run)')
    p.add_argument('--device', help='cpu, cuda, ... (cuda if available)')
    add_options(p)
    return p


def main() -> None:
    """Entry point of ``tools/analyze.py``."""
    args = parser().parse_args()
    run_command(lambda: _run(args))


def _run(args: argparse.Namespace) -> None:
    import g2sd_mm

    from ..progress import Bars

    unknown = [name for name in args.analyses if name not in NAMES]
    if unknown:
        raise UserError(f'no analysis {unknown[0]!r}: there are {", ".join(NAMES)}')
    if args.images is not None and args.images < 4:
        raise UserError(f'--images {args.images} is too few: give at least 4')
    if args.pictures < 0:
        raise UserError(f'--pictures {args.pictures} is too few: give 0 for none')
    if not args.out_dir and not args.run:
        raise UserError('--out-dir is missing: where shall the figures go?')
    g2sd_mm.register_all()
    subjects = _of_suite(args) if args.run else _of_files(args)
    chosen = args.analyses or subjects.possible()
    folder = Path(args.out_dir or _place(args))
    made: list[str] = []
    with Bars() as bars:
        for name in chosen:
            try:
                result = subjects.result(name, folder, bars)
            except UserError as error:
                if args.analyses or (name == chosen[-1] and not made):
                    raise
                bars.say(f'{name} is left out: {error}')
                continue
            made.append(f'{name}.json')
            bars.say(f'{name} ({result["seconds"]:.0f} s): {_keep(name, result, folder)}')
    print(f'{folder}: {", ".join(made)} and plots')


def _place(args: argparse.Namespace) -> Path:
    """``DIR/analysis``, of tasks other than classification a folder below."""
    folder = Path(args.run) / 'analysis'
    return folder if args.task == 'cls' else folder / args.task


def _keep(name: str, result: dict[str, Any], folder: Path) -> str:
    """Write JSON and plot; returns the result in a sentence."""
    from ..bench.reports.analyses import draw, summary
    from ..whole_files import write_text

    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / f'{name}.json', json.dumps(result, indent=1, allow_nan=False) + '\n')
    plot = draw(result)
    if plot:
        write_text(folder / f'{name}.svg', plot)
    return summary(result)


class Subjects:
    """What is analysed: networks, their test data, a stage-1 run.

    Args:
        args: of the command.
        networks: the teacher first; empty if only a reconstruction is wanted.
        data: config whose test images are shown to the networks.
        generic: config and checkpoint of a stage-1 run.
    """

    def __init__(
        self,
        args: argparse.Namespace,
        networks: Networks,
        data: Config | None,
        generic: tuple[Config, Path] | None,
    ) -> None:
        self.args, self.data, self.generic = args, data, generic
        from ..devices import usable_device

        self.device = usable_device(args.device)
        self.networks = {name: student.to(self.device) for name, student in networks.items()}

    @property
    def classifiers(self) -> bool:
        """Whether the networks name a class for the whole image."""
        return all(s.task == 'classification' for s in self.networks.values())

    def possible(self) -> list[str]:
        """The analyses that can be made of this."""
        from ..bench.analysis import ANALYSES

        names = [
            name
            for name, analysis in ANALYSES.items()
            if self.networks and (self.classifiers or not analysis.needs_classes)
        ]
        # stage 1 is the same, whatever task comes after it
        return names + [RECONSTRUCTION] * bool(self.generic and self.classifiers)

    def result(self, name: str, folder: Path, bars: Bars) -> dict[str, Any]:
        """One analysis, with how it was made.

        Raises:
            UserError: if what it needs was not given.
        """
        from ..bench.results import describe_environment

        started, used = time.perf_counter(), time.process_time()
        found = self._reconstruct(folder) if name == RECONSTRUCTION else self._ask(name, bars)
        return {
            'analysis': name,
            'command': shlex.join(['python', 'tools/analyze.py', *sys.argv[1:]]),
            'seconds': round(time.perf_counter() - started, 1),
            'cpu_seconds': round(time.process_time() - used, 1),
            'environment': describe_environment(),
            **found,
        }

    def _ask(self, name: str, bars: Bars) -> dict[str, Any]:
        from ..bench.analysis import ANALYSES
        from ..bench.analysis.network import transformer
        from ..bench.analysis.samples import labelled_samples, square_samples
        from ..threads import use_threads

        analysis = ANALYSES[name]
        if not self.networks:
            raise UserError(f'{name} compares networks: give --run, or --teacher and --student')
        if analysis.needs_classes and not self.classifiers:
            raise UserError(f'{name} is about classifiers: cka and attention take any task')
        number = self.args.images or analysis.images
        if self.classifiers:
            samples = labelled_samples(self.data, number)
        else:
            teacher, first = next(iter(self.networks.items()))
            transformer(first, teacher)  # which says its size
            assert first.image_size is not None
            samples = square_samples(self.data, number, first.image_size, first.channels)
        passes = analysis.passes(len(self.networks))
        bar = bars.add(name, passes * len(samples.images))
        sizes = (sum(p.numel() for p in s.parameters()) for s in self.networks.values())
        use_threads(max(sizes))
        try:
            return analysis.ask(self.networks, samples, bar.advance)
        finally:
            bar.end()

    def _reconstruct(self, folder: Path) -> dict[str, Any]:
        if not self.generic:
            raise UserError(
                'a reconstruction needs the checkpoint of a stage-1 run (epoch_N.pth, not '
                'weights.pth, which has no decoder): give --generic CONFIG CHECKPOINT'
            )
        from ..bench.analysis.reconstruction import reconstruct_images

        cfg, checkpoint = self.generic
        return reconstruct_images(
            cfg, checkpoint, self.data or cfg, self.args.pictures, folder / RECONSTRUCTION,
            self.device, self.args.images,
        )


def _of_suite(args: argparse.Namespace) -> Subjects:
    from ..bench.suites.finished_runs import (
        network_config,
        shared_config,
        stage1_config,
        stage1_run,
        trained_networks,
    )
    from ..runs.data import prepare_data
    from ..students import load_student
    from ..students.load import agree_on_test_data

    if args.teacher or args.student or args.cfg_options:
        raise UserError('--run finds networks and configs by itself: leave out --teacher, '
                        '--student and --cfg-options')  # fmt: skip
    folder = Path(args.run)
    runs = trained_networks(folder, args.task, args.seed, args.students or ())
    data = shared_config(runs)
    prepare_data(data, ('test_dataloader',))
    stage1 = stage1_run(folder, args.seed)
    generic = (stage1_config(stage1[0]), stage1[1]) if stage1 else None
    if args.generic:
        generic = _generic(args)
    networks = {
        name: load_student(run, network_config(folder, run)) for name, run in runs.items()
    }
    agree_on_test_data(networks, data, 'the test data of the suite')
    return Subjects(args, networks, data, generic)


def _of_files(args: argparse.Namespace) -> Subjects:
    from ..config.load import load_config
    from ..runs.data import prepare_data
    from ..students.load import agree_on_test_data, student_of

    if args.students:
        raise UserError('--students is for --run: give each network by --student')
    generic = _generic(args) if args.generic else None
    if not args.teacher and not args.student:
        if not generic:
            raise UserError('nothing to analyse: give --run DIR, or --teacher and --student')
        return Subjects(args, {}, None, generic)
    if not args.teacher or not args.student:
        raise UserError('a student is compared with a teacher: give --teacher and --student')
    options = read_options(args.cfg_options) if not generic else {}
    networks, data = {}, None
    for name, (config, checkpoint) in _named(args):
        cfg = load_config(config, options)
        networks[name] = student_of(cfg, checkpoint, config)
        if data is None:
            prepare_data(cfg, ('test_dataloader',))
            data = cfg
    if data is not None:
        agree_on_test_data(networks, data, args.teacher[0])
    return Subjects(args, networks, data, generic)


def _named(args: argparse.Namespace) -> list[tuple[str, list[str]]]:
    """Networks by name: a student is called by the folder that its checkpoint lies in.

    Raises:
        UserError: if one is given twice.
    """
    from ..text import telling_names

    files = [Path(checkpoint).resolve() for _, checkpoint in args.student]
    for i, file in enumerate(files):
        if file in files[:i]:
            raise UserError(f'--student {args.student[i][1]} is given twice')
    folders = [file.parent for file in files]
    if len(set(folders)) < len(folders):
        folders = [file.with_suffix('') for file in files]
    names = telling_names([Path('teacher'), *folders])[1:]
    return [('teacher', args.teacher), *zip(names, args.student, strict=True)]


def _generic(args: argparse.Namespace) -> tuple[Config, Path]:
    from ..config.load import load_config
    from ..runs.data import prepare_data

    config, checkpoint = args.generic
    cfg = load_config(config, read_options(args.cfg_options))
    if not args.run and not args.teacher:
        prepare_data(cfg, ('train_dataloader',))
    return cfg, Path(checkpoint)
