"""A tool that kills its whole group of processes at a given moment: ``killing.py MOMENT TOOL ...``.

``step:N``: before training step N, from 1, is over. ``write:ENDING``: before a file whose path ends
so gets its name.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
from typing import Any


def main() -> None:
    moment, _, what = sys.argv[1].partition(':')
    {'step': at_step, 'write': before_writing}[moment](what)
    sys.argv = sys.argv[2:]
    runpy.run_path(sys.argv[0], run_name='__main__')


def kill_all() -> None:
    os.killpg(0, signal.SIGKILL)


def at_step(number: str) -> None:
    from mmengine.model import BaseModel

    import g2sd_mm  # noqa: F401 (prepares the libraries)

    parse, steps = BaseModel.parse_losses, 0

    def parsing(model: BaseModel, losses: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps == int(number):
            kill_all()
        return parse(model, losses)

    BaseModel.parse_losses = parsing


def before_writing(ending: str) -> None:
    replace = os.replace

    def replacing(source: Any, target: Any, **options: Any) -> None:
        if str(target).endswith(ending):
            kill_all()
        replace(source, target, **options)

    os.replace = replacing


if __name__ == '__main__':
    main()
