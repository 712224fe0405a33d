"""Folders of many names, indexed in a process of their own."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from benchmarks import growth
from g2sd_mm.errors import UserError

from ..helpers.toys import ROOT, run_tool


def forked(command: list[str], **_: object):
    """The benchmark's own process, from this one."""
    return run_tool(str(ROOT / 'benchmarks' / 'growth.py'), *command[3:])


def test_links_take_no_room_and_every_class_has_its_share(tmp_path, monkeypatch):
    monkeypatch.setattr(growth, '_LINKS', 4)  # then another file
    growth.make_links(tmp_path / 'images', 10, 3)
    files = sorted((tmp_path / 'images').rglob('*.jpg'))
    assert [len(list(d.iterdir())) for d in sorted((tmp_path / 'images').iterdir())] == [4, 3, 3]
    assert len({file.stat().st_ino for file in files}) == 3


def test_a_size_is_measured_and_written(tmp_path, monkeypatch):
    monkeypatch.setattr(growth, 'SIZES', ((40, 4), (80, 4)))
    monkeypatch.setattr(growth, 'CLASSES', ())
    monkeypatch.setattr(growth, 'subprocess', SimpleNamespace(run=forked))
    out = tmp_path / 'growth.json'
    growth.run(growth.parser().parse_args(['--most', '60', '--out', str(out)]))
    (figure,) = json.loads(out.read_text())['figures']
    assert (figure['images'], figure['classes']) == (40, 4)
    assert figure['seconds'] > 0


def test_what_grows_faster_than_linearly_is_said():
    figures = [{'images': n, 'bytes': b} for n, b in ((10, 100), (100, 900), (1000, 30_000))]
    (line,) = growth.grows_faster(figures, 'bytes')
    assert '100 to 1000' in line


def test_too_few_images_are_refused():
    with pytest.raises(UserError, match='--most 5'):
        growth.run(growth.parser().parse_args(['--most', '5']))
