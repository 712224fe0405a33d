"""A machine in a few minutes: every part is bounded, and one that fails takes nothing away."""

from __future__ import annotations

import json
import sys

import pytest

from benchmarks.speed import plan
from benchmarks.speed.plan import Part, lines_of, run, short_plan


def script(text: str, **part: object) -> Part:
    return Part('part', command=(sys.executable, '-c', text), needs=(), **part)


def test_the_file_is_written_after_every_part(tmp_path):
    out = tmp_path / 'plan.json'
    seen = f'import json; print(len(json.load(open({str(out)!r}))["parts"]))'
    parts = [
        script('print("{}")'), script(seen), script('import sys; sys.exit("no luck")'),
        script('import time; print("began", flush=True); time.sleep(60)', seconds=1),
        Part('other', command=('false',), needs=('no_such_package',)), script('print("ok")'),
    ]  # fmt: skip
    run(parts, 'cpu', 'toy', 5, out)
    outcomes = json.loads(out.read_text())['parts']
    assert [o['status'] for o in outcomes] == [
        'done', 'done', 'failed', 'timed out', 'skipped', 'done',
    ]  # fmt: skip
    assert outcomes[1]['result'] == ['1']
    assert 'no luck' in outcomes[2]['said'] and 'no_such_package' in outcomes[4]['why']
    assert all(len(lines_of(outcome)) == 1 for outcome in outcomes)


def test_what_does_not_fit_into_the_time_is_left_out():
    content = run([script('print(1)')], 'cpu', 'toy', 0.1)
    assert [o['status'] for o in content['parts']] == ['skipped']


@pytest.mark.parametrize('device', ['cpu', 'cuda'])
def test_the_bounds_fit_into_the_time_and_the_first_parts_are_the_valuable_ones(device):
    parts = short_plan(device, 'full')
    assert [part.name for part in parts[:2]] == ['bare device', 'step generic_vits']
    assert 'gpu tests' in [part.name for part in parts[:6]]
    assert sum(part.seconds for part in parts[:7]) <= 12 * 60
    assert ('--compile' in parts[1].arguments) == (device == 'cuda')


def test_a_part_of_the_benchmark_brings_its_figures(tmp_path):
    part = next(p for p in short_plan('cpu', 'toy') if p.name == 'step cls_vits')
    content = run([part], 'cpu', 'toy', 5)
    (outcome,) = content['parts']
    assert outcome['status'] == 'done', outcome
    assert {figure['variant'] for figure in outcome['result']['figures']} == {
        'float32', 'bfloat16',
    }  # fmt: skip
    assert len(lines_of(outcome)) == 3


@pytest.mark.parametrize(
    ('arguments', 'word'),
    [
        (['--minutes', '0'], '--minutes'),
        (['--tests', 'nowhere.py', '--device', 'cpu'], 'nowhere.py'),
        (['--device', 'cuda'], '--device cuda'),
    ],
)
def test_what_cannot_be_planned_is_refused(arguments, word, capsys, monkeypatch):
    monkeypatch.setattr(plan, '_sees_gpu', lambda: False)
    assert plan.main(['--plan', 'short', *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith('error: ') and word in line


def test_the_bare_device_needs_torch_alone():
    part = short_plan('cpu', 'toy')[0]
    (outcome,) = run([part], 'cpu', 'toy', 5)['parts']
    assert outcome['result']['products_per_second']['float32'] > 0
