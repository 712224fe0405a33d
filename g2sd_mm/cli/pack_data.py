"""``tools/pack_data.py``: many small files into one."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .exit_codes import run_command
from .options import command_parser

EXAMPLES = """The folder may have any layout: images in class folders, COCO with its annotations,
ADE20K with its masks. Files are stored unchanged, so training does not change. A data set reads
them if its folder is given as packed://FILE. Needs pip install "g2sd_mm[packed]".

examples:
  python tools/pack_data.py data/imagenet/train data/imagenet_train.lmdb
  python tools/train.py configs/imagenet/g2sd_vits_generic.py --cfg-options \\
      train_dataloader.dataset.dataset.data_root=packed://data/imagenet_train.lmdb

  python tools/pack_data.py data/coco data/coco.lmdb
  python tools/train.py configs/coco/g2sd_vits_maskrcnn.py --cfg-options \\
      train_dataloader.dataset.dataset.data_root=packed://data/coco.lmdb
"""


def parser() -> argparse.ArgumentParser:
    """The command line of ``pack_data``."""
    p = command_parser(
        'Write all files of a folder into one LMDB file, for disks that are slow at '
        'opening many small files.',
        EXAMPLES,
    )
    p.add_argument('folder', type=Path, help='folder to pack')
    p.add_argument('file', type=Path, help='file to write, ending in .lmdb')
    return p


def _run(folder: Path, file: Path) -> None:
    from ..datasets.packed import pack_folder
    from ..progress import Bars

    with Bars(sys.stderr, every=5) as bars:
        number = pack_folder(folder, file, bars.counter('packed', 'files'))
    print(f'{file}: {number} files, {file.stat().st_size / 1e6:.1f} MB')
    print(f'read it as data_root=packed://{file}')


def main() -> None:
    """Entry point of ``tools/pack_data.py``."""
    run_command(_run, parser().parse_args())
