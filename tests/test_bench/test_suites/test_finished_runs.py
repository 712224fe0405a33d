"""Networks and configs of a suite's folder, also when it was moved."""

from __future__ import annotations

import json

import pytest
import torch

from g2sd_mm.bench.suites.finished_runs import (
    network_config,
    run_config,
    shared_config,
    stage1_config,
    stage1_run,
    trained_networks,
)
from g2sd_mm.errors import UserError

from ...helpers.students import student_folder
from ...helpers.toys import words


def row(method: str, run: str, task: str = 'cls', seed: int = 0, **changes) -> dict:
    known = dict(
        task=task, method=method, seed=seed, config=f'configs/shapes/{run}.py', params_m=0.2,
        gflops=None, train_seconds=1.0, total_seconds=1.0,
        metrics={'top1': 50.0, 'mIoU': 50.0}, checkpoint=f'elsewhere/{run}/weights.pth',
    )  # fmt: skip
    return {**known, **changes}


@pytest.fixture
def folder(tmp_path):
    """Four rows; the weights of one were deleted."""
    rows = [
        row('g2sd', 'g2sd_vits_cls'), row('teacher', 'vitb_cls'),
        row('scratch', 'vits_scratch_cls'), row('teacher', 'vitb_upernet', task='seg'),
        row('g2sd', 'g2sd_ablated', table='loss'), dict(row('mae_student', 'x'), error='memory'),
    ]  # fmt: skip
    (tmp_path / 'results.json').write_text(json.dumps({'suite': 'demo', 'rows': rows}))
    for run in ('g2sd_vits_cls', 'vitb_cls', 'vitb_upernet', 'g2sd_ablated', 'x'):
        (tmp_path / 'seed0' / run).mkdir(parents=True)
        (tmp_path / 'seed0' / run / 'weights.pth').touch()
    return tmp_path


def test_finished_main_rows_are_found_the_teacher_first(folder):
    found = trained_networks(folder)
    assert {name: run.name for name, run in found.items()} == {
        'teacher': 'vitb_cls', 'g2sd': 'g2sd_vits_cls'
    }
    assert list(found) == ['teacher', 'g2sd']


@pytest.fixture
def two_students(tmp_path):
    """A teacher, two rows of ViT-S of which one has no weights, two of ViT-Ti."""
    rows = [
        row('teacher', 'vitb_cls', student='vitb'),
        row('mae_student', 'vits_mae_cls', student='vits'),
        *(
            row(method, f'g2sd_{student}_{method}', student=student)
            for student in ('vits', 'vitt')
            for method in ('g2sd_nosd', 'g2sd')
        ),
    ]
    (tmp_path / 'results.json').write_text(json.dumps({'suite': 'paper', 'rows': rows}))
    for line in rows:
        if line['method'] != 'mae_student':
            run = tmp_path / 'seed0' / line['checkpoint'].split('/')[1]
            run.mkdir(parents=True)
            (run / 'weights.pth').touch()
    return tmp_path


def test_of_several_students_the_first_is_taken_and_the_others_are_named(
    two_students, capsys
):
    found = trained_networks(two_students)
    assert {name: run.name for name, run in found.items()} == {
        'teacher': 'vitb_cls', 'g2sd_nosd': 'g2sd_vits_g2sd_nosd', 'g2sd': 'g2sd_vits_g2sd'
    }
    (line,) = capsys.readouterr().out.splitlines()
    assert 'left out: vitt (--students vits vitt takes all)' in line


def test_students_are_taken_as_asked(two_students, capsys):
    found = trained_networks(two_students, students=['vitt'])
    assert list(found) == ['teacher', 'g2sd_nosd', 'g2sd']
    assert found['g2sd'].name == 'g2sd_vitt_g2sd'
    both = trained_networks(two_students, students=['vitt', 'vits'])
    assert list(both) == ['teacher', 'g2sd_nosd vits', 'g2sd vits', 'g2sd_nosd vitt', 'g2sd vitt']
    assert len(set(both.values())) == 5 and not capsys.readouterr().out
    with pytest.raises(UserError, match=words('--students vitl: ', 'has trained vits, vitt')):
        trained_networks(two_students, students=['vits', 'vitl'])


def test_a_teacher_alone_compares_with_nothing(folder):
    with pytest.raises(UserError, match=words('seed0 has teacher for seg', 'weights.pth')):
        trained_networks(folder, 'seg')
    with pytest.raises(UserError, match=words('seed1 has nothing for cls')):
        trained_networks(folder, seed=1)
    with pytest.raises(UserError, match=r'^no .*seed0/results\.json'):
        trained_networks(folder / 'seed0')


def test_the_stage_one_run_has_a_checkpoint(folder):
    assert stage1_run(folder) is None
    run = folder / 'seed0' / 'g2sd_vits_generic'
    run.mkdir()
    (run / 'weights.pth').touch()
    assert stage1_run(folder) is None  # the encoder alone reconstructs nothing
    torch.save({}, run / 'epoch_9.pth')
    (run / 'last_checkpoint').write_text('/gone/epoch_9.pth')
    assert stage1_run(folder) == (run, run / 'epoch_9.pth')
    (run / 'last_checkpoint').unlink()
    torch.save({'optimizer': {}, 'message_hub': {}}, run / 'epoch_8.pth')
    assert stage1_run(folder) == (run, run / 'epoch_8.pth')
    for name in ('epoch_8.pth', 'epoch_9.pth'):  # to make room
        (run / name).unlink()
    (run / 'last_checkpoint').write_text('/gone/epoch_9.pth')
    assert stage1_run(folder) is None


def test_configs_are_those_that_the_run_wrote(tmp_path):
    run = tmp_path / 'vitb_cls'
    run.mkdir()
    with pytest.raises(UserError, match=words('vitb_cls has no vitb_cls.py')):
        run_config(run)
    (run / 'vitb_cls.py').write_text('marked = 5\nmodel = dict(type="X")\n')
    assert run_config(run).marked == 5


def test_a_teacher_that_was_given_has_the_test_data_of_its_students(tmp_path):
    """It was linked, and not trained: no config lies beside it."""
    runs = {name: tmp_path / name for name in ('teacher', 'g2sd')}
    with pytest.raises(UserError, match=words('teacher has no teacher.py')):
        shared_config(runs)
    for name in reversed(runs):
        runs[name].mkdir()
        (runs[name] / f'{name}.py').write_text(f'marked = {name!r}\n')
        assert shared_config(runs).marked == name


def test_weights_that_do_not_say_what_they_are_have_their_rows_config(folder):
    run = folder / 'seed0' / 'vitb_cls'
    torch.save({'state_dict': {'head.fc.weight': torch.zeros(2, 2)}}, run / 'weights.pth')
    assert network_config(folder, run) == 'configs/shapes/vitb_cls.py'
    described = student_folder(folder / 'seed0' / 'g2sd_vits_cls')
    assert network_config(folder, described) is None


@pytest.mark.parametrize('ran', [True, False])
def test_the_teacher_of_a_moved_folder_is_found_beside_it(tmp_path, ran):
    """In the config that a run writes the distiller is the model."""
    run = tmp_path / 'g2sd_vits_generic'
    run.mkdir()
    teacher = 'work_dirs/gone/seed0/vitb_mae/weights.pth'
    block = f"teacher=dict(type='MAETeacher', checkpoint={teacher!r})"
    text = f"model = dict(type='MaskedStudent')\ndistillation = dict({block})\n"
    if ran:
        text = f"model = dict(type='SpecificDistiller', {block})\n"
    (run / 'g2sd_vits_generic.py').write_text(text)
    place = 'model' if ran else 'distillation'
    assert stage1_config(run)[place].teacher.checkpoint == teacher
    (tmp_path / 'vitb_mae').mkdir()
    (tmp_path / 'vitb_mae' / 'weights.pth').touch()
    beside = str(tmp_path / 'vitb_mae' / 'weights.pth')
    assert stage1_config(run)[place].teacher.checkpoint == beside


def test_a_teacher_without_a_file_is_left_as_it_is(tmp_path):
    run = tmp_path / 'stage1'
    run.mkdir()
    text = "model = dict(type='MaskedStudent')\ndistillation = dict(teacher=dict(type='X', a=1))\n"
    (run / 'stage1.py').write_text(text)
    assert stage1_config(run).distillation.teacher == dict(type='X', a=1)
