"""``tools/infer.py``: ``predict`` with the config first, as OpenMMLab users know it."""

from __future__ import annotations

import argparse
from typing import Any

from .exit_codes import run_command
from .options import add_options, command_parser

EXAMPLES = """examples:
  python tools/infer.py configs/shapes/g2sd_vits_cls.py work_dirs/g2sd_vits_cls/weights.pth \\
      photo.jpg other.png --out-dir predictions
  python tools/infer.py configs/coco/g2sd_vits_maskrcnn_nosd.py weights.pth *.jpg --out-dir boxes
"""


def parser() -> argparse.ArgumentParser:
    """The command line of ``infer``."""
    p = command_parser(
        'Predict images: classes, boxes with masks, a label map, or depth (also as '
        '16-bit PNG and .npy), depending on the config. predict.py does the same from the weights '
        'alone, and more.',
        EXAMPLES,
    )
    p.add_argument('config', help='config file; for a distilled config, the student is used')
    p.add_argument('checkpoint', help="weights.pth, a run's checkpoint, or a published file")
    p.add_argument('images', nargs='+', help='image files')
    p.add_argument('--out-dir', required=True, help='folder for predictions.json and the pictures')
    p.add_argument('--threshold', type=float, default=0.3, help='minimum score of a box (0.3)')
    p.add_argument('--device', help='cpu, cuda, ... (cuda if available)')
    add_options(p)
    return p


def _run(**args: Any) -> None:
    from ..runs.predict import infer
    from ..text import printable

    infer(progress=True, **args)
    print(printable(f'{args["out_dir"]}/predictions.json'))


def main() -> None:
    """Entry point of ``tools/infer.py``."""
    run_command(_run, parser().parse_args())
