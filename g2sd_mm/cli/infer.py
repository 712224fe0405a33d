"""``tools/infer.py``: predictions of a trained student on image files, as JSON and pictures."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from .guard import run_command
from .options import add_options, best_device, parse_options

EXAMPLES = """examples:
  python tools/infer.py configs/shapes/vits_deploy.py work_dirs/g2sd_vits_cls/weights.pth \\
      photo.jpg other.png --out-dir predictions
  python tools/infer.py configs/coco/g2sd_vits_maskrcnn_nosd.py weights.pth *.jpg --out-dir boxes
"""


def parser() -> argparse.ArgumentParser:
    """The command line of ``infer``."""
    p = argparse.ArgumentParser(
        prog='infer.py',
        description='Predict images: classes, boxes with masks, or a label map, depending on the '
        'config.',
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument('config', help='config file; for a distilled config, the student is used')
    p.add_argument('checkpoint', help="weights.pth, a run's checkpoint, or a published file")
    p.add_argument('images', nargs='+', help='image files')
    p.add_argument('--out-dir', required=True, help='folder for predictions.json and the pictures')
    p.add_argument('--threshold', type=float, default=0.3, help='minimum score of a box (0.3)')
    p.add_argument('--device', help='cpu, cuda, ... (cuda if available)')
    add_options(p)
    return p


def infer(
    config: str,
    checkpoint: str,
    images: list[str],
    out_dir: str,
    options: dict[str, Any] | None = None,
    threshold: float = 0.3,
    device: str | None = None,
    legend: bool = True,
) -> list[dict[str, Any]]:
    """Predict on images one by one; the function behind the command.

    Args are the command's; ``legend`` stands beside segmentations.

    Returns:
        one plain dict for each image, as written to ``predictions.json``: ``image`` and ``scores``
        by class name, or ``instances`` (``class``, ``score``, ``box`` as left, top, right, bottom
        in pixels, ``mask`` as COCO run lengths), or ``classes`` present with their share of pixels.

    Raises:
        UserError: if an image is missing or cannot be read.
        CheckpointError: if the weights do not fit the config.
    """
    import mmcv

    import g2sd_mm

    from ..reports.draw import draw_sample
    from ..students.load import student_of
    from ..students.predictions import plain_prediction
    from ..students.student import check_image, read_image
    from . import config as fit

    g2sd_mm.register_all()
    for image in images:  # a wrong path is told before the work
        check_image(image)
    device = device or best_device()
    student = student_of(fit.load_config(config, options), checkpoint, config).to(device)
    folder = Path(out_dir)
    folder.mkdir(parents=True, exist_ok=True)
    predictions = []
    for number, path in enumerate(images):
        sample = student.sample(path)
        plain = plain_prediction(sample, student.classes, threshold)
        predictions.append({'image': path, **plain})
        drawn = draw_sample(
            read_image(path), sample, student.classes, threshold=threshold, legend=legend
        )
        name = f'{number:04d}_{Path(path).stem}.jpg'
        mmcv.imwrite(mmcv.rgb2bgr(drawn), str(folder / name))
    (folder / 'predictions.json').write_text(json.dumps(predictions, indent=2))
    return predictions


def main() -> None:
    """Entry point of ``tools/infer.py``."""
    args = vars(parser().parse_args())

    def command() -> None:
        infer(options=parse_options(args.pop('cfg_options')), **args)
        from ..wording import printable

        print(printable(f'{args["out_dir"]}/predictions.json'))

    run_command(command)
