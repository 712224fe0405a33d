"""The range of a depth head goes with its weights, whatever the config or the data say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from g2sd_mm.agreement.weights import depth_range, reconcile
from g2sd_mm.config.parts import network_of
from g2sd_mm.distill.teachers.openmmlab import OpenMMLabTeacher
from g2sd_mm.runs.agreement import agree_for_test, agree_for_training, agree_with_teacher
from g2sd_mm.students import load_student
from g2sd_mm.students.extract import extract_student

from ..helpers.pictures import picture
from ..helpers.students import CONFIGS, random_model, student_folder
from ..helpers.toys import ROOT, config, save

TRAINED = {'min_depth': 20.0, 'max_depth': 40.0}  # the config says 0.1 to 12 m
CONFIG = str(ROOT / 'configs' / CONFIGS['depth'])
NONE = {'shapes': None, 'model.backbone.init_cfg': None}


@pytest.fixture(scope='module')
def run(tmp_path_factory) -> Path:
    options = {f'model.decode_head.{end}': metres for end, metres in TRAINED.items()}
    return student_folder(tmp_path_factory.mktemp('run'), 'depth', **options)


def hooked(cfg) -> list[str]:
    (hook,) = [hook for hook in cfg.custom_hooks if hook['type'] == 'AgreementHook']
    return hook['notes']


@pytest.mark.parametrize('given', [None, CONFIG])
def test_a_student_predicts_in_the_range_that_it_was_trained_in(run, given):
    student = load_student(run, given)
    assert depth_range({'model': student.network['model']}) == TRAINED
    metres = student.predict(picture(128, 128))['depth']
    assert 20 <= metres['nearest'] < metres['farthest'] <= 40


def test_a_copy_says_the_range_of_its_weights(run, tmp_path):
    known = json.loads((run / 'weights.json').read_text())
    file = save(tmp_path / 'iter_1.pth', random_model(known['network']), student=known)
    copy = tmp_path / 'out' / 'student.pth'
    extract_student(file, copy, config=CONFIG, options=NONE)
    assert depth_range(json.loads(copy.with_suffix('.json').read_text())['network']) == TRAINED


def test_a_test_follows_the_weights_and_says_so(run):
    cfg = config(CONFIGS['depth'], **NONE)
    agree_for_test(cfg, str(run / 'weights.pth'), 'mine.py')
    assert depth_range(cfg) == TRAINED
    (note,) = hooked(cfg)
    assert '20 to 40 m' in note and '0.1 to 12 m' in note and 'mine.py' in note
    assert reconcile(cfg, str(run / 'weights.pth'), 'mine.py').notes == ()


def test_ends_that_a_config_leaves_out_are_told_too(run):
    cfg = config(CONFIG, **NONE)
    del cfg.model.decode_head['max_depth']
    reconcile(cfg, str(run / 'weights.pth'), 'mine.py', ())
    assert depth_range(cfg) == TRAINED


def test_inside_of_test_time_augmentation_too(run):
    cfg = config(CONFIGS['depth'], **NONE)
    cfg.model = dict(type='SegTTAModel', module=cfg.model)
    reconcile(cfg, str(run / 'weights.pth'), 'mine.py')
    assert network_of(cfg).decode_head.max_depth == 40


def test_a_resumed_run_keeps_the_range_of_its_checkpoint(run, tmp_path):
    known = json.loads((run / 'weights.json').read_text())
    file = save(tmp_path / 'iter_1.pth', random_model(known['network']), student=known)
    cfg = config(CONFIGS['depth'], **NONE, load_from=file, resume=True)
    notes, _ = agree_for_training(cfg, 'mine.py')
    assert depth_range(cfg) == TRAINED and '20 to 40 m' in notes[0]
    # a start is another run: its own range counts, and it is told
    cfg = config(CONFIGS['depth'], **NONE, load_from=file)
    notes, _ = agree_for_training(cfg, 'mine.py')
    assert depth_range(cfg)['max_depth'] == 12 and '20 to 40 m' in notes[0]


def test_a_teacher_teaches_in_the_range_that_it_was_trained_in(run):
    file = str(run / 'weights.pth')
    teacher = OpenMMLabTeacher(CONFIG, file, ('backbone', 'decode_head'), overrides=NONE)
    log_depth = teacher.model.decode_head.log_depth
    assert np.exp(log_depth.low) == pytest.approx(20)
    assert np.exp(log_depth.low + log_depth.span) == pytest.approx(40)


def test_teacher_and_student_of_two_ranges_are_told(run):
    options = {'distillation.teacher.checkpoint': str(run / 'weights.pth')}
    cfg = config('shapes/g2sd_vits_depth.py', **NONE, **options)
    (note,) = agree_with_teacher(cfg, (), reconcile(cfg, None, 'mine.py').inputs)
    assert '20 to 40 m' in note and '0.1 to 12 m' in note
    cfg.model.decode_head.update(TRAINED)
    assert not list(agree_with_teacher(cfg, (), reconcile(cfg, None, 'mine.py').inputs))
