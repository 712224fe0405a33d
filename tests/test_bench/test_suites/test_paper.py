"""The paper suite: its rows, its commands, and what it says is missing."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from g2sd_mm.bench.suites import plan
from g2sd_mm.bench.suites.budget import (
    NOT_MEASURED,
    Throughput,
    raw_config,
    read_throughput,
    work_of,
    workload,
)
from g2sd_mm.bench.suites.commands import Launcher, evaluation_command, train_command
from g2sd_mm.bench.suites.launch import run_shell
from g2sd_mm.bench.suites.paper import PAPER, STAGE1_ABLATIONS, STAGE1_DEFAULTS, STAGE2_DEFAULTS
from g2sd_mm.bench.suites.plan import describe, missing_weights, with_public_files
from g2sd_mm.checkpoints import CheckpointError, read_weights
from g2sd_mm.cli.reproduce import _run, parser
from g2sd_mm.config.load import load_config
from g2sd_mm.errors import UserError

from ...helpers.fake_checkpoints import SMALL, mae_encoder, mae_finetuned, mae_full, random_state
from ...helpers.toys import ROOT, run_tool, words

MAIN = PAPER.select(table=['main'])
EIGHT = Launcher('pytorch', 8)


def row(task: str, method: str, student: str = 'vits', table: str = 'main'):
    (found,) = PAPER.select(task=[task], method=[method], student=[student], table=[table])
    return found


def lines(rows, folder='out', launcher=EIGHT, throughput=None, suite=PAPER, weights='w', **kwargs):
    return list(
        describe(
            suite, rows, [0], Path(folder), Path(weights), launcher, throughput or Throughput(),
            **kwargs,
        )
    )


def fake(name: str) -> dict[str, torch.Tensor]:
    """Weights of MAE with names as they are published."""
    shapes = {'mae': mae_full, 'finetuned': mae_finetuned, 'encoder': mae_encoder}[name]
    return random_state(shapes(SMALL))


# Rows ---------------------------------------------------------------------------------------------


def test_the_three_main_tables_are_whole():
    methods = ('mae_student', 'single_stage', 'g2sd_nosd', 'g2sd')
    students = [(s, m) for s, m in product(('vits', 'vitt'), methods)]
    wanted = {(t, *sm) for t in ('cls', 'det', 'seg') for sm in [('vitb', 'teacher'), *students]}
    assert {(r.task, r.student, r.method) for r in MAIN} == wanted
    assert len(MAIN) == len(wanted) == 27


def test_every_ablation_is_fine_tuned_from_its_own_stage_one():
    tables = {r.table for r in PAPER.rows}
    assert tables == {
        'main', 'robustness', 'teacher', 'teachers', 'baselines', *STAGE1_ABLATIONS
    }
    assert {'decoder', 'target', 'mask', 'supervision', 'loss', 'length'} == set(STAGE1_ABLATIONS)
    for table, variants in STAGE1_ABLATIONS.items():
        for variant in variants:
            student, name = variant.student, variant.setting
            step = PAPER.step(f'g2sd_{student}_{name}_cls_nosd')
            (generic,) = step.needs
            assert generic == f'g2sd_{student}_generic_{name}'
            place = step.options['model.backbone.init_cfg.checkpoint']
            assert place == f'work_dirs/{generic}/weights.pth'
            assert [r.setting for r in PAPER.rows if r.step == step.name] == [name], table


def test_every_ablation_config_is_in_the_suite():
    used = {step.config for step in PAPER.steps}
    folder = (ROOT / 'configs/ablations').glob('*.py')
    assert {f'configs/ablations/{p.name}' for p in folder} <= used


def test_every_ablation_table_has_the_main_setting_first_and_trains_nothing_for_it():
    main = {r.step for r in MAIN}
    for table in {r.table for r in PAPER.rows} - {'main', 'robustness', 'baselines'}:
        for task in {r.task for r in PAPER.select(table=[table])}:
            first, *others = PAPER.select(table=[table], task=[task])
            assert first.setting.endswith(' (default)') and first.step in main, (table, task)
            assert [r for r in others if not r.setting.endswith(' (default)')], (table, task)
            for r in (first, *others):
                assert r.setting.endswith(' (default)') == (r.step in main), r


def test_default_settings_are_what_the_main_configs_say():
    configs = {s: raw_config(f'configs/imagenet/g2sd_{s}_generic.py') for s in ('vits', 'vitt')}
    vits = configs['vits']
    block = int(vits.distillation.teacher.until.removeprefix('decoder_blocks.')) + 1
    loss = vits.distillation.losses.loss_tokens
    settings = {table: dict(pairs) for table, pairs in STAGE1_DEFAULTS.items()}
    assert set(settings) == set(STAGE1_ABLATIONS)
    assert settings['decoder'] == {s: cfg.model.decoder for s, cfg in configs.items()}
    assert settings['target'] == {'vits': f'target{block}'}
    assert settings['supervision'] == {'vits': loss.tokens}
    assert settings['mask'] == {'vits': f'mask{100 * vits.model.mask_ratio:g}'}
    assert settings['loss'] == {'vits': f'beta{loss.beta:g}'}
    assert settings['length'] == {'vits': f'{vits.train_cfg.max_epochs}ep'}
    (cwd,) = [setting for task, *_, setting, _, step in STAGE2_DEFAULTS
              if (task, step, setting) == ('seg', 'g2sd_vits_upernet', 'cwd3')]
    losses = raw_config('configs/ade20k/g2sd_vits_upernet.py').distillation.losses
    assert cwd == f'cwd{losses.loss_cwd.loss_weight:g}'


def test_a_run_of_two_tables_is_trained_and_evaluated_once():
    rows = [row('cls', 'g2sd_nosd'), *PAPER.select(table=['mask'])]
    said = lines(rows)
    own = [line for line in said if 'g2sd_vits_cls_nosd/weights.pth' in line]
    assert len([line for line in own if 'dist_test' in line]) == 1
    place = said.index('# main: cls vits g2sd_nosd')
    assert said[place + 1] == '# mask: cls vits g2sd_nosd mask75 (default)'
    assert said[place + 2] in own
    assert '# GPU hours are of training alone: 4 evaluations are not counted' in said


def test_an_ablation_changes_what_its_name_says():
    """And nothing else of the published stage 1, beside the teacher's file of the folder."""
    loss = 'distillation.losses.loss_tokens'
    settings = {
        'decoder': lambda name: {
            'model.decoder': name,
            'distillation.adapters.tokens.in_channels': int(name[3 : name.rindex('d')]),
        },
        'target': lambda name: {
            'distillation.teacher.until': f'decoder_blocks.{int(name[6:]) - 1}'
        },
        'mask': lambda name: {'model.mask_ratio': int(name[4:]) / 100},
        'supervision': lambda name: {f'{loss}.tokens': name},
        'loss': lambda name: {f'{loss}.beta': {'l1': 0.0, 'beta1': 1.0}[name]},
        'length': lambda name: {'train_cfg.max_epochs': int(name.removesuffix('ep'))},
    }
    assert set(settings) == set(STAGE1_ABLATIONS)
    looked_at = 0
    for table, variants in STAGE1_ABLATIONS.items():
        for variant in variants:
            main = PAPER.step(f'g2sd_{variant.student}_generic')
            base = raw_config(main.config, main.options).to_dict()
            step = PAPER.step(variant.stage1)
            own = raw_config(step.config, step.options).to_dict()
            if variant.config:  # adds parts: it is a file that begins from the published one
                assert not variant.options
                extra = f'loss_{variant.setting}'
                assert own['distillation']['losses'].pop(extra), variant
                del base['distillation']['adapters'], own['distillation']['adapters']
                taps = own['distillation'].pop('taps')
                assert base['distillation'].pop('taps').items() < taps.items()
                assert own == base, f'{variant.setting} changes something else'
                continue
            expected = Config(base)
            expected.merge_from_dict(settings[table](variant.setting))
            assert step.config == main.config
            assert own == expected.to_dict(), f'{variant.setting} changes something else'
            assert own != base, variant
            looked_at += 1
    assert looked_at == 24


def test_the_weight_of_the_published_config_files_is_the_only_change_of_its_row():
    main, step = PAPER.step('g2sd_vits_upernet'), PAPER.step('g2sd_vits_upernet_cwd10')
    expected = raw_config(main.config, main.options).to_dict()
    assert expected['distillation']['losses']['loss_cwd']['loss_weight'] == 3.0
    expected['distillation']['losses']['loss_cwd']['loss_weight'] = 10.0
    assert raw_config(step.config, step.options).to_dict() == expected
    assert step.needs == main.needs and step.amp == main.amp


def test_every_option_of_the_suite_is_one_that_is_read():
    for step in PAPER.steps:
        notes: list[str] = []
        load_config(step.config, step.options, notes=notes)
        assert not notes, step.name


def test_robustness_tests_the_main_classifiers():
    rows = PAPER.select(table=['robustness'])
    assert len(rows) == 4 * len(PAPER.select(task=['cls'], table=['main']))
    assert {r.metric for r in rows if r.setting == 'imagenet_c'} == {'mCE'}


# Commands -----------------------------------------------------------------------------------------


def test_a_run_on_one_machine_is_a_torchrun_command():
    step = PAPER.step('g2sd_vits_generic')
    assert train_command(step, 3, Path('out/seed3'), EIGHT) == (
        'bash tools/dist_train.sh configs/imagenet/g2sd_vits_generic.py 8 --seed 3 '
        '--runs out/seed3 --work-dir out/seed3/g2sd_vits_generic --amp '
        '--cfg-options distillation.teacher.checkpoint=work_dirs/vitb_mae/weights.pth'
    )


def test_a_run_on_slurm_keeps_the_batch_of_a_step():
    step = PAPER.step('vits_mae')
    command = train_command(step, 0, Path('out'), Launcher('slurm', 16, 'gpu'), resume=True)
    assert command.startswith(
        'GPUS=16 GPUS_PER_NODE=8 bash tools/slurm_train.sh gpu vits_mae '
        'configs/imagenet/vits_mae.py --seed 0 '
    )
    # 2048 images a step, now on 16 GPUs
    assert command.endswith('--amp --resume --cfg-options train_dataloader.batch_size=128')


def test_slurm_scripts_hand_everything_on(tmp_path):
    """With a stand-in for srun that prints what it is given."""
    import os
    import subprocess

    srun = tmp_path / 'srun'
    srun.write_text('#!/bin/sh\necho "$@"\n')
    srun.chmod(0o755)
    launcher = Launcher('slurm', 16, 'gpu')
    det = row('det', 'g2sd')
    step = PAPER.step(det.step)
    path = f'{tmp_path}{os.pathsep}{os.environ["PATH"]}'
    for command, tool in (
        (train_command(step, 0, Path('out'), launcher), 'tools/train.py configs/coco'),
        (evaluation_command(step, det, Path('out'), launcher), 'tools/test.py configs/coco'),
    ):
        done = subprocess.run(
            ['bash', '-c', command], cwd=ROOT, env={**os.environ, 'PATH': path},
            capture_output=True, text=True,
        )
        assert done.returncode == 0, done.stderr
        assert '--partition gpu --job-name g2sd_vits_maskrcnn' in done.stdout
        assert '--gres gpu:8 --ntasks 16 --ntasks-per-node 8' in done.stdout
        assert tool in done.stdout and done.stdout.rstrip().endswith('--launcher slurm')


def test_one_process_and_no_mixed_precision():
    one = Launcher('none', 1, amp=False)
    command = train_command(PAPER.step('vits_mae'), 0, Path('out'), one)
    assert command.startswith('python tools/train.py configs/imagenet/vits_mae.py --seed 0 ')
    assert '--amp' not in command
    assert command.endswith('train_dataloader.batch_size=2048')


def test_precision_is_the_published_runs():
    amp = {step.name: step.amp for step in PAPER.steps}
    assert amp['g2sd_vits_generic'] and amp['g2sd_vits_cls'] and amp['g2sd_vits_upernet']
    assert amp['vitb_maskrcnn'] and amp['g2sd_vits_maskrcnn_nosd']
    assert not amp['g2sd_vits_maskrcnn'] and not amp['vitt_single_stage_maskrcnn']


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [(('slurm', 8), '--partition'), (('none', 8), '--gpus 1'), (('pytorch', 0), 'at least 1')],
)
def test_launchers_that_cannot_be(arguments, message):
    with pytest.raises(UserError, match=message):
        Launcher(*arguments)


def test_gpus_that_do_not_divide_the_batch():
    with pytest.raises(UserError, match='--gpus 3 does not divide the 64 images a step'):
        train_command(PAPER.step('vitb_maskrcnn'), 0, Path('out'), Launcher('pytorch', 3))


# The plan -----------------------------------------------------------------------------------------


def test_a_plan_is_a_script_in_an_order_that_can_be_run():
    said = lines(MAIN, folder='/out')
    commands = [line for line in said if line and not line.startswith('#')]
    assert all(line.startswith('bash tools/dist_') for line in commands)
    trained = [c.split('--work-dir ')[1].split()[0] for c in commands if 'dist_train' in c]
    place = {name.rpartition('/')[2]: i for i, name in enumerate(trained)}
    for step in PAPER.steps_of(MAIN):
        assert all(place[need] < place[step.name] for need in step.needs)
    tests = [c for c in commands if 'dist_test' in c]
    assert len(tests) == 27 and commands[-27:] == tests


def test_published_files_take_the_place_of_runs(tmp_path):
    torch.save({'model': fake('mae')}, tmp_path / 'mae_pretrain_vit_base_full.pth')
    torch.save({'model': fake('finetuned')}, tmp_path / 'mae_finetuned_vit_base.pth')
    suite = with_public_files(PAPER, tmp_path)
    assert suite.chain('vitb_cls') == ['vitb_cls']
    said = lines([row('cls', 'g2sd')], suite=suite, weights=tmp_path)
    linked = [line for line in said if line.startswith('mkdir')]
    assert len(linked) == 2
    assert f'ln -sfn {tmp_path}/mae_pretrain_vit_base_full.pth out/seed0/vitb_mae/' in linked[0]
    assert not [line for line in said if 'train.sh configs/imagenet/vitb' in line]
    assert missing_weights(suite, [row('cls', 'g2sd')], tmp_path) == []


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('a text', 'not a checkpoint'),
        ('', 'the file is empty'),
        ('<html>404</html>', 'a web page'),
        ('encoder', words("a ViT encoder of MAE's", 'vitb_mae takes MAE', 'move it away')),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_refused(tmp_path, content, message):
    file = tmp_path / 'mae_pretrain_vit_base_full.pth'
    if content == 'encoder':
        torch.save({'model': fake('encoder')}, file)
    else:
        file.write_text(content)
    with pytest.raises(CheckpointError, match=message) as raised:
        with_public_files(PAPER, tmp_path)
    assert str(file) in str(raised.value) and '\n' not in str(raised.value)


def test_a_published_file_is_looked_at_without_its_tensors(tmp_path, monkeypatch):
    torch.save({'model': fake('mae')}, tmp_path / 'mae_pretrain_vit_base_full.pth')
    asked = []
    monkeypatch.setattr(plan, 'read_weights', lambda file, mmap: asked.append(mmap)
                        or read_weights(file, mmap))
    # a pickle cannot be looked into in part: it is judged when it is loaded
    (tmp_path / 'vitdet_b_maskrcnn.pth').write_bytes(pickle.dumps({'model': {}}, protocol=4))
    suite = with_public_files(PAPER, tmp_path)
    assert asked == [True]
    assert suite.step('vitb_maskrcnn').file


def test_a_trained_run_is_not_replaced_by_a_published_file(tmp_path):
    step = replace(PAPER.step('vitb_mae'), file=str(tmp_path / 'mae.pth'))
    (tmp_path / 'mae.pth').write_text('published')
    command = train_command(step, 0, tmp_path / 'a b', EIGHT)
    weights = tmp_path / 'a b' / 'vitb_mae' / 'weights.pth'
    for _ in range(2):  # a link may be made anew
        run_shell(command, tmp_path / 'log')
        assert weights.is_symlink() and weights.read_text() == 'published'
    weights.unlink()
    weights.write_text('trained')
    with pytest.raises(RuntimeError, match=words('weights.pth was trained', 'move one of them')):
        run_shell(command, tmp_path / 'log')
    assert weights.read_text() == 'trained' and not weights.is_symlink()


def test_what_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv('G2SD_DATA', str(tmp_path))
    said = lines(MAIN, weights=tmp_path / 'none')
    missing = said[said.index('# missing: 7') :]
    for text in ('imagenet/val: lay', '/coco: lay', 'ADEChallengeData2016: lay',
                 'vitb_mae is trained instead', "vitdet_b_maskrcnn.pth (detectron2's ViTDet-B"):
        assert any(text in line for line in missing), text


def test_without_a_measurement_no_hours_are_told():
    said = '\n'.join(lines([row('cls', 'g2sd')]))
    assert f'# throughput: {NOT_MEASURED}' in said
    assert NOT_MEASURED.endswith('tools/benchmark.py --suite paper on your GPU')
    assert 'GPU hours not measured' in said
    assert not [part for part in said.split('GPU hours')[:-1] if part.rstrip()[-1:].isdigit()]


def figures(path: Path, gpu: str | None = 'H100', size: str = 'full', device: str = 'cuda') -> str:
    one = 'configs/imagenet/g2sd_vits_generic.py'
    step = dict(workload=workload(raw_config(one)), dtype='bfloat16', images_per_second=3600.0,
                counts=True)  # fmt: skip
    rows = [
        step,
        {**step, 'images_per_second': 9000.0, 'counts': False},
        {**step, 'images_per_second': 9000.0, 'dtype': 'float32'},
    ]
    environment = {'gpu': gpu, 'device': device}
    path.write_text(json.dumps({'environment': environment, 'size': size, 'figures': rows}))
    return str(path)


def test_hours_are_images_over_measured_speed(tmp_path):
    throughput = read_throughput(figures(tmp_path / 'speed.json'))
    said = lines([row('cls', 'g2sd')], throughput=throughput)
    cfg = raw_config(str(ROOT / 'configs/imagenet/g2sd_vits_generic.py'))
    hours = throughput.gpu_hours(workload(cfg), True, work_of(cfg))
    assert hours == pytest.approx(300 * 625 * 2048 / 3600 / 3600)
    (line,) = [line for line in said if 'g2sd_vits_generic:' in line]
    assert line.endswith(f'{hours:.1f} GPU hours')
    assert any('speed.json (H100)' in line for line in said)
    assert f'# GPU hours of the steps that were measured: {hours:.1f}' in said
    assert any('3 of 4 steps' in line for line in said if NOT_MEASURED in line)


def test_hours_are_of_the_precision_that_the_run_will_have(tmp_path):
    throughput = read_throughput(figures(tmp_path / 'speed.json'))
    generic = PAPER.select(table=['main'], method=['g2sd_nosd'], student=['vits'], task=['cls'])
    float32 = Launcher('pytorch', 8, amp=False)
    in_half = '\n'.join(lines(generic, throughput=throughput))
    whole = '\n'.join(lines(generic, throughput=throughput, launcher=float32))
    seen = 300 * 625 * 2048
    assert f'{seen / 3600 / 3600:.1f} GPU hours' in in_half
    assert f'{seen / 9000 / 3600:.1f} GPU hours' in whole


def test_a_rate_of_another_precision_is_no_rate():
    """Detection is distilled in float32: a faster bfloat16 step says nothing of it."""
    cfg = raw_config('configs/coco/g2sd_vits_maskrcnn.py')
    key, work = workload(cfg), work_of(cfg)
    assert Throughput({(key, True): 80.0}).gpu_hours(key, False, work) is None
    told = Throughput({(key, True): 80.0, (key, False): 50.0}).gpu_hours(key, False, work)
    assert told == pytest.approx(184375 * 64 / 50 / 3600)


def test_equal_networks_are_equally_fast_and_others_are_not():
    def key(name: str) -> str:
        step = PAPER.step(name.rpartition('/')[2])
        return workload(raw_config(step.config, step.options))

    assert key('imagenet/g2sd_vits_cls_nosd') == key('imagenet/vits_mae_cls')
    assert key('imagenet/g2sd_vits_cls') == key('imagenet/vits_single_stage')
    assert key('imagenet/g2sd_vits_generic') == key('g2sd_vits_generic_100ep')
    different = ['imagenet/g2sd_vits_cls', 'imagenet/g2sd_vitt_cls', 'imagenet/vitb_cls',
                 'imagenet/g2sd_vits_generic', 'g2sd_vits_generic_target8',
                 'ade20k/g2sd_vits_upernet', 'ade20k/g2sd_vits_upernet_from_vitl']
    assert len({key(name) for name in different}) == len(different)


def test_figures_that_tell_nothing_about_a_gpu_are_refused(tmp_path):
    with pytest.raises(UserError, match='without a GPU'):
        read_throughput(figures(tmp_path / 'cpu.json', gpu=None))
    with pytest.raises(UserError, match='without a GPU'):
        read_throughput(figures(tmp_path / 'cpu.json', device='cpu'))
    with pytest.raises(UserError, match='no file of tools/benchmark'):
        read_throughput(figures(tmp_path / 'toy.json', size='toy'))
    for text in ('{}', 'no JSON', '[1]', '{"figures": [{"stage": "cls"}]}'):
        (tmp_path / 'other.json').write_text(text)
        with pytest.raises(UserError, match='no file of tools/benchmark'):
            read_throughput(str(tmp_path / 'other.json'))


# The command --------------------------------------------------------------------------------------


def test_dry_run_needs_neither_data_nor_gpu(tmp_path):
    done = run_tool('reproduce.py', '--suite', 'paper', '--dry-run', G2SD_DATA=str(tmp_path))
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert said[0] == '# suite paper: 171 rows, 160 steps, seeds 0'
    assert said[-1].endswith('vitl_mae is trained instead')


def test_a_run_without_its_data_is_refused_before_it_starts(tmp_path):
    done = run_tool(
        'reproduce.py', '--suite', 'paper', '--tasks', 'det', '--out', str(tmp_path / 'out'),
        G2SD_DATA=str(tmp_path),
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    import re

    assert re.match(words('error: no data at', 'and 1 more, see --dry-run'), line)
    assert not (tmp_path / 'out').exists()


def test_torchrun_has_the_gpus_to_itself(tmp_path):
    args = parser().parse_args(['--suite', 'paper', '--jobs', '2', '--out', str(tmp_path / 'out')])
    with pytest.raises(UserError, match=words('--jobs 2', 'same GPUs', 'slurm')):
        _run(args)
    slurm = ['--launcher', 'slurm', '--partition', 'gpu', '--dry-run', '--tables', 'length']
    _run(parser().parse_args(['--suite', 'paper', '--jobs', '2', *slurm]))
