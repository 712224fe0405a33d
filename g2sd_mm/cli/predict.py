"""``tools/predict.py``: predictions of a trained student on files, folders and videos."""

from __future__ import annotations

import argparse
from typing import Any

from .exit_codes import run_command
from .options import add_options, command_parser

EXAMPLES = """examples:
  python tools/predict.py work_dirs/g2sd_vits_cls photos --out predictions
  python tools/predict.py work_dirs/g2sd_vits_maskrcnn street.mp4 --every 5 --out street
  python tools/predict.py weights.pth "photos/*.jpg" more/a.png --out boxes --save csv coco
  python tools/predict.py weights.pth aerial.tif --tile 1024 --out aerial

exit codes: 0 all were predicted; 1 some could not be read, and the others were predicted;
2 nothing was predicted.
"""


def parser() -> argparse.ArgumentParser:
    """The command line of ``predict``."""
    p = command_parser(
        'Predict pictures, in batches: classes, boxes with masks, label maps or depth, '
        'depending on the student. predictions.json in the folder has them all.',
        EXAMPLES,
    )
    p.add_argument('weights', help="weights file, or a run's folder")
    p.add_argument(
        'source', nargs='+', help='image files, folders (with all below them), globs, videos'
    )
    p.add_argument('--out', required=True, help='folder for predictions.json and what is saved')
    p.add_argument(
        '--save',
        action='extend',
        nargs='*',
        choices=['csv', 'coco', 'masks', 'drawn'],
        default=argparse.SUPPRESS,  # what is given would be added to it
        help='beside predictions.json: a table, COCO results (detection), masks and depth maps as '
        'PNG, drawn pictures (masks drawn); without a word, nothing',
    )
    p.add_argument('--threshold', type=float, default=0.3, help='minimum score of a box (0.3)')
    p.add_argument('--batch-size', type=int, help='images at a time (by their size)')
    p.add_argument(
        '--tile',
        type=int,
        metavar='PIXELS',
        help='cut larger images into tiles of this side, overlapping by a quarter (detection, '
        'segmentation)',
    )
    p.add_argument('--every', type=int, default=1, help='each so-many-th frame of a video (1)')
    p.add_argument(
        '--config', help='config to build the student from (the JSON file beside the weights)'
    )
    p.add_argument('--device', help='cpu, cuda, ... (cuda if available)')
    add_options(p)
    return p


def _run(
    weights: str,
    source: list[str],
    out: str,
    config: str | None,
    device: str | None,
    options: dict[str, Any],
    **args: Any,
) -> None:
    from ..runs.predict import check, predict_into, student_for
    from ..text import printable

    student = student_for(weights, config, options, device)
    report = predict_into(student, source, out, progress=True, **args)
    print(printable(f'{out}/predictions.json'))
    check(report, out)


def main() -> None:
    """Entry point of ``tools/predict.py``."""
    run_command(_run, parser().parse_args())
