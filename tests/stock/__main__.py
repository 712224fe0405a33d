"""Run the whole matrix and write ``docs/compatibility.md``: some five minutes on one core.

``python -m tests.stock WORD ...`` runs the rows with one of the words in their names.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import torch

import g2sd_mm

from . import data, matrix


def main() -> None:
    torch.set_num_threads(1)
    g2sd_mm.register_all()
    with tempfile.TemporaryDirectory() as folder:
        matrix.write_all(data.write_data(Path(folder) / 'data'), sys.argv[1:])


if __name__ == '__main__':
    main()
