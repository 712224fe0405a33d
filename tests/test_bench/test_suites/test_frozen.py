"""Rows of frozen features: ``tools/probe.py`` measures what a run without a head has learnt."""

import json
import shlex
from dataclasses import replace

from g2sd_mm.bench.suites import launch
from g2sd_mm.bench.suites.catalogue import MINI
from g2sd_mm.bench.suites.commands import HERE, evaluation_command, evaluation_file
from g2sd_mm.bench.suites.digests import row_digests
from g2sd_mm.cli.probe import parser

ROWS = [row for row in MINI.rows if row.probe]


def test_the_table_is_run_on_request():
    assert {row.step for row in ROWS} == {'vitb_mae', 'vits_mae', 'g2sd_vits_generic'}
    assert MINI.select(table=['probe']) == ROWS
    assert not [row for row in MINI.usual_rows if row.probe]
    assert not [row for row in MINI.on_own_test_data().rows if row.probe]


def test_the_command_names_weights_images_and_options(tmp_path):
    row = ROWS[0]
    words = shlex.split(evaluation_command(MINI.step(row.step), row, tmp_path, HERE))
    assert words[1].endswith('probe.py') and words[2] == str(tmp_path / 'vitb_mae' / 'weights.pth')
    assert words[words.index('--data') + 1] == 'configs/mini/vits_scratch_cls.py'
    assert words[words.index('--out') + 1] == str(evaluation_file(row, tmp_path))
    tested = replace(row, probe=())
    assert evaluation_file(tested, tmp_path) != evaluation_file(row, tmp_path)


def test_other_options_are_another_row():
    row, digests = ROWS[0], {(0, ROWS[0].step): 'run'}
    other = replace(row, probe=(*row.probe, '--centred'))
    suite = replace(MINI, rows=(row, other))
    found = row_digests(suite, digests)
    assert found[0, row] != found[0, other]


def test_the_figures_of_a_probe_are_those_of_the_row(tmp_path, monkeypatch):
    row = ROWS[1]
    (tmp_path / row.step).mkdir()
    (tmp_path / row.step / 'weights.pth').write_bytes(b'')

    def run(command, log, **room):
        metrics = {'knn/top1': 61.5, 'knn/temperature': 0.07, 'linear/top1': 70.25}
        evaluation_file(row, tmp_path).write_text(json.dumps({'metrics': metrics}))

    monkeypatch.setattr(launch, 'run_shell', run)
    found = launch.launch_test(MINI.step(row.step), row, tmp_path, HERE)
    assert found == {'metrics': {'knn_top1': 61.5, 'linear_top1': 70.25}}
    assert row.judged_by in found['metrics']


def test_the_options_are_those_of_the_tool():
    args = parser().parse_args(['weights.pth', '--data', ROWS[0].data, *ROWS[0].probe])
    assert (args.probes, args.token, args.size) == (['knn', 'linear'], 'mean', 56)
