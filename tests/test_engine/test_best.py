"""What is validated is what is saved, also where a hook averages weights."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.hooks import CheckpointHook, EMAHook, Hook

from benchmarks.faults.tasks import data_in, make_tasks
from g2sd_mm.checkpoints import read_weights
from g2sd_mm.checkpoints.record import read_sidecar
from g2sd_mm.engine.hooks.export import WeightsExportHook
from g2sd_mm.errors import UserError
from g2sd_mm.runs.test import evaluate
from g2sd_mm.runs.train import train
from g2sd_mm.students.extract import extract_student

from ..helpers.runs import Slope, loader, runner
from ..helpers.toys import Lines, distiller, words

METRICS = {'cls': 'accuracy/top1', 'det': 'coco/bbox_mAP', 'seg': 'mIoU'}
AVERAGE = dict(type='EMAHook', momentum=0.2)


# A model of one weight: after update n it is -n ---------------------------------------------------


class Weight(BaseMetric):
    """Its value is the weight that is validated."""

    default_prefix = 'w'

    def process(self, data_batch, data_samples):
        self.results.append(float(data_samples[0]['weight']))

    def compute_metrics(self, results):
        return {'value': results[0]}


class Validated(Slope):
    """Answers with its weight."""

    def forward(self, inputs=None, data_samples=None, mode='tensor'):
        if mode == 'predict':
            return [{'weight': self.weight.item()}]
        return super().forward(inputs, data_samples, mode)


def validated_run(
    folder: Path, *hooks, interval: int = 1, epochs: int = 2, rule: str = 'less', **changes
):
    checkpoint = dict(type='CheckpointHook', interval=1, save_best='w/value', rule=rule)
    return runner(
        folder, Validated(), val_dataloader=loader(),
        val_evaluator=Evaluator([Weight()]), val_cfg=dict(),
        train_cfg=dict(by_epoch=True, max_epochs=epochs, val_interval=interval),
        default_hooks=dict(logger=None, checkpoint=checkpoint),
        custom_hooks=[dict(type='WeightsExportHook'), *hooks], **changes,
    )  # fmt: skip


def weight(path: Path) -> float:
    return read_weights(path).state['weight'].item()


def averages(updates: int, momentum: float = 0.2) -> list[float]:
    """The average after each update, by its definition."""
    found = []
    for step in range(1, updates + 1):
        found.append(-1.0 if step == 1 else (1 - momentum) * found[-1] - momentum * step)
    return found


@pytest.mark.parametrize('priority', ['VERY_HIGH', 'NORMAL', 'LOW', 75])
def test_all_files_hold_what_was_validated(tmp_path, priority):
    """Wherever the averaging hook stands among the hooks before the checkpoint's."""
    run = validated_run(tmp_path, dict(AVERAGE, priority=priority))
    run.train()
    expected = averages(8)[-1]
    assert run.model.weight.item() == -8.0
    assert run.message_hub.get_scalar('val/w/value').current() == pytest.approx(expected)
    (best,) = tmp_path.glob('best_w_*.pth')
    for path in (tmp_path / 'weights.pth', tmp_path / 'best_weights.pth', best,
                 tmp_path / 'epoch_2.pth'):  # fmt: skip
        assert weight(path) == pytest.approx(expected), path.name
    for name in ('weights.pth', 'best_weights.pth'):
        assert read_sidecar(tmp_path / name)['origin']['metrics'] == {
            'w/value': pytest.approx(expected)
        }


def test_without_a_validation_at_the_end_the_average_is_saved_without_a_metric(tmp_path):
    checkpoint = dict(type='CheckpointHook', interval=1)
    run = runner(
        tmp_path, Slope(), default_hooks=dict(logger=None, checkpoint=checkpoint),
        custom_hooks=[dict(type='WeightsExportHook'), AVERAGE],
    )  # fmt: skip
    run.train()
    assert weight(tmp_path / 'weights.pth') == pytest.approx(averages(8)[-1])
    assert run.model.weight.item() == -8.0  # and stays what it was


def test_a_run_that_is_stopped_early_saves_what_it_validated(tmp_path):
    class Stop(Hook):
        def after_val_epoch(self, runner, metrics=None):
            runner.train_loop.stop_training = True

    run = validated_run(tmp_path, AVERAGE, Stop(), epochs=9)
    run.train()
    assert run.iter == 4
    assert weight(tmp_path / 'weights.pth') == pytest.approx(averages(4)[-1])


def test_metrics_stand_beside_the_weights_that_they_are_of(tmp_path):
    """Validation after epochs 2 and 3; the checkpoint of epoch 3 is saved before its own."""
    validated_run(tmp_path, AVERAGE, interval=2, epochs=3, rule='greater').train()
    origin = read_weights(tmp_path / 'epoch_3.pth').meta['student']['origin']
    assert origin['metrics'] == {}
    assert origin['last_validation']['metrics_iter'] == 8
    (best,) = tmp_path.glob('best_w_*.pth')
    assert read_weights(best).meta['student']['origin']['metrics_iter'] == 8


class Exchanging(Hook):
    """Somebody's own averaging: validates 100, and tells checkpoints nothing of it."""

    priority = 'NORMAL'

    def before_val_epoch(self, runner):
        self.own = runner.model.weight.item()
        runner.model.weight.data.fill_(100.0)

    def after_val_epoch(self, runner, metrics=None):
        runner.model.weight.data.fill_(self.own)


def test_of_somebodys_own_averaging_the_validated_weights_are_exported(tmp_path):
    run = validated_run(tmp_path, Exchanging())
    lines = Lines()
    run.logger.addHandler(lines)
    run.train()
    assert [weight(tmp_path / f'{name}weights.pth') for name in ('', 'best_')] == [100.0, 100.0]
    assert weight(tmp_path / 'epoch_2.pth') == -8.0
    (line,) = [line for line in lines.lines if 'training checkpoints do not hold' in line]
    assert 'weights.pth and best_weights.pth hold' in line
    # a checkpoint does not lend the metric to the weights that it does hold
    (best,) = tmp_path.glob('best_w_*.pth')
    assert read_weights(best).meta['student']['origin']['metrics'] == {}


def test_hooks_that_agree_are_not_warned_of(tmp_path):
    for folder, hooks in ((tmp_path / 'a', [AVERAGE]), (tmp_path / 'b', [])):
        run = validated_run(folder, *hooks)
        lines = Lines()
        run.logger.addHandler(lines)
        run.train()
        assert not [line for line in lines.lines if 'training checkpoints' in line]


def test_averaging_that_saves_after_the_checkpoint_is_refused(tmp_path):
    with pytest.raises(UserError, match=words('EMAHook', 'LOWEST', 'leave priority out')):
        validated_run(tmp_path, dict(AVERAGE, priority='LOWEST')).train()
    assert list(tmp_path.glob('*.pth')) == []


def test_averaging_that_validates_other_weights_is_refused(tmp_path):
    """mmpretrain's hook can; its other modes hold."""
    with pytest.raises(UserError, match=words('evaluate_on_ema=False', 'leave')):
        validated_run(tmp_path, dict(AVERAGE, _scope_='mmpretrain', evaluate_on_ema=False)).train()
    validated_run(
        tmp_path, dict(AVERAGE, _scope_='mmpretrain', evaluate_on_origin=True)
    ).train()
    assert weight(tmp_path / 'weights.pth') == pytest.approx(averages(8)[-1])
    assert weight(tmp_path / 'best_weights.pth') == pytest.approx(averages(8)[-1])


def test_two_averages_are_refused(tmp_path):
    with pytest.raises(UserError, match=words('2 averaging hooks', 'Keep one')):
        validated_run(tmp_path, AVERAGE, dict(AVERAGE, momentum=0.5)).train()


@pytest.mark.parametrize('kind', ['ExponentialMovingAverage', 'StochasticWeightAverage'])
@pytest.mark.parametrize('file', ['epoch_1.pth', 'best'])
def test_a_resumed_average_goes_on_where_it_was(tmp_path, kind, file):
    hook = dict(type='EMAHook', ema_type=kind)
    validated_run(tmp_path / 'whole', hook, epochs=3).train()
    validated_run(tmp_path / 'half', hook, epochs=1).train()
    start = tmp_path / 'half' / file
    if file == 'best':
        (start,) = (tmp_path / 'half').glob('best_w_*.pth')
    resumed = validated_run(
        tmp_path / 'resumed', hook, dict(type='StrictLoadingHook'), epochs=3, resume=True,
        load_from=str(start),
    )  # fmt: skip
    resumed.train()
    assert resumed.model.weight.item() == -12.0
    for name in ('weights.pth', 'best_weights.pth', 'epoch_3.pth'):
        assert weight(tmp_path / 'resumed' / name) == weight(tmp_path / 'whole' / name), name


def test_an_average_that_is_given_up_leaves_the_trained_weights(tmp_path):
    validated_run(tmp_path / 'half', AVERAGE, epochs=1).train()
    resumed = validated_run(
        tmp_path / 'resumed', dict(type='StrictLoadingHook'), resume=True,
        load_from=str(tmp_path / 'half' / 'epoch_1.pth'),
    )  # fmt: skip
    lines = Lines()
    resumed.logger.addHandler(lines)
    resumed.train()
    assert weight(tmp_path / 'resumed' / 'weights.pth') == -8.0
    assert len([line for line in lines.lines if 'no EMAHook' in line]) == 1


def test_a_copy_of_a_distiller_has_the_same_teacher():
    model = distiller()
    twin = copy.deepcopy(model)
    assert twin.teacher is model.teacher
    assert twin.student is not model.student


# The best is chosen by one metric -----------------------------------------------------------------


def best_of(folder: Path, *validations: dict, **saving) -> float:
    hooks = [CheckpointHook(**saving)] if saving else []
    run, hook = runner(folder, Slope()), WeightsExportHook()
    run._hooks = hooks
    for number, metrics in enumerate(validations):
        run.model.weight.data.fill_(number)
        hook.after_val_epoch(run, metrics)
    return weight(folder / 'best_weights.pth')


def test_the_best_weights_are_those_of_save_best(tmp_path):
    validations = [
        {'accuracy/top1': 50.0, 'error/rate': 0.3}, {'accuracy/top1': 60.0, 'error/rate': 0.4},
        {'accuracy/top1': 40.0, 'error/rate': 0.2},
    ]  # fmt: skip
    assert best_of(tmp_path, *validations) == 1
    assert best_of(tmp_path, *validations, save_best='accuracy/top1') == 1
    assert best_of(tmp_path, *validations, save_best='error/rate', rule='less') == 2
    assert best_of(tmp_path, *validations, save_best='auto') == 1


def test_not_a_number_is_never_the_best(tmp_path):
    nan = float('nan')
    validations = [{'mIoU': nan}, {'mIoU': 3.0}, {'mIoU': nan}, {'mIoU': 2.0}]
    assert best_of(tmp_path, *validations) == 1


def test_the_best_of_before_counts_if_it_is_of_the_same_metric(tmp_path):
    run, hook = runner(tmp_path, Slope()), WeightsExportHook()
    hook.after_val_epoch(run, {'mIoU': 70.0})
    for metric, kept in (('mIoU', 0.0), ('accuracy/top1', 5.0)):
        later, hook = runner(tmp_path, Slope(), resume=True), WeightsExportHook()
        later.train_loop._iter = 1
        later.resumed_from = str(tmp_path / 'iter_1.pth')
        hook.before_train(later)
        later.model.weight.data.fill_(5.0)
        hook.after_val_epoch(later, {metric: 60.0})
        assert weight(tmp_path / 'best_weights.pth') == kept


# All tasks ----------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def tasks(tmp_path_factory):
    folder = tmp_path_factory.mktemp('averaged')
    names = {'stage1': 1, 'cls': 1, 'det': 1, 'seg': 1}
    with data_in(folder):
        yield folder, make_tasks(folder, names, hooks=[dict(AVERAGE, momentum=0.1)])


def averaged(folder: Path, tasks: dict, name: str) -> tuple[SimpleNamespace, Path]:
    work = folder / name
    return train(tasks[name].config, work_dir=str(work)), work


def logged(run: Any, work: Path, metric: str) -> float:
    log = work / run.timestamp / 'vis_data' / 'scalars.json'  # another test may have trained here
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return [line[metric] for line in lines if metric in line][-1]


@pytest.mark.slow
@pytest.mark.parametrize('name', list(METRICS))
def test_the_written_file_has_the_logged_metric(tasks, name):
    """Trained, averaged, validated, exported, extracted and evaluated as a person would."""
    folder, configs = tasks
    run, work = averaged(folder, configs, name)
    (newest,) = sorted(work.glob('[ei]*_[39].pth'))[-1:]
    extract_student(newest, work / 'extracted' / 'student.pth')
    written = read_weights(work / 'weights.pth').state
    trained = run.model.deployable_state()
    assert any(not torch.equal(tensor, trained[key]) for key, tensor in written.items())
    extracted = read_weights(work / 'extracted' / 'student.pth').state
    assert all(torch.equal(tensor, extracted[key]) for key, tensor in written.items())
    metrics = evaluate(
        configs[name].config, str(work / 'weights.pth'), work_dir=str(folder / 'test')
    )
    said = read_sidecar(work / 'weights.pth')['origin']['metrics'][METRICS[name]]
    assert metrics[METRICS[name]] == logged(run, work, METRICS[name]) == said
    best = json.loads((work / 'best_weights.json').read_text())
    metrics = evaluate(
        configs[name].config, str(work / 'best_weights.pth'), work_dir=str(folder / 'test')
    )
    assert metrics[METRICS[name]] == best['origin']['metrics'][METRICS[name]]


@pytest.mark.slow
def test_stage_one_hands_the_average_on(tasks):
    folder, configs = tasks
    run, work = averaged(folder, configs, 'stage1')
    average = next(hook for hook in run.hooks if isinstance(hook, EMAHook)).ema_model.module
    written = read_weights(work / 'weights.pth').state
    assert written.keys() == average.deployable_state().keys()
    assert all(torch.equal(t, average.deployable_state()[name]) for name, t in written.items())
    trained = run.model.deployable_state()
    assert any(not torch.equal(tensor, trained[name]) for name, tensor in written.items())


@pytest.mark.slow
def test_a_resumed_averaged_run_is_the_uninterrupted_one(tasks):
    folder, configs = tasks
    work = folder / 'cls'
    if not (work / 'weights.pth').is_file():
        averaged(folder, configs, 'cls')
    again = folder / 'cls_again'
    train(configs['cls'].config, work_dir=str(again), resume=str(work / 'epoch_2.pth'))
    whole, resumed = (read_weights(f / 'weights.pth').state for f in (work, again))
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in whole.items())
    for name in ('ema_state_dict', 'state_dict'):
        states = [torch.load(f / 'epoch_3.pth', weights_only=False)[name] for f in (work, again)]
        assert all(torch.equal(tensor, states[1][key]) for key, tensor in states[0].items())


