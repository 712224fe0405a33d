"""``tools/probe.py``: what the frozen features of a network are worth."""

from __future__ import annotations

import argparse
from typing import Any

from .exit_codes import run_command
from .options import add_options, command_parser

EXAMPLES = """examples:
  python tools/probe.py work_dirs/g2sd_vits_generic/weights.pth --data data/imagenet
  python tools/probe.py dinov2.safetensors --timm vit_small_patch14_dinov2 --data data/mine \\
      --size 112 --block 8
  python tools/probe.py dinov2-small/ --data data/mine --probes knn retrieval --out dinov2.json
  python tools/probe.py work_dirs/vitb_cls --data configs/ade20k/g2sd_vits_upernet_nosd.py
"""


def parser() -> argparse.ArgumentParser:
    """The command line of ``probe``."""
    p = command_parser(
        'k-nearest neighbours, a linear layer, a few images a class and retrieval on '
        'frozen features; on images with masks a linear layer for every patch.',
        EXAMPLES,
    )
    p.add_argument(
        'weights',
        help="weights file, run's folder, folder of Hugging Face, or 'pretrained' with --timm",
    )
    p.add_argument(
        '--data', required=True,
        help='folder with train and val (class folders, or images and annotations), or a config',
    )  # fmt: skip
    p.add_argument('--timm', metavar='MODEL', help="name of timm's model that the weights are of")
    p.add_argument('--config', help='config of the network, where nothing beside it says which')
    p.add_argument(
        '--probes', action='extend', nargs='+',
        help='some of knn, linear, few-shot, retrieval, dense',
    )  # fmt: skip
    p.add_argument(
        '--block', type=_block, default=-1, help='whose output, from 0; the last by default'
    )
    p.add_argument(
        '--norm', action=argparse.BooleanOptionalAction, default=None,
        help='final norm behind the block (behind the last one alone by default)',
    )  # fmt: skip
    p.add_argument('--heads', type=int, help='of attention, for a bare file of an unusual width')
    p.add_argument('--token', choices=('cls', 'mean', 'both'), help='class token, mean of patches')
    p.add_argument('--size', type=int, help='side of the images in pixels (224)')
    p.add_argument(
        '--crop-share', type=float, default=0.875, help='middle part that is taken (0.875)'
    )
    p.add_argument('-k', type=int, default=20, help='neighbours (20)')
    p.add_argument('--temperature', type=float, default=0.07, help='of their votes (0.07)')
    p.add_argument(
        '--centred', nargs='?', const='train', choices=('train', 'each'),
        help='take the mean of the training features off, or of each split its own',
    )  # fmt: skip
    p.add_argument('--train-images', type=int, metavar='N', help='the first N of each class')
    p.add_argument('--val-images', type=int, metavar='N', help='the first N of each class')
    p.add_argument('--cache', default='work_dirs/features', help='folder of features')
    p.add_argument('--no-cache', dest='cache', action='store_const', const=None)
    p.add_argument('--device', help='cpu, cuda, ... (cuda if available)')
    p.add_argument('--dtype', default='float32', choices=('float32', 'bfloat16', 'float16'))
    p.add_argument('--out', metavar='FILE', help='write the figures to this JSON file')
    add_options(p)
    return p


def _block(text: str) -> int | str:
    """Of networks of Hugging Face and timm it may have a name."""
    return int(text) if text.lstrip('-').isdecimal() else text


def _run(**args: Any) -> None:
    from ..probe.run import probe, table
    from ..text import printable

    answer = probe(**args)
    for note in answer['network']['notes']:
        print(printable(f'note: {note}'))
    print(printable(table(answer), keep='\n'))


def main() -> None:
    """Entry point of ``tools/probe.py``."""
    run_command(_run, parser().parse_args())
