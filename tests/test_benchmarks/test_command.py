"""Options of the benchmark."""

from __future__ import annotations

import json

import pytest
import torch

from benchmarks.speed import command as benchmark
from benchmarks.speed import report, suite, throughput
from benchmarks.speed.command import PARTS, _training, parser, settings, suite_settings
from benchmarks.speed.figures import Reading
from benchmarks.speed.formulation import Variant
from benchmarks.speed.stages import STAGES
from g2sd_mm import progress
from g2sd_mm.errors import RunError, UserError

from ..helpers.toys import ROOT, run_python, words


def chosen(*arguments: str):
    return settings(parser().parse_args([*arguments]))


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)


def test_by_default_steps_and_memory_of_all_stages():
    plain = chosen()
    assert plain.stages == tuple(STAGES)
    assert plain.parts == ('step', 'memory')
    assert plain.variants == (Variant('float32'), Variant('bfloat16'))
    assert (plain.device, plain.pairs, plain.batch, plain.workers) == ('cpu', 5, None, 0)


def test_everything_on_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    everything = chosen('--parts', 'all', '--compile')
    assert everything.parts == PARTS
    assert (everything.device, everything.workers) == ('cuda', 8)
    assert [variant.compiled for variant in everything.variants] == [False, False, True, True]


def test_quick_is_small_and_can_be_changed():
    quick = chosen('--quick', '--dtype', 'float32')
    assert quick.stages == ('generic_vits', 'cls_vits', 'det_vits', 'seg_vits')
    assert (quick.parts, quick.batch, quick.pairs) == (('step',), None, 2)
    assert quick.variants == (Variant('float32'),)
    small = {name: quick.stage(name) for name in quick.stages}
    assert [quick.batch_of(stage) for stage in small.values()] == [4, 4, 1, 2]
    assert (small['det_vits'].side, small['seg_vits'].side) == (224, 128)
    two = chosen('--quick', '--stages', 'det_vits', '--batch', '2')
    assert two.batch_of(small['det_vits']) == 2
    halves = chosen('--quick', '--parts', 'step', 'teacher', 'student')
    assert halves.stage('det_vits') == small['det_vits']
    # memory is measured by the names of stages, and beside it their steps at full size
    both = chosen('--quick', '--parts', 'step', 'memory')
    assert both.stage('det_vits') is STAGES['det_vits']


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--device', 'cuda'], words('needs a GPU', '--device cpu')),
        (['--pairs', '0'], '--pairs 0: at least 1'),
        (['--batch', '0', '--stages', 'cls_vits'], '--batch 0: at least 1'),
        (['--workers', '-1'], '--workers -1: at least 0'),
        (['--images', '/no/images', '--stages', 'cls_vits'], '--images /no/images: no such folder'),
        (['--images', '/'], words('--images is for stage 1', '--stages generic_vits')),
        (['--batch', '1', '--stages', 'seg_vits'], words('batch norm', '2 or more')),
    ],
)
def test_what_cannot_be_measured_is_refused(options, message):
    with pytest.raises(UserError, match=message):
        chosen(*options)


@pytest.mark.slow
def test_the_command_prints_a_table_and_writes_json(tmp_path):
    done = run_python(
        str(ROOT / 'tools/benchmark.py'), '--stages', 'generic_vits', '--size', 'toy', '--pairs',
        '1', '--batch', '2', '--compile', '--dtype', 'float32', '--threads', '1', '--out',
        str(tmp_path / 'speed.json'),
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split()[:3] == ['stage', 'part', 'variant']
    assert sum(text.startswith('generic_vits') for text in lines) == 2 + 1
    assert any(text.startswith('peak of matrix products: float32') for text in lines)
    assert '"generic_vits"' in (tmp_path / 'speed.json').read_text()


def test_figures_come_one_by_one_with_how_much_is_left(monkeypatch, capsys):
    def measure(chosen, say):
        for stage in chosen.stages:
            say(Reading(stage, 0, 50.0))
        return {'environment': {'threads': 1, 'shared_with_other_work': False}, 'peaks': {}}

    monkeypatch.setattr(suite, 'measure', measure)
    monkeypatch.setattr(report, 'plain', lambda measured: measured)
    clock = iter(range(99)).__next__
    monkeypatch.setattr(progress.Bars.__init__, '__defaults__', (None, 0.0, clock))
    _training(chosen('--stages', 'generic_vits', 'cls_vits', '--parts', 'input', 'step'))
    told = capsys.readouterr().out.splitlines()
    assert told[1].startswith('generic_vits') and told[3].startswith('cls_vits')
    assert told[2].startswith('measured: 1/4 parts, ') and told[2].endswith('s left')
    assert told[4].startswith('measured: 2/4 parts, ')


# The throughput of a suite ------------------------------------------------------------------------


def of_suite(*arguments: str) -> None:
    benchmark._run(parser().parse_args(['--suite', 'paper', '--size', 'toy', *arguments]))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--suite', 'paper', '--stages', 'cls_vits'], '--stages is not for --suite'),
        (['--suite', 'paper', '--with', 'recompute'], '--with is not for --suite'),
        (['--suite', 'paper', '--compile'], '--compile is not for --suite'),
        (['--suite', 'paper', '--tables', 'masks'], words('--tables masks', 'mask, robustness')),
        (['--suite', 'paper', '--pairs', '0'], '--pairs 0: at least 1'),
        (['--suite', 'paper', '--device', 'cuda'], words('needs a GPU', '--device cpu')),
        (['--tables', 'mask'], words('--tables chooses rows', '--suite paper')),
    ],
)
def test_what_a_suite_has_not_is_refused(options, message):
    with pytest.raises(UserError, match=message):
        benchmark._run(parser().parse_args(options))


def test_a_suite_is_measured_as_it_is_trained_if_nothing_else_is_said():
    plain = suite_settings(parser().parse_args(['--suite', 'paper']))
    assert plain == throughput.Settings('full', 'cpu', None, 5, None)


def test_a_part_of_a_suite_is_printed_and_written(tmp_path, capsys):
    place = tmp_path / 'new' / 'speed.json'
    of_suite('--tables', 'length', '--batch', '2', '--pairs', '1', '--out', str(place))
    content = json.loads(place.read_text())
    named = [figure['steps'][0] for figure in content['figures']]
    assert named == ['vitb_mae', 'g2sd_vits_generic', 'g2sd_vits_cls_nosd']
    assert (content['suite'], content['size'], content['failed']) == ('paper', 'toy', [])
    told = capsys.readouterr().out.splitlines()
    assert told[0].split()[:2] == ['first', 'step']
    assert [word for line in told for word in line.split()[:1] if word in named] == named


def test_what_failed_is_in_the_file_and_in_the_last_line(tmp_path, monkeypatch, capsys):
    def time(stage, *_):
        if stage.task == 'cls':
            raise MemoryError('too little')
        return throughput.Timing((1.0,))

    monkeypatch.setattr(throughput, '_time', time)
    place = tmp_path / 'speed.json'
    with pytest.raises(RunError, match=words('1 of 3 workloads', 'g2sd_vits_cls_nosd: too little')):
        of_suite('--tables', 'length', '--out', str(place))
    content = json.loads(place.read_text())
    assert [one['steps'][0] for one in content['failed']] == ['g2sd_vits_cls_nosd']
    assert len(content['figures']) == 2
    assert 'too little' in capsys.readouterr().out
