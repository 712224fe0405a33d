"""``tools/check_data.py``: look through a data set before training does."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..text import printable
from .exit_codes import run_command
from .options import add_data_options, add_options, command_parser, take_choices

if TYPE_CHECKING:
    from ..data_checks import Report, Source
    from ..data_layouts import Choices

EXAMPLES = """examples:
  python tools/check_data.py data/imagenet
  python tools/check_data.py configs/coco/coco_mini_example.py --fix-list fix.jsonl
  python tools/check_data.py train.json val.json --images train2017 val2017
  python tools/check_data.py my_yolo --report look.html
  python tools/check_data.py images/train --masks masks/train --num-classes 21
"""


def parser() -> argparse.ArgumentParser:
    """The command line of ``check_data``."""
    p = command_parser(
        'Say what is in a data set, and find files and annotations that would stop a '
        'training run, or silently degrade it: unreadable images, annotations that do not fit, '
        'labels without a class, the same pixels in training and evaluation. Exit code 1 if there '
        'is anything harmful.',
        EXAMPLES,
    )
    p.add_argument(
        'data', nargs='+', help='a config file, a folder, or COCO JSON files with --images'
    )
    p.add_argument(
        '--images', action='extend', nargs='+', metavar='DIR',
        help='image folder of each JSON file',
    )  # fmt: skip
    p.add_argument(
        '--masks', action='extend', nargs='+', metavar='DIR',
        help='mask folder of each image folder',
    )  # fmt: skip
    p.add_argument('--num-classes', type=int, help='classes that the masks may have')
    p.add_argument('--ignore-index', type=int, default=255, help='label to ignore (255)')
    p.add_argument(
        '--reduce-zero-label', action='store_true', help='0 means no label, 1 is the first class'
    )
    p.add_argument('--workers', type=int, default=os.cpu_count(), help='processes (one per CPU)')
    p.add_argument('--examples', type=int, default=3, help='files named for each finding (3)')
    p.add_argument('--out', metavar='FILE', help='write the whole report to this JSON file')
    p.add_argument('--report', metavar='FILE', help='write an HTML page with a contact sheet')
    p.add_argument('--fix-list', metavar='FILE', help='write what to do to this file (JSON lines)')
    add_data_options(p)
    add_options(p)
    return p


def check_data(
    data: Sequence[str],
    images: Sequence[str] | None = None,
    masks: Sequence[str] | None = None,
    num_classes: int | None = None,
    ignore_index: int = 255,
    reduce_zero_label: bool = False,
    workers: int = 1,
    options: dict[str, Any] | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    choices: Choices | None = None,
    report: str | None = None,
) -> Report:
    """Check a data set; the function behind the command, whose options the arguments are.

    Raises:
        UserError: if there is nothing to check at these places.
    """
    from ..data_checks import check
    from ..data_checks.masks import Labels

    labels = Labels(num_classes, ignore_index, reduce_zero_label)
    notes: list[str] = []
    sources = _sources(data, images, masks, labels, options, choices, notes)
    found = check(sources, workers, progress, notes)
    if report:
        from ..data_checks.page import render
        from ..whole_files import write_page

        title = ', '.join(map(printable, data))
        write_page(report, render(found, sources, title))
    return found


def _sources(
    data: Sequence[str],
    images: Sequence[str] | None,
    masks: Sequence[str] | None,
    labels: Any,
    options: dict[str, Any] | None,
    choices: Choices | None,
    notes: list[str],
) -> list[Source]:
    from ..data_checks.coco import CocoSplit
    from ..data_checks.image_masks import ImageMasks
    from ..data_checks.run import recognise
    from ..errors import UserError

    if packed := next((p for p in data if p.startswith('packed://') or p.endswith('.lmdb')), ''):
        raise UserError(f'{packed} is packed: check the folder that was packed, before or after')
    if len(data) == 1 and not Path(data[0]).is_dir() and not data[0].endswith('.json'):
        if not data[0].endswith('.py'):
            what = 'is no folder' if Path(data[0]).exists() else 'is not there'
            raise UserError(
                f'{data[0]} {what}: give a folder with the (unpacked) data, a config, or COCO JSON'
            )
        from ..runs.data import sources_of

        return sources_of(data[0], options)
    if options:
        raise UserError('--cfg-options goes with a config file')
    if masks:
        pairs = _pairs(data, masks, '--masks')
        return [ImageMasks(image, mask, Path(image).name, labels) for image, mask in pairs]
    if all(path.endswith('.json') for path in data):
        pairs = _pairs(data, images or (), '--images')
        return [
            CocoSplit(file, folder, Path(file).stem.removeprefix('instances_'))
            for file, folder in pairs
        ]
    return [source for folder in data for source in recognise(folder, labels, choices, notes)]


def _pairs(data: Sequence[str], folders: Sequence[str], option: str) -> list[tuple[str, str]]:
    from ..errors import UserError

    if len(data) != len(folders):
        raise UserError(f'{option} takes one folder for each of {", ".join(data)}')
    return list(zip(data, folders, strict=True))


def _run(out: str | None, fix_list: str | None, examples: int, **args: Any) -> None:
    from ..progress import Bars

    choices = take_choices(args)
    with Bars(sys.stderr, every=5) as bars:
        report = check_data(progress=bars.counter('checked', 'files'), choices=choices, **args)
    print(report.text(examples))
    if out:
        Path(out).write_text(json.dumps(report.plain(), indent=2) + '\n')
    if fix_list:
        Path(fix_list).write_text(report.fix_list())
    if report.harmful:
        sys.exit(1)


def main() -> None:
    """Entry point of ``tools/check_data.py``."""
    run_command(_run, parser().parse_args())
