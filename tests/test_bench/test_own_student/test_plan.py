"""What is trained for a folder of one's own data follows from the data and the wishes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from g2sd_mm.bench.own_student import trial as trial_module
from g2sd_mm.bench.own_student.plan import (
    MOST_PASSES,
    Wishes,
    describe,
    look_at,
    make_plan,
    seconds_of,
)
from g2sd_mm.bench.own_student.trial import (
    LEAST_SCALE,
    Trial,
    available_memory,
    fit_to_time,
    jobs_in_memory,
    time_of,
    try_out,
    validation_images,
)
from g2sd_mm.bench.suites.budget import raw_config, train_root, work_of
from g2sd_mm.config.load import load_config
from g2sd_mm.data_layouts import Choices
from g2sd_mm.errors import UserError

from ...helpers.toys import image_folder, words

STEPS = ['vitb_mae', 'vitb_cls', 'g2sd_vits_generic', 'g2sd_vits_cls_nosd', 'g2sd_vits_cls']


def images(root, each=50, classes=3):
    image_folder(root / 'train', classes=classes, each=each, size=8)
    image_folder(root / 'val', classes=classes, each=2, size=8, seed=1)
    return str(root)


def plan_of(wishes: Wishes, scale=None):
    return make_plan(wishes, look_at(wishes), scale)


def works(plan):
    """Run -> its arithmetic."""
    found = {}
    for step in plan.steps():
        cfg = raw_config(step.config, step.options)
        found[step.name] = work_of(cfg, plan.data.size(train_root(cfg)))
    return found


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return images(tmp_path_factory.mktemp('own') / 'fruit')


def test_teacher_student_and_twin_are_trained(folder):
    plan = plan_of(Wishes(folder))
    assert [row.method for row in plan.suite.rows] == ['teacher', 'g2sd_nosd', 'g2sd']
    assert sorted(step.name for step in plan.steps()) == sorted(STEPS)
    alone = plan_of(Wishes(folder, twin=False))
    assert 'g2sd_vits_cls_nosd' not in [step.name for step in alone.steps()]


def test_a_small_data_set_is_not_learnt_by_heart_and_it_is_said(folder):
    plan = plan_of(Wishes(folder))
    for name, work in works(plan).items():
        kind = 'without labels' if name in ('vitb_mae', 'g2sd_vits_generic') else 'with labels'
        assert work.passes <= MOST_PASSES[kind] * 1.01
    assert any('800 passes over 150 images' in line for line in plan.reasons)


def test_epochs_are_those_of_the_fine_tuning_and_the_rest_follows(folder):
    usual = works(plan_of(Wishes(folder), scale=0.05))
    found = works(plan_of(Wishes(folder, epochs=30)))
    # the last of 150 images in batches of 64 are left out
    assert 128 * round(30 * 150 / 128) == found['g2sd_vits_cls'].seen
    for name in ('vitb_mae', 'vitb_cls'):
        ratio = found[name].seen / found['g2sd_vits_cls'].seen
        assert ratio == pytest.approx(usual[name].seen / usual['g2sd_vits_cls'].seen, rel=0.1)


@pytest.mark.parametrize('scale', [0.005, 0.05, 1.0])
def test_schedules_fit_their_length(folder, scale):
    for step in plan_of(Wishes(folder), scale).steps():
        cfg = load_config(step.config, step.options)
        assert cfg.param_scheduler[0].warmup < cfg.train_cfg.max_epochs
        assert cfg.train_cfg.get('val_interval', cfg.train_cfg.max_epochs) <= (
            cfg.train_cfg.max_epochs
        )


def test_runs_without_labels_read_images_alone(folder):
    for step in plan_of(Wishes(folder), 0.05).steps():
        cfg = raw_config(step.config, step.options)
        labelled = step.name not in ('vitb_mae', 'g2sd_vits_generic')
        assert bool(cfg.get('val_dataloader')) is labelled, step.name


def test_every_choice_has_its_line(folder):
    lines = list(describe(plan_of(Wishes(folder))))
    assert lines[0].startswith('task classification')
    for part in ('teacher', 'stage 1', 'stage 2', 'twin', 'length'):
        assert any(part in line for line in lines), part


# Time ---------------------------------------------------------------------------------------------


def trial_of(plan, update=0.1, start=5.0):
    names = [step.name for step in plan.steps()]
    return Trial(dict.fromkeys(names, update), dict.fromkeys(names, start), 0)


def test_runs_wait_for_those_that_they_need(folder):
    plan = plan_of(Wishes(folder), 0.05)
    trial = trial_of(plan)
    alone = {n: 5 + w.updates * 0.1 for n, w in works(plan).items()}
    assert time_of(plan, trial, 1) == pytest.approx(sum(alone.values()))
    before = max(alone['vitb_cls'], alone['g2sd_vits_generic'])
    longest = alone['vitb_mae'] + before + alone['g2sd_vits_cls']
    assert time_of(plan, trial, 8) == pytest.approx(longest)


def test_the_length_is_fitted_to_the_time_that_is_allowed(folder):
    wishes = Wishes(folder, seconds=150.0)
    plan = plan_of(wishes)
    trial = trial_of(plan)
    fitted = fit_to_time(plan, trial, 2)
    assert 100 < time_of(fitted, trial, 2) <= 150
    assert time_of(plan, trial, 2) > 150
    assert any('time' in reason for reason in fitted.reasons)
    assert fit_to_time(plan_of(Wishes(folder)), trial, 2).scale == 1.0


def test_time_that_is_not_needed_is_not_used_beyond_the_epochs_asked_for(folder):
    wishes = Wishes(folder, epochs=10, seconds=1e6)
    plan = plan_of(wishes)
    assert fit_to_time(plan, trial_of(plan), 2).scale == plan.scale


def test_epochs_that_do_not_fit_the_time_are_told(folder):
    wishes = Wishes(folder, epochs=100, seconds=200.0)
    plan = plan_of(wishes)
    fitted = fit_to_time(plan, trial_of(plan), 2)
    assert fitted.scale < plan.scale
    for kept in (fitted, plan_of(wishes, fitted.scale)):
        (line,) = (reason for reason in kept.reasons if reason.startswith('length'))
        passes = works(fitted)['g2sd_vits_cls'].passes
        assert f'{passes:.3g} epochs of fine-tuning for the 100' in line and 'time' in line


@pytest.mark.parametrize('epochs', [0.1, 30])
def test_epochs_are_told_as_they_are_and_as_they_were_asked_for(folder, epochs):
    plan = plan_of(Wishes(folder, epochs=epochs))
    (line,) = (reason for reason in plan.reasons if reason.startswith('length'))
    passes = works(plan)['g2sd_vits_cls'].passes
    assert passes > 0.8  # one pass at least, of which the last 22 images are left out
    assert f'{passes:.3g} epochs' in line and f'the {epochs:g} asked for' in line
    assert ('the least' in line) is (epochs < passes / 1.1)


def test_too_short_a_time_is_refused_with_the_least(folder):
    wishes = Wishes(folder, seconds=10.0)
    plan = plan_of(wishes)
    trial = trial_of(plan)
    with pytest.raises(UserError, match='--time-budget 10 s'):
        fit_to_time(plan, trial, 2)
    least = time_of(plan_of(wishes, LEAST_SCALE), trial, 2)
    assert least > 10
    fit_to_time(plan_of(Wishes(folder, seconds=least * 1.2)), trial, 2)


@pytest.mark.parametrize(
    ('text', 'seconds'),
    [('2h', 7200), ('90m', 5400), ('1.5 h', 5400), ('45 min', 2700), ('30s', 30), ('60', 60)],
)
def test_times_as_a_person_writes_them(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize('text', ['', 'soon', '2 weeks', 'h', '1h30'])
def test_other_times_are_refused(text):
    with pytest.raises(UserError, match='--time-budget'):
        seconds_of(text)


def test_validation_counts(folder):
    plan = plan_of(Wishes(folder), 0.05)
    quick = trial_of(plan)
    slow = replace(quick, evaluation=dict.fromkeys(quick.update, 7.0))
    assert time_of(plan, slow, 1) == pytest.approx(time_of(plan, quick, 1) + 7 * len(STEPS))
    assert validation_images(plan.data) == 6


def test_validation_images_that_are_held_out_count(tmp_path):
    image_folder(tmp_path / 'own', classes=2, each=10, size=8)
    assert validation_images(look_at(Wishes(str(tmp_path / 'own'), choices=Choices(0.2)))) == 4


def test_runs_that_lie_among_the_classes_are_no_class(tmp_path, monkeypatch):
    image_folder(tmp_path / 'own', classes=2, each=10, size=8)
    monkeypatch.chdir(tmp_path / 'own')
    wishes = Wishes('.', choices=Choices(0.2))
    before = look_at(wishes).fingerprints
    image_folder(tmp_path / 'own' / 'work_dirs' / 'distill_own' / 'pictures', classes=1, each=4)
    assert look_at(wishes).fingerprints == before


def test_a_given_file_takes_no_training(folder):
    plan = plan_of(Wishes(folder), 0.05)
    trial = trial_of(plan)
    given = [replace(s, file='a.pth') if s.name == 'vitb_mae' else s for s in plan.suite.steps]
    other = replace(plan, suite=replace(plan.suite, steps=tuple(given)))
    pre_training = works(plan)['vitb_mae'].updates * 0.1
    assert time_of(other, trial, 1) == pytest.approx(time_of(plan, trial, 1) - pre_training)
    assert any('a.pth, as it is' in line for line in describe(other))


# Memory -------------------------------------------------------------------------------------------


def test_as_many_runs_at_once_as_memory_admits(monkeypatch):
    monkeypatch.setattr(trial_module, 'available_memory', lambda: 5e9)
    assert jobs_in_memory(4, 2e9) == 2
    assert jobs_in_memory(1, 2e9) == 1
    assert jobs_in_memory(4, 0) == 4
    monkeypatch.setattr(trial_module, 'available_memory', lambda: 1e9)
    assert jobs_in_memory(4, 2e9) == 1
    monkeypatch.setattr(trial_module, 'available_memory', lambda: None)
    assert jobs_in_memory(4, 2e9) == 4


def test_too_little_memory(monkeypatch):
    monkeypatch.setattr(trial_module, 'available_memory', lambda: 0.4e9)
    with pytest.raises(UserError, match=words('0.4 GB of memory are free', 'end other programs')):
        jobs_in_memory(2)


def test_a_trial_that_the_system_ended(folder, tmp_path, monkeypatch):
    def run_suite(suite, rows, seeds, folder, **how):
        return {'rows': [{'method': 'teacher', 'error': 'no output (exit code -9, a.log)'}]}

    monkeypatch.setattr(trial_module, 'run_suite', run_suite)
    with pytest.raises(UserError, match=words('memory', '--jobs 1', 'a.log')):
        try_out(plan_of(Wishes(folder)), tmp_path, 2)


def test_free_memory_is_found_here():
    assert available_memory() is None or available_memory() > 1e8


# Bad choices --------------------------------------------------------------------------------------


def test_no_folder(tmp_path):
    with pytest.raises(UserError, match=words(f'{tmp_path}/nowhere')):
        look_at(Wishes(f'{tmp_path}/nowhere'))


def test_an_empty_folder(tmp_path):
    with pytest.raises(UserError, match=words(f'{tmp_path} is empty', 'train/<class>/')):
        look_at(Wishes(str(tmp_path)))


def test_a_file_and_images_without_folders(tmp_path):
    (tmp_path / 'a.jpg').touch()
    with pytest.raises(UserError, match=words(f'{tmp_path}/a.jpg is a file', 'folder')):
        look_at(Wishes(f'{tmp_path}/a.jpg'))
    with pytest.raises(UserError, match=words('1 images and no folders', 'train/<class>/')):
        look_at(Wishes(str(tmp_path)))


def test_no_validation_images(tmp_path):
    image_folder(tmp_path / 'own' / 'train', classes=2, each=2, size=8)
    with pytest.raises(UserError, match='val'):
        look_at(Wishes(str(tmp_path / 'own')))


def test_another_task(folder):
    with pytest.raises(UserError, match=words('--task det', 'cls')):
        look_at(Wishes(folder, task='det'))
    with pytest.raises(UserError, match=words('--task pose', 'cls')):
        look_at(Wishes(folder, task='pose'))


def test_too_few_images(tmp_path):
    with pytest.raises(UserError, match=words('6 training images', 'needs', 'add images')):
        plan_of(Wishes(images(tmp_path / 'few', each=2)))


@pytest.mark.parametrize('wish', [dict(epochs=0), dict(epochs=-1), dict(seconds=0)])
def test_no_training_at_all(folder, wish):
    with pytest.raises(UserError):
        Wishes(folder, **wish)


@pytest.mark.parametrize(('wish', 'option'), [('epochs', '--epochs'), ('seconds', '--time-budget')])
def test_a_length_of_nothing_names_its_option(wish, option):
    with pytest.raises(UserError, match=f'{option} 0'):
        Wishes('anywhere', **{wish: 0.0})
