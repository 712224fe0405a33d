"""Options of the benchmark."""

from __future__ import annotations

import pytest
import torch

from g2sd_mm import progress
from g2sd_mm.benchmark import report, suite
from g2sd_mm.benchmark.figures import Reading
from g2sd_mm.benchmark.formulation import Variant
from g2sd_mm.benchmark.stages import STAGES
from g2sd_mm.cli.benchmark import PARTS, _training, parser, settings
from g2sd_mm.errors import UserError

from ..toys import ROOT, run_python, words


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
    assert quick.stages == ('generic_vits', 'cls_vits')
    assert (quick.parts, quick.batch, quick.pairs) == (('step',), 4, 3)
    assert quick.variants == (Variant('float32'),)
    assert chosen('--quick', '--stages', 'det_vits', '--batch', '1').stages == ('det_vits',)


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
