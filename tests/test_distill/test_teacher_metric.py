"""A teacher that knows nothing, or less than its student, is warned of."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config

from benchmarks.faults.tasks import data_in, make_tasks
from g2sd_mm.checkpoints.record import write_sidecar
from g2sd_mm.checkpoints.write import write_weights
from g2sd_mm.distill import TeacherMetricHook
from g2sd_mm.distill.teacher_metric import Known, known_metric
from g2sd_mm.runs.train import train

from ..helpers.runs import Slope, runner
from ..helpers.toys import Lines

DATA = {'type': 'CustomDataset', 'data_root': 'data/shapes'}
NETWORK: dict[str, Any] = dict(
    task='classification', scope='mmpretrain', imports=[], test_pipeline=[],
    model={'type': 'ImageClassifier', 'head': {'num_classes': 10}}, classes=[],
)


def write(path: Path, beside: bool = True, data: dict = DATA, network: Any = NETWORK,
          later: bool = False, **metrics: float) -> str:  # fmt: skip
    """Weights with what a run says of them."""
    metrics = {name.replace('__', '/'): value for name, value in metrics.items()}
    origin: dict[str, Any] = {'dataset': data, 'metrics': metrics}
    if later:
        origin.update(metrics={}, last_validation={'metrics': metrics, 'metrics_iter': 1})
    record = {'network': network, 'origin': origin}
    write_weights(path, {'a': torch.zeros(1)}, {} if beside else {'student': record})
    if beside:
        write_sidecar(path, record, 1)
    return str(path)


def lines_of(tmp_path: Path, teacher: str | None, start: str = '', end: float | None = None,
             data_root: str = 'data/shapes', place: str = 'distillation') -> list[str]:  # fmt: skip
    """Warnings of a run with this teacher."""
    run = runner(tmp_path / 'run', Slope())
    block = dict(teacher=dict(checkpoint=teacher))
    init = dict(type='Pretrained', checkpoint=start) if start else None
    run.cfg = Config(dict(
        model=dict(backbone=dict(init_cfg=init)),
        train_dataloader=dict(dataset=dict(dataset={**DATA, 'data_root': data_root})),
    ))  # fmt: skip
    if place == 'hook':
        run.cfg.custom_hooks = [dict(type='DistillationHook', **block)]
    else:
        run.cfg[place] = {**run.cfg.get(place, {}), 'type': 'SpecificDistiller', **block}
    lines = Lines()
    lines.setLevel(logging.WARNING)
    run.logger.setLevel(logging.INFO)
    run.logger.addHandler(lines)
    hook = TeacherMetricHook()
    hook.before_train(run)
    if end is not None:
        hook.after_val_epoch(run, {'accuracy/top1': end})
        hook.after_train(run)
    return lines.lines


@pytest.mark.parametrize('place', ['distillation', 'model', 'hook'])
def test_a_teacher_that_guesses_is_warned_of(tmp_path, place):
    teacher = write(tmp_path / 'weights.pth', accuracy__top1=11.0)
    (line,) = lines_of(tmp_path, teacher, place=place)
    assert line.startswith('the teacher knows next to nothing: ')
    assert f'{teacher} with accuracy/top1 11' in line
    assert 'guessing gives about 10' in line


def test_of_errors_less_is_better():
    teacher = Known('a.pth', 'abs_rel', 0.10, DATA, 0)
    assert not teacher.near_chance
    assert teacher.worse_than(0.08) and not teacher.worse_than(0.12)
    assert Known('a.pth', 'abs_rel', math.nan, DATA, 0).near_chance
    assert Known('a.pth', 'mIoU', 40.0, DATA, 0).worse_than(41.0)


def test_a_good_one_is_not(tmp_path):
    assert lines_of(tmp_path, write(tmp_path / 'weights.pth', accuracy__top1=70.0)) == []


@pytest.mark.parametrize(('metric', 'value', 'classes', 'near'), [
    ('accuracy/top1', 10.0, 10, True), ('accuracy/top1', 18.9, 10, True),
    ('accuracy/top1', 19.1, 10, False),
    ('accuracy/top1', 0.15, 1000, True), ('accuracy/top1', 0.3, 1000, False),
    ('accuracy/top1', 54.0, 2, True), ('accuracy/top1', 60.0, 2, False),
    ('accuracy/top1', float('nan'), 2, True),
    ('accuracy/top1', 0.5, 0, True), ('accuracy/top1', 1.5, 0, False),
    ('coco/bbox_mAP', 0.0, 80, True), ('coco/segm_mAP', 0.009, 80, True),
    ('coco/bbox_mAP', 0.02, 80, False), ('coco/bbox_mAP', -1.0, 80, True),
    ('mIoU', 8.5, 11, True), ('mIoU', 20.0, 11, False),  # 8.5: all is background
    ('mIoU', 47.0, 2, True), ('mIoU', 0.6, 150, True), ('mIoU', 5.0, 150, False),
])  # fmt: skip
def test_what_counts_as_guessing(metric, value, classes, near):
    assert Known('x.pth', metric, value, DATA, classes).near_chance is near


def test_a_file_that_says_nothing_is_not_judged(tmp_path):
    nothing = write(tmp_path / 'a.pth')
    bare = tmp_path / 'b.pth'
    write_weights(bare, {'a': torch.zeros(1)}, {})
    broken = write(tmp_path / 'c.pth', accuracy__top1=1.0)
    (tmp_path / 'c.json').write_text('{')
    for file in (nothing, str(bare), broken, '/no/such.pth'):
        assert known_metric(file) is None
        assert lines_of(tmp_path, file, end=90.0) == []
    assert lines_of(tmp_path, None) == []


def test_what_the_file_itself_says_counts_too(tmp_path):
    file = write(tmp_path / 'epoch_1.pth', beside=False, accuracy__top1=12.0)
    assert known_metric(file) == Known(file, 'accuracy/top1', 12.0, DATA, 10)
    file = write(tmp_path / 'x.pth', later=True, mIoU=12.0, network={
        **NETWORK, 'model': {'decode_head': {'num_classes': 3}}})  # fmt: skip
    assert known_metric(file) == Known(file, 'mIoU', 12.0, DATA, 3)
    file = write(tmp_path / 'y.pth', coco__bbox_mAP=0.2, network={
        **NETWORK, 'model': {}, 'classes': ['a', 'b']})  # fmt: skip
    assert known_metric(file) == Known(file, 'coco/bbox_mAP', 0.2, DATA, 2)


def test_a_teacher_below_what_its_student_starts_from_is_warned_of(tmp_path):
    teacher = write(tmp_path / 'weights.pth', accuracy__top1=70.0)
    better = write(tmp_path / 'better.pth', accuracy__top1=80.0)
    (line,) = lines_of(tmp_path, teacher, start=better)
    assert line.startswith('the teacher is below its student')
    assert better in line
    worse = write(tmp_path / 'worse.pth', accuracy__top1=60.0)
    elsewhere = write(tmp_path / 'else.pth', accuracy__top1=80.0, data={'data_root': 'other'})
    for start in (worse, elsewhere, '/no/such.pth'):
        assert lines_of(tmp_path, teacher, start=start) == []


def test_a_teacher_that_ends_below_its_student_is_warned_of(tmp_path):
    teacher = write(tmp_path / 'weights.pth', accuracy__top1=70.0)
    (line,) = lines_of(tmp_path, teacher, end=75.0)
    assert 'the student ends with 75' in line
    assert lines_of(tmp_path, teacher, end=65.0) == []
    assert lines_of(tmp_path, teacher, end=float('nan')) == []
    assert lines_of(tmp_path, teacher, end=75.0, data_root='other') == []


@pytest.mark.slow
def test_a_run_from_a_detector_that_finds_nothing_warns_before_its_first_step(tmp_path):
    with data_in(tmp_path):
        task = make_tasks(tmp_path, {'det': 1})['det']
        teacher = Config.fromfile(task.config).distillation.teacher.checkpoint
        origin = {'dataset': None, 'metrics': {'coco/bbox_mAP': 0.0, 'coco/segm_mAP': 0.0}}
        write_sidecar(teacher, {'network': NETWORK, 'origin': origin}, 1)
        train(task.config, {'train_cfg.max_iters': 1}, work_dir=str(tmp_path / 'run'))
    (log,) = (tmp_path / 'run').glob('*/*.log')
    lines = [line for line in log.read_text().splitlines() if ' - mmengine - ' in line]
    (place,) = [i for i, line in enumerate(lines) if 'the teacher knows next to nothing' in line]
    steps = [i for i, line in enumerate(lines) if '(train)' in line]
    assert 'WARNING' in lines[place]
    assert f'{teacher} with segm_mAP 0' in lines[place]
    assert place < min(steps)
