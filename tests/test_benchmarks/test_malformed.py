"""Malformed inputs end in one line, and never in a hang, a crash, or a file elsewhere."""

from __future__ import annotations

import ctypes
import os
import time
from functools import partial
from pathlib import Path

import pytest

from g2sd_mm.errors import UserError

pytest.importorskip('hypothesis')

from benchmarks.malformed import annotations, checkpoints, images, suite
from benchmarks.malformed.case import Case
from benchmarks.malformed.mutations import mutated
from benchmarks.malformed.sandbox import run_case, run_cases


@pytest.fixture(scope='module', autouse=True)
def prepared():
    suite.prepare()


def bad(cases: list[Case]) -> list[str]:
    outcomes = run_cases(cases)
    return [f'{o.verdict}: {case}\n{o.said}' for case, o in outcomes if not o.good]


def test_some_malformed_inputs_of_every_kind():
    cases = suite.quick_cases()
    assert len({case.kind for case in cases}) == 8
    assert bad(cases) == []


@pytest.mark.slow
def test_all_malformed_inputs():
    cases = suite.all_cases()
    assert len(cases) >= 300
    assert bad(cases) == []


def test_the_good_inputs_that_they_are_made_of_are_accepted(tmp_path):
    import json

    good = [
        *(partial(images._read_image, name, c) for name, c in images._FORMATS.items()),
        partial(images._read_mask, images._mask('L')),
        *(
            partial(annotations.read, json.dumps(annotations.content(p)).encode(), p)
            for p in (True, False)
        ),
        *(partial(checkpoints._use, name, c) for name, c in checkpoints._formats().items()),
        partial(checkpoints._read_student, checkpoints._student_files()),
    ]
    cases = [Case('good', str(run), run) for run in good]
    assert [(str(c), o) for c, o in run_cases(cases) if o.verdict != 'accepted'] == []


def test_no_crafted_file_has_run_code():
    assert not Path('/tmp/malformed-was-here').exists()


# The harness sees what it is there to see ---------------------------------------------------------


def outcome(run, folder: Path, **options) -> str:
    return run_case(Case('self-test', 'x', run), folder, **options).verdict


def _refuse(work: Path) -> None:
    raise UserError('a line')


def _write_outside(work: Path) -> None:
    (work / '..' / '..' / 'outside.txt').write_text('x')


def _leave_a_temporary_file(work: Path) -> None:
    Path(os.environ['TMPDIR'], 'left').write_text('x')


def _print_and_refuse(work: Path) -> None:
    print('error: one', file=__import__('sys').stderr)
    raise UserError('two')


def _take_memory(work: Path) -> None:
    bytearray(40 << 30)


@pytest.mark.parametrize(
    ('run', 'verdict'),
    [
        (lambda work: None, 'accepted'),
        (lambda work: (work / 'inside.txt').write_text('x'), 'accepted'),
        (_refuse, 'refused'),
        (lambda work: 1 / 0, 'traceback'),
        (_take_memory, 'traceback'),
        (_print_and_refuse, 'several lines'),
        (_write_outside, 'wrote elsewhere'),
        (_leave_a_temporary_file, 'wrote elsewhere'),
        (lambda work: os.system('true'), 'wrote elsewhere'),
        (lambda work: ctypes.string_at(0), 'crash'),
    ],
)
def test_what_becomes_of_a_case(tmp_path, run, verdict):
    (tmp_path / 'root').mkdir()
    assert outcome(run, tmp_path / 'root') == verdict


def test_a_hang_is_ended(tmp_path):
    started = time.monotonic()
    assert outcome(lambda work: time.sleep(60), tmp_path, seconds=1) == 'hang'
    assert time.monotonic() - started < 20


def test_the_fuzzer_is_the_same_every_time():
    content = bytes(range(256)) * 4
    first, second = (list(mutated(content, 30)) for _ in range(2))
    assert first == second
    assert len({damaged for _, damaged in first}) == 30
    assert all(damaged != content for _, damaged in first)
