"""Runs side by side: made by hand and by a suite, whole and in part, and what is no run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mmengine.config import Config

from g2sd_mm.bench.compare import (
    ABSENT,
    differences,
    figures,
    read_config,
    read_runs,
    report,
    text_table,
)
from g2sd_mm.cli.compare import compare
from g2sd_mm.config.flat import flat
from g2sd_mm.distill.config import distill_config

from ..helpers.students import record
from ..helpers.toys import ROOT, refused

CLS = 'shapes/g2sd_vits_cls.py'
METRIC = {'cls': ('accuracy/top1', 1), 'det': ('coco/segm_mAP', 0.01)}


def write_run(
    folder: Path, values=(40.0, 52.0, 50.0), task='cls', lr=1e-3, origin=(), losses=(2.0, 1.5, 1.25)
) -> Path:
    """A folder as training leaves it, after three epochs of eleven iterations, logged every ten."""
    name, factor = METRIC[task]
    logs = folder / '20260101_120000' / 'vis_data'
    logs.mkdir(parents=True)
    cfg = Config.fromfile(ROOT / 'configs' / CLS)
    cfg.optim_wrapper.optimizer.lr = lr
    cfg.work_dir = str(folder)
    cfg.dump(logs / 'config.py')
    with open(logs / 'scalars.json', 'w') as file:
        for epoch, (loss, value) in enumerate(zip(losses, values, strict=True), 1):
            entry = dict(loss=loss, time=0.5, iter=11 * epoch - 1, images_per_second=100 + epoch)
            file.write(json.dumps(entry) + '\n')
            file.write(json.dumps({name: value * factor, 'step': epoch}) + '\n')
    kind = {'cls': 'classification', 'det': 'detection'}[task]
    content = record(kind)
    content['origin'].update({'seed': 3, 'epoch': 3, 'iter': 33, **dict(origin)})
    content.update(format=1, weights=dict(file='weights.pth', parameters=1234567))
    (folder / 'weights.json').write_text(json.dumps(content))
    return folder


@pytest.fixture
def two(tmp_path) -> list[Path]:
    """By hand, and by a suite that evaluated it too."""
    hand = write_run(tmp_path / 'by_hand')
    suite = write_run(
        tmp_path / 'suite' / 'seed3' / 'g2sd_vits_cls', (40.0, 55.0, 55.5), lr=2e-3,
        origin={'teacher': {'file': 'work_dirs/vitb_cls/weights.pth'}},
    )  # fmt: skip
    row = dict(
        task='cls', method='g2sd', seed=3, metrics={'top1': 54.5}, gflops=0.02,
        params_m=1.2, train_seconds=1.0, total_seconds=1.0,
        checkpoint=str(suite / 'weights.pth'), config='configs/shapes/g2sd_vits_cls.py',
    )  # fmt: skip
    other = {**row, 'seed': 4, 'metrics': {'top1': 1.0}}
    results = dict(suite='demo', rows=[other, {**row, 'table': 'labels'}, row])
    (tmp_path / 'suite' / 'results.json').write_text(json.dumps(results))
    return [hand, suite]


def table(runs) -> dict[str, tuple[str, ...]]:
    return {name: tuple(cells) for name, *cells in figures(runs)}


def test_figures(two):
    runs = read_runs(two)
    assert [run.name for run in runs] == ['by_hand', 'g2sd_vits_cls']
    assert table(runs) == {
        'task': ('classification',) * 2,
        'seed': ('3', '3'),
        'commit': (runs[0].record['origin']['commit'],) * 2,
        'epochs': ('3', '3'),
        'iterations': ('33', '33'),
        'top1 (%), last': ('50.00', '55.50 (+5.50)'),
        'top1 (%), best': ('52.00', '55.50 (+3.50)'),
        'top1, results.json': (ABSENT, '54.50'),
        'loss, last': ('1.2500', '1.2500'),
        'parameters': ('1,234,567',) * 2,
        'GFLOPs': (ABSENT, '0.02'),
        'images/s': ('102', '102'),
        'training time': ('0.3 min', '0.3 min'),  # 32 iterations of half a second
        'teacher': (ABSENT, 'work_dirs/vitb_cls/weights.pth'),
    }


def test_other_tasks_have_figures_of_their_own(tmp_path, two):
    detector = write_run(tmp_path / 'det', (10.0, 12.5, 11.0), task='det')
    found = table(read_runs([two[0], detector]))
    assert found['top1 (%), last'] == ('50.00', ABSENT)
    assert found['segm_mAP (%), last'] == (ABSENT, '11.00')
    assert found['task'] == ('classification', 'detection')


def test_a_run_that_counts_iterations_has_no_epochs(tmp_path, two):
    detector = write_run(tmp_path / 'det', task='det', origin={'epoch': 0, 'iter': 1300})
    found = table(read_runs([two[0], detector]))
    assert found['iterations'] == ('33', '1300')  # of which the log has the first 30
    (detector / '20260101_120000' / 'vis_data' / 'scalars.json').unlink()
    found = table(read_runs([two[0], detector]))
    assert (found['epochs'], found['iterations']) == (('3', ABSENT), ('33', '1300'))


def test_a_test_after_training_does_not_stand_for_the_run(two):
    before = [run.config for run in read_runs(two)]
    later = two[0] / '20260102_120000' / 'vis_data'
    later.mkdir(parents=True)
    (later / 'config.py').write_text('train_cfg = None\n')
    assert [run.config for run in read_runs(two)] == before


def test_a_file_of_others_called_results_is_no_suites(tmp_path, two):
    (tmp_path / 'suite' / 'results.json').write_text('{"accuracy": 0.9}')
    found = table(read_runs(two))
    assert found['top1 (%), last'][1] and 'top1, results.json' not in found


def test_differences_of_configs(two):
    runs = read_runs(two)
    assert differences(runs) == [('optim_wrapper.optimizer.lr', '0.001', '0.002')]
    assert differences(runs[:1]) == []


def test_a_run_that_goes_on_has_no_weights_yet(two):
    (two[0] / 'weights.json').unlink()
    runs = read_runs(two)
    assert runs[0].missing == ('weights.json (it has not ended)',)
    assert table(runs)['top1 (%), last'] == ('50.00', '55.50 (+5.50)')  # of its config, its log
    assert table(runs)['seed'] == (ABSENT, '3')
    assert table(runs)['iterations'] == ('32', '33')  # what it has logged


def test_a_distilled_run_differs_from_its_plain_twin_by_its_distillation(tmp_path):
    for name in ('g2sd_vits_cls', 'g2sd_vits_cls_nosd'):
        cfg = Config.fromfile(ROOT / 'configs' / 'shapes' / f'{name}.py')
        cfg.model.backbone.arch = 'demo-student'
        distill_config(cfg).dump(write_run(tmp_path / name) / '20260101_120000/vis_data/config.py')
    apart = [key for key, *_ in differences(read_runs(sorted(tmp_path.iterdir())))]
    assert 'distillation.losses.loss_nkd.tau' in apart
    left = {key for key in apart if not key.startswith(('distillation.', 'custom_hooks.'))}
    assert left == {'model.head.loss.loss_weight'}


def test_a_config_is_read_as_it_was_written(tmp_path):
    cfg = Config.fromfile(ROOT / 'configs' / 'coco' / 'g2sd_vits_maskrcnn.py')
    cfg.dump(tmp_path / 'config.py')
    known = json.loads(json.dumps(cfg._cfg_dict.to_dict()))
    assert read_config(tmp_path / 'config.py') == known


def test_entries_whose_names_have_dots_are_compared(tmp_path):
    overrides = {'model.backbone.arch': 'demo-teacher', 'plain': float('-inf')}
    cfg = Config(dict(overrides=overrides, steps=[{'a.b': 1}]))
    cfg.dump(tmp_path / 'config.py')
    known = dict(flat(read_config(tmp_path / 'config.py')))
    assert known == {
        'overrides.model.backbone.arch': 'demo-teacher', 'overrides.plain': '-inf',
        'steps.item.a.b': 1,
    }  # fmt: skip


def test_a_config_is_never_run(tmp_path, two):
    mark = tmp_path / 'mark'
    config = next(two[0].glob('*/vis_data/config.py'))
    for text in (f"a = open({str(mark)!r}, 'w')", 'a.b = 1', 'a = (', 'a = dict(1)'):
        config.write_text(text)
        with refused(str(config), 'is no config as a run writes it'):
            read_runs(two)
    assert not mark.exists()


def test_names_are_as_long_as_they_have_to_be(tmp_path):
    folders = [write_run(tmp_path / 'x' / f'seed{i}' / 'run') for i in (0, 1)]
    assert [run.name for run in read_runs(folders)] == ['seed0/run', 'seed1/run']


def test_what_is_no_run_is_refused(tmp_path, two):
    empty = tmp_path / 'empty'
    empty.mkdir()
    with refused('empty is not the folder of a run', 'no weights.json', 'no config', 'no log'):
        read_runs([two[0], empty])
    with refused('suite is not the folder of a run, but of a suite', 'seed3/g2sd_vits_cls'):
        read_runs([two[0], tmp_path / 'suite'])
    with refused('no folder', 'nowhere'):
        read_runs([two[0], tmp_path / 'nowhere'])
    with refused('at least two folders'):
        read_runs([two[0], two[0]])
    (two[0] / 'weights.json').write_text('[1]')
    with refused('weights.json does not describe a student'):
        read_runs(two)


def test_the_command_prints_and_draws(two, tmp_path, capsys):
    page, drawing = tmp_path / 'a' / 'page.html', tmp_path / 'curves.svg'
    compare([str(run) for run in two], str(page))
    said = capsys.readouterr().out
    assert 'configs differ in 1 entries' in said
    assert 'top1 (%), last 50.00 55.50 (+5.50)' in ' '.join(said.split())
    text = page.read_text()
    assert 'optim_wrapper.optimizer.lr' in text and '<svg' in text and 'src=' not in text
    compare([str(run) for run in two], str(drawing))
    text = drawing.read_text()
    assert text.startswith('<svg') and 'by_hand' in text and 'top1 (%)' in text
    with refused('--out x.png', '.html', '.svg'):
        compare([str(run) for run in two], 'x.png')


def test_without_logs_there_is_a_page_but_no_curve(two, tmp_path):
    for run in two:
        next(run.glob('*/vis_data/scalars.json')).unlink()
    page = report(read_runs(two))
    assert '<svg' not in page and 'by_hand has no log' in page
    with refused('no run has a log'):
        compare([str(run) for run in two], str(tmp_path / 'x.svg'))


def test_names_cannot_move_the_cursor(two):
    named = two[0].rename(two[0].with_name('a\x1b[2Jb'))
    runs = read_runs([named, two[1]])
    assert '\x1b' not in text_table(['', *(run.name for run in runs)], figures(runs))


def test_long_cells_are_cut_in_the_middle():
    cut = f'{"x" * 18}...{"x" * 18}'
    assert text_table(['a', 'b'], [('x' * 50, 'y')]) == f'{"a":39}  b\n{cut}  y'
