"""Size and latency of a student and its teacher; which network that is."""

from __future__ import annotations

import json

import pytest

from g2sd_mm.cli.export import export
from g2sd_mm.export import benchmark, export_student
from g2sd_mm.provenance import file_digest
from g2sd_mm.students import load_student

from ..helpers.students import student_folder
from ..helpers.toys import refused

WIDE = {
    'model.backbone.arch': dict(_delete_=True, embed_dim=128, depth=4, num_heads=4, patch_size=8),
    'model.head.in_channels': 128,
}


@pytest.fixture
def runs(tmp_path):
    """Folders of a student and of its teacher, which the student's record names."""
    teacher = student_folder(tmp_path / 'teacher', **WIDE)
    student = student_folder(tmp_path / 'student')
    weights = teacher / 'weights.pth'
    name_teacher(student, file=str(weights), sha256=file_digest(weights))
    return student, teacher


def name_teacher(student, **known):
    sidecar = student / 'weights.json'
    record = json.loads(sidecar.read_text())
    record['origin']['teacher'] = known or None
    sidecar.write_text(json.dumps(record))


def test_four_files_are_measured_and_written_down(runs, capsys):
    student, _ = runs
    (file,) = export(str(student), benchmark=True)
    assert sorted(path.name for path in student.glob('*.onnx')) == ['weights.onnx']
    measured = json.loads((student / 'weights.onnx.json').read_text())['benchmark']
    sizes = {(one['network'], one['precision']): one['megabytes'] for one in measured}
    assert list(sizes) == [
        ('teacher', 'float32'), ('teacher', 'int8'), ('student', 'float32'), ('student', 'int8'),
    ]  # fmt: skip
    assert sizes['student', 'float32'] == pytest.approx(file.stat().st_size / 1e6, abs=1e-3)
    assert sizes['teacher', 'float32'] > 2.5 * sizes['student', 'float32']
    assert sizes['teacher', 'int8'] < 0.5 * sizes['teacher', 'float32']
    assert all(0 < one['milliseconds'] < 1000 for one in measured)
    said = capsys.readouterr().out
    assert 'one image of 56x56 px on one thread' in said
    assert said.count(' MB ') == 4


def test_times_are_medians_of_runs_in_turn(runs, monkeypatch):
    """Of a clock by which every call takes its own time."""
    student, _ = runs
    done = export_student(load_student(student), student / 'x.onnx')
    calls: list[str] = []
    now = iter(range(10_000))

    def runner(path, threads):
        assert threads == 1
        return lambda *inputs: calls.append(path.name)

    monkeypatch.setattr(benchmark, 'onnx_runner', runner)
    monkeypatch.setattr(benchmark.time, 'perf_counter', lambda: next(now) / 1000)
    measured = benchmark.benchmark({'student': done})
    assert calls == ['x.onnx', 'student_int8.onnx'] * (benchmark.WARM_UP + benchmark.ROUNDS)
    assert [one.milliseconds for one in measured] == [1, 1]


@pytest.mark.parametrize(
    ('known', 'reason'),
    [
        ({}, 'names no teacher'),
        (dict(file='no/such.pth'), 'no/such.pth is not there'),
        (dict(sha256='0' * 64), 'is not the file that taught it'),
    ],
)
def test_why_there_is_no_teacher(runs, known, reason):
    student, teacher = runs
    if known:
        known = {'file': str(teacher / 'weights.pth'), **known}
    name_teacher(student, **known)
    found, note = benchmark.teacher_of(load_student(student))
    assert found is None and reason in note and '--teacher RUN' in note
    found, note = benchmark.teacher_of(load_student(student), str(teacher))
    assert found.model.backbone.embed_dim == 128 and not note


def test_what_does_not_go_together_is_refused(runs, tmp_path):
    student, teacher = map(str, runs)
    with refused('--benchmark is about ONNX files', '--to torchscript'):
        export(student, to='torchscript', benchmark=True)
    with refused('--teacher is of --benchmark'):
        export(student, teacher=teacher)
    other = student_folder(tmp_path / 'other', 'depth')
    with refused('is of depth, the student classification'):
        benchmark.teacher_of(load_student(student), str(other))
