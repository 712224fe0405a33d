"""Blocks of the documentation that are run: found in Markdown, written or run in a folder.

A comment on the line before a fenced block says what it is for::

    <!-- runnable -->          bash or python, run after the blocks before it, in the same folder
    <!-- runnable: slow -->    the same; makes the page a slow test
    <!-- file: my/data.py -->  written to that file
    <!-- output -->            lines that the block before it printed; numbers may differ
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from .toys import ROOT

_BLOCK = re.compile(
    r'^<!-- (?P<role>runnable|file|output)(?:: (?P<argument>\S+))? -->\n'
    r'```(?P<language>\w*)\n(?P<text>.*?)^```$',
    re.DOTALL | re.MULTILINE,
)
_MARK = re.compile(r'^<!-- (?:runnable|file|output)', re.MULTILINE)
_NUMBER = re.compile(r'[-+]?\d[\d.,]*(?:e[-+]?\d+)?')
_INTERPRETERS = {'bash': ('bash', '-euo', 'pipefail', '-c'), 'python': (sys.executable, '-c')}


@dataclass(frozen=True)
class Block:
    """A marked block: its role, what the mark says after the colon, language, and text."""

    role: str
    argument: str
    language: str
    text: str


def blocks_of(page: str) -> list[Block]:
    """The marked blocks of a page, in order.

    Raises:
        ValueError: for a mark that no block follows, or a language that cannot be run.
    """
    found = [
        Block(m['role'], m['argument'] or '', m['language'], m['text'])
        for m in _BLOCK.finditer(page)
    ]
    if len(found) != len(_MARK.findall(page)):
        raise ValueError('a mark stands before something that is no fenced block')
    for block in found:
        if block.role == 'runnable' and block.language not in _INTERPRETERS:
            raise ValueError(f'a block of {block.language!r} is marked runnable')
    return found


def is_slow(blocks: list[Block]) -> bool:
    """Whether a page takes more than a few seconds."""
    return any(block.role == 'runnable' and block.argument == 'slow' for block in blocks)


def new_folder(folder: Path) -> Path:
    """What a reader has who types along: the checkout's configs and tools, and no data."""
    for name in ('configs', 'tools'):
        shutil.copytree(ROOT / name, folder / name)
    return folder


def run_blocks(blocks: list[Block], folder: Path, timeout: float = 600) -> None:
    """Write and run the blocks, one after the other, on one thread.

    Raises:
        AssertionError: if one ends with another exit code than 0, or did not print its output.
    """
    printed = ''
    for block in blocks:
        if block.role == 'file':
            path = folder / block.argument
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
        elif block.role == 'output':
            check_output(block.text, printed)
        else:
            printed = _run(block, folder, timeout)


def check_output(shown: str, printed: str) -> None:
    """Every line that a page shows was printed; numbers may differ, ``...`` stands for anything."""
    lines = {_plain(line) for line in printed.splitlines()}
    for line in shown.splitlines():
        if line.strip() not in ('', '...'):
            assert _plain(line) in lines, f'not printed: {line!r}\nprinted:\n{printed}'


def _plain(line: str) -> str:
    return _NUMBER.sub('#', ' '.join(line.split()))


def _run(block: Block, folder: Path, timeout: float) -> str:
    paths = [str(ROOT), os.environ.get('PYTHONPATH', '')]
    done = subprocess.run(
        [*_INTERPRETERS[block.language], block.text],
        cwd=folder,
        env={
            **os.environ,
            'PATH': f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}',
            'PYTHONPATH': os.pathsep.join(filter(None, paths)),
            'OMP_NUM_THREADS': '1',
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == 0, f'{block.text}\nended with {done.returncode}:\n{done.stdout}'
    return done.stdout
