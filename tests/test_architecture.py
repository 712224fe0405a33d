"""The house as docs/architecture.md draws it: what imports what."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import g2sd_mm

ROOT = Path(g2sd_mm.__file__).parent
#: Rooms that the page says import something above them.
UPWARDS = {('distill', 'bench'), ('runs', 'probe')}


def _listed() -> list[str]:
    """Rooms from the top of the list down."""
    page = (ROOT.parent / 'docs' / 'architecture.md').read_text()
    listed = page.partition('g2sd_mm/\n')[2].partition('\nbenchmarks/')[0]
    return [room for line in re.findall(r'^  (\w+/(?: \w+/)?) ', listed, re.M)
            for room in line.replace('/', '').split()]  # fmt: skip


def _arrows() -> set[tuple[str, str]]:
    """(room or loose module, what it imports), with imports inside of functions.

    The package's own face, ``__init__.py``, is a loose module too.
    """
    arrows = set()
    for file in ROOT.rglob('*.py'):
        inside = file.relative_to(ROOT).with_suffix('').parts
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level:
                above = inside[: len(inside) - node.level]
                module = [*above, *(node.module or '').split('.')] if node.module else [*above]
                names = [module] if module else [[_file_of(alias.name)] for alias in node.names]
            elif isinstance(node, ast.Import):
                names = [a.name.split('.')[1:] for a in node.names if a.name.startswith('g2sd_mm')]
            else:
                continue
            arrows |= {(inside[0], (name or ['__init__'])[0]) for name in names}
    return {(start, end) for start, end in arrows if start != end}


def _file_of(name: str) -> str:
    there = (ROOT / name).is_dir() or (ROOT / f'{name}.py').is_file()
    return name if there else '__init__'


def test_the_page_lists_every_room():
    assert sorted(_listed()) == sorted(file.parent.name for file in ROOT.glob('*/__init__.py'))


def test_rooms_import_what_is_below_them():
    rooms = _listed()
    up = {(start, end) for start, end in _arrows() if start in rooms and end in rooms
          and rooms.index(end) < rooms.index(start)}  # fmt: skip
    assert up == UPWARDS


def test_there_is_no_circle_besides():
    graph: dict[str, set[str]] = {}
    for start, end in _arrows() - UPWARDS:
        graph.setdefault(start, set()).add(end)
    assert len(list(TopologicalSorter(graph).static_order())) >= len(_listed())  # no CycleError


@pytest.mark.parametrize('room', ['compat', 'tasks'])
def test_the_lowest_rooms_import_no_other(room):
    assert not {end for start, end in _arrows() if start == room} & set(_listed())
