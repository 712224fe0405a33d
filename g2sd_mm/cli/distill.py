"""``tools/distill.py``: from a folder of images to a deployed student."""

from __future__ import annotations

import argparse
from typing import Any

from ..text import as_called, printable
from .exit_codes import run_command, said_when_stopped
from .options import add_data_options, command_parser, take_choices

EXAMPLES = """examples:
  python tools/distill.py my_images
  python tools/distill.py my_images --time-budget 2h
  python tools/distill.py my_coco --epochs 20 --no-twin --out work_dirs/small_detector
  python tools/distill.py my_images --dry-run
  python tools/distill.py my_images --teacher dinov2_vits14.pth --time-budget 4h
  python tools/distill.py my_yolo --val-share 0.2 --dry-run
  python tools/distill.py my_images --plain-config my_configs --dry-run

DATA is a folder: train/<class>/ and val/<class>/ with images; images with COCO annotations
(train/, val/, annotations/instances_train.json, instances_val.json); or images/{train,val}/ with
masks of the same names in annotations/{train,val}/. Exports of Roboflow, CVAT, Label Studio, YOLO
and VOC, labels.csv and masks in colours are read too (docs/own_layouts.md). Interrupted or killed,
the same command goes on where it was.
"""


def parser() -> argparse.ArgumentParser:
    """The command line of ``distill``."""
    p = command_parser(
        'Look at a folder of images, choose networks and schedule, train a teacher and '
        'a small student from it, and leave the student evaluated, exported and described.',
        EXAMPLES,
    )
    p.add_argument('data', metavar='DATA', help='folder of your images and labels')
    p.add_argument(
        '--teacher', metavar='NAME|FILE',
        help='weights of a masked autoencoder, a network fine-tuned on the task, or an encoder '
        '(DINOv2 and the like); or a name of timm, whose weights are fetched; or NAME=FILE '
        '(one is trained on your images)',
    )  # fmt: skip
    p.add_argument(
        '--student', metavar='NAME',
        help='demo-student, tiny, small, ... or a name of timm such as convnext_atto (what fits '
        'the machine)',
    )  # fmt: skip
    p.add_argument('--task', help='cls, det, seg or depth (found by how the folder is laid out)')
    p.add_argument('--epochs', type=float, help="epochs of the student's fine-tuning; the other "
                   'runs in proportion')  # fmt: skip
    p.add_argument('--time-budget', metavar='TIME', help='of all training: 2h, 90m, 5400s')
    p.add_argument(
        '--no-twin', dest='twin', action='store_false',
        help='do not also fine-tune the student without its teacher, to compare with',
    )  # fmt: skip
    p.add_argument('--seed', type=int, default=0, help='of all runs (0)')
    p.add_argument('--device', choices=['cpu', 'cuda'], help='cpu leaves a GPU alone')
    p.add_argument('--jobs', type=int, help='runs at once (one per core up to 4; with a GPU 1)')
    p.add_argument('--out', metavar='DIR', help='folder (work_dirs/distill_<name of DATA>)')
    p.add_argument(
        '--resume', action='store_true', help='not needed: the same command always goes on'
    )
    p.add_argument('--dry-run', action='store_true', help='print the plan with its times and stop')
    p.add_argument(
        '--plain-config', metavar='DIR', help='also write the configs of the runs, to be edited'
    )
    add_data_options(p)
    p.add_argument(
        '--force', action='store_true', help='train although the data checker found harm'
    )
    return p


def _run(resume: bool, **args: Any) -> None:
    choices = take_choices(args)
    from ..bench.own_student import distill
    from ..progress import Bars

    with said_when_stopped('distill'), Bars(every=60) as bars:
        made = distill(
            say=lambda line: bars.say(printable(as_called(line))),
            bars=bars, choices=choices, **args,
        )  # fmt: skip
    if made is None:
        return
    print()
    for file in (made.report, *made.files):
        print(printable(str(file)))
    print(
        '\nimport g2sd_mm\n'
        + printable(f"student = g2sd_mm.load_student('{made.weights}')")
        + "\nprint(student.predict('image.jpg'))"
    )


def main() -> None:
    """Entry point of ``tools/distill.py``."""
    run_command(_run, parser().parse_args())
