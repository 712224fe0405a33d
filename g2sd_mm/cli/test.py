"""``tools/test.py``: evaluate a checkpoint of any kind that fits the config's student."""

from __future__ import annotations

import argparse
from typing import Any

from .exit_codes import run_command
from .options import add_run_options, command_parser, take_choices

EXAMPLES = """examples:
  python tools/test.py configs/shapes/g2sd_vits_cls.py work_dirs/g2sd_vits_cls/weights.pth
  python tools/test.py configs/imagenet/vitb_cls.py mae_finetuned_vit_base.pth --out results.json
  python tools/test.py configs/imagenet/vits_deploy.py work_dirs/g2sd_vits_cls/weights.pth \\
      --data configs/robustness/imagenet_a.py
"""

def parser() -> argparse.ArgumentParser:
    """The command line of ``test``."""
    p = command_parser(
        'Evaluate weights on the test data of a config. For a distilled config, the '
        'student is evaluated; no teacher is needed.',
        EXAMPLES,
    )
    p.add_argument('config', help='config file')
    p.add_argument('checkpoint', help="weights.pth, a run's checkpoint, or a published file")
    p.add_argument('--work-dir', help='where the log goes (work_dirs/<config name>)')
    p.add_argument('--out', help='write the metrics to this JSON file')
    p.add_argument('--show-dir', help='draw predictions into this folder')
    p.add_argument('--data', metavar='CONFIG', help='use the test data of this config instead')
    p.add_argument('--tta', action='store_true', help="use the config's test-time augmentation")
    add_run_options(p)
    return p


def _run(**args: Any) -> None:
    from mmengine.dist import is_main_process

    from ..runs.processes import leaving_processes
    from ..runs.test import evaluate
    from ..tasks import in_units
    from ..text import printable

    choices = take_choices(args)
    with leaving_processes():
        metrics = evaluate(choices=choices, **args)
        if is_main_process():
            print(printable('  '.join(in_units(metrics))))


def main() -> None:
    """Entry point of ``tools/test.py``."""
    run_command(_run, parser().parse_args())
