"""The hooks of every run."""

from __future__ import annotations

import logging
import os
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config

from g2sd_mm.checkpoints import read_weights
from g2sd_mm.checkpoints.record import read_sidecar
from g2sd_mm.engine.hooks import export
from g2sd_mm.engine.hooks import reporting as samples
from g2sd_mm.engine.hooks import resuming as seeding
from g2sd_mm.engine.hooks.export import WeightsExportHook
from g2sd_mm.engine.hooks.reporting import SampleErrorHook
from g2sd_mm.engine.hooks.resuming import StepSeedHook
from g2sd_mm.errors import DataError
from g2sd_mm.provenance import file_digest

from ..helpers.runs import Slope, runner
from ..helpers.toys import config, distiller, labelled, words

# StepSeedHook -------------------------------------------------------------------------------------


def draws(seed: int = 0, step: int = 0) -> tuple[float, float, float]:
    StepSeedHook().before_train_iter(SimpleNamespace(seed=seed, iter=step), 0)
    return random.random(), np.random.rand(), torch.rand(1).item()


def test_a_steps_draws_follow_from_seed_step_and_rank_alone(monkeypatch):
    first = draws(1, 5)
    torch.rand(7)
    assert draws(1, 5) == first
    for other in (draws(1, 6), draws(2, 5)):
        assert all(a != b for a, b in zip(first, other, strict=True))
    monkeypatch.setattr(seeding, 'get_rank', lambda: 1)
    assert all(a != b for a, b in zip(first, draws(1, 5), strict=True))


def test_every_step_of_a_run_is_seeded_before_it(tmp_path):
    class Draw(Slope):
        def forward(self, *args, **kwargs):
            drawn.append(torch.rand(1).item())
            return super().forward(*args, **kwargs)

    drawn = []
    runner(tmp_path, Draw(), custom_hooks=[dict(type='StepSeedHook')]).train()
    assert drawn == [draws(0, step)[2] for step in range(8)]


# SampleErrorHook ----------------------------------------------------------------------------------


def batch(*problems: str) -> dict:
    made = labelled([0, 1])
    if problems:
        made[0].set_metainfo({'unreadable': problems})
    return dict(data_samples=made)


def test_unreadable_samples_are_named_once_and_counted(logger):
    hook, run = SampleErrorHook(), SimpleNamespace(logger=logger)
    for problems in (('a.jpg: bad',), (), ('a.jpg: bad', 'b.jpg: worse')):
        hook.after_train_iter(run, 0, batch(*problems))
    hook.after_train(run)
    assert logger.handlers[0].lines == [
        'sample skipped (1 so far): a.jpg: bad',
        'sample skipped (2 so far): b.jpg: worse',
        '2 training sample(s) were unreadable and skipped',
    ]


def test_the_total_is_over_all_ranks(logger, monkeypatch):
    monkeypatch.setattr(samples, 'all_gather_object', lambda own: [own, {'a', 'c'}])
    hook, run = SampleErrorHook(), SimpleNamespace(logger=logger)
    hook.after_train_iter(run, 0, batch('a', 'b'))
    hook.after_train(run)
    assert logger.handlers[0].lines[-1].startswith('3 training sample(s)')


def test_a_clean_run_says_nothing(logger):
    hook, run = SampleErrorHook(), SimpleNamespace(logger=logger)
    for data in (batch(), {'inputs': []}, None, [1, 2]):
        hook.after_train_iter(run, 0, data)
    hook.after_train(run)
    assert logger.handlers[0].lines == []


def test_too_many_unreadable_samples_stop_the_run(logger):
    hook, run = SampleErrorHook(limit=2), SimpleNamespace(logger=logger)
    hook.after_train_iter(run, 0, batch('a', 'b'))
    with pytest.raises(DataError, match=words('3 training samples', 'limit of 2', 'mend')):
        hook.after_train_iter(run, 0, batch('c'))


# WeightsExportHook --------------------------------------------------------------------------------


def best(folder) -> float:
    return read_weights(folder / 'best_weights.pth').state['weight'].item()


def validate(hook: WeightsExportHook, run, weight: float, **metrics: float) -> None:
    run.model.weight.data.fill_(weight)
    hook.after_val_epoch(run, metrics)


def test_the_last_weights_are_written_with_what_they_are(tmp_path):
    model = Slope()
    runner(tmp_path, model, custom_hooks=[dict(type='WeightsExportHook')]).train()
    written = read_weights(tmp_path / 'weights.pth')
    assert written.state == {'weight': model.weight.detach()}
    assert written.meta['model'] == 'Slope'
    assert (written.meta['epoch'], written.meta['iter'], written.meta['seed']) == (2, 8, 0)
    assert not (tmp_path / 'best_weights.pth').exists()


def test_the_best_weights_are_kept(tmp_path):
    run, hook = runner(tmp_path, Slope()), WeightsExportHook()
    for weight, top1 in ((1.0, 50.0), (2.0, 70.0), (3.0, 60.0), (4.0, 70.0)):
        validate(hook, run, weight, **{'accuracy/top1': top1, 'accuracy/top5': 100 - top1})
    assert best(tmp_path) == 2.0
    assert read_weights(tmp_path / 'best_weights.pth').meta['metrics'] == {'accuracy/top1': 70.0}


@pytest.mark.parametrize('metric', ['coco/segm_mAP', 'coco/bbox_mAP', 'mIoU'])
def test_other_tasks_have_their_own_metric(tmp_path, metric):
    run, hook = runner(tmp_path, Slope()), WeightsExportHook()
    validate(hook, run, 1.0, **{metric: 0.5, 'other': 1.0})
    validate(hook, run, 2.0, **{metric: 0.4, 'other': 2.0})
    assert best(tmp_path) == 1.0


def test_a_validation_without_a_known_metric_keeps_nothing(tmp_path):
    run, hook = runner(tmp_path, Slope()), WeightsExportHook()
    validate(hook, run, 1.0, loss=0.5)
    hook.after_val_epoch(run, None)
    assert list(tmp_path.glob('*.pth')) == []


def test_a_resumed_run_knows_the_best_of_before(tmp_path):
    """Also when it was found after the checkpoint was saved, as each epoch's validation is."""
    first, hook = runner(tmp_path, Slope()), WeightsExportHook()
    validate(hook, first, 1.0, **{'accuracy/top1': 70.0})
    resumed = runner(tmp_path, Slope(), resume=True)
    resumed.train_loop._iter = 1  # where the checkpoint was
    resumed.resumed_from = str(tmp_path / 'epoch_1.pth')
    hook = WeightsExportHook()
    hook.before_train(resumed)
    validate(hook, resumed, 2.0, **{'accuracy/top1': 60.0})
    assert best(tmp_path) == 1.0
    resumed.resumed_from = str(tmp_path / 'other' / 'epoch_1.pth')  # the file is another run's
    hook = WeightsExportHook()
    hook.before_train(resumed)
    validate(hook, resumed, 2.0, **{'accuracy/top1': 60.0})
    assert best(tmp_path) == 2.0
    validate(hook, resumed, 3.0, **{'accuracy/top1': 80.0})
    assert best(tmp_path) == 3.0


def resumed_in(folder) -> tuple:
    """A run that goes on after its first step, and its hook."""
    run, hook = runner(folder, Slope(), resume=True), WeightsExportHook()
    run.train_loop._iter = 1
    run.resumed_from = str(folder / 'epoch_1.pth')
    hook.before_train(run)
    return run, hook


def test_a_kill_between_the_best_weights_and_their_json_is_made_up_for(tmp_path, monkeypatch):
    model = Slope()
    model.register_buffer('running_mean', torch.zeros(3))  # statistics are no parameters
    first, hook = runner(tmp_path, model), WeightsExportHook()
    validate(hook, first, 1.0, **{'accuracy/top1': 60.0})
    written = export.write_sidecar
    monkeypatch.setattr(export, 'write_sidecar', lambda *_: None)  # the process is gone by then
    validate(hook, first, 2.0, **{'accuracy/top1': 70.0})
    monkeypatch.setattr(export, 'write_sidecar', written)
    run, hook = resumed_in(tmp_path)
    validate(hook, run, 2.0, **{'accuracy/top1': 70.0})
    record = read_sidecar(tmp_path / 'best_weights.pth')
    assert record['origin']['metrics'] == {'accuracy/top1': 70.0}
    assert record['weights']['parameters'] == 1


def test_damaged_best_weights_do_not_keep_a_run_from_going_on(tmp_path):
    validate(WeightsExportHook(), runner(tmp_path, Slope()), 1.0, **{'accuracy/top1': 70.0})
    os.truncate(tmp_path / 'best_weights.pth', 100)
    run, hook = resumed_in(tmp_path)
    validate(hook, run, 2.0, **{'accuracy/top1': 60.0})
    assert best(tmp_path) == 2.0


def test_a_new_run_forgets_the_best_of_an_old_one(tmp_path):
    validate(WeightsExportHook(), runner(tmp_path, Slope()), 1.0, **{'accuracy/top1': 70.0})
    fresh, hook = runner(tmp_path, Slope()), WeightsExportHook()
    hook.before_train(fresh)
    validate(hook, fresh, 2.0, **{'accuracy/top1': 60.0})
    assert best(tmp_path) == 2.0


def test_of_a_distiller_the_deployable_part_is_written(tmp_path):
    model = distiller()
    run = SimpleNamespace(
        model=model, work_dir=tmp_path, experiment_name='x', epoch=1, iter=1, seed=0,
        logger=logging.getLogger('silent'), cfg=Config(), train_loop=None,
        hooks=[],
    )
    WeightsExportHook().after_train(run)
    written = read_weights(tmp_path / 'weights.pth')
    assert set(written.state) == set(model.deployable_state())
    assert written.meta['model'] == 'MaskedStudent'


def test_beside_the_weights_lies_what_they_are_and_where_they_come_from(tmp_path):
    run, hook = runner(tmp_path, Slope()), WeightsExportHook()
    run.cfg = config('shapes/vits_deploy.py')
    run.train_loop.dataloader = SimpleNamespace(
        dataset=SimpleNamespace(metainfo={'classes': ['a']})
    )
    validate(hook, run, 1.0, **{'accuracy/top1': 50.0, 'accuracy/top5': 90.0})
    validate(hook, run, 2.0, **{'accuracy/top1': 40.0, 'accuracy/top5': 80.0})
    hook.after_train(run)
    for name, top1, top5 in (('best_weights', 50.0, 90.0), ('weights', 40.0, 80.0)):
        record = read_sidecar(tmp_path / f'{name}.pth')
        assert record['weights']['parameters'] == 1
        assert record['network']['task'] == 'classification'
        assert record['network']['classes'] == ['a']
        assert record['origin']['metrics'] == {'accuracy/top1': top1, 'accuracy/top5': top5}
        assert record['origin']['config'].endswith('configs/shapes/vits_deploy.py')
        assert record['origin']['seed'] == 0
        meta = read_weights(tmp_path / f'{name}.pth').meta
        assert meta['student'] == {k: record[k] for k in ('network', 'inputs', 'origin')}
        assert record['inputs']['size'] == [56, 56]


def test_training_checkpoints_carry_it_too(tmp_path):
    runner(
        tmp_path,
        Slope(),
        custom_hooks=[dict(type='WeightsExportHook')],
        default_hooks=dict(logger=None, checkpoint=dict(type='CheckpointHook', interval=1)),
    ).train()
    student = read_weights(tmp_path / 'epoch_1.pth').meta['student']
    assert (student['network'], student['origin']['epoch']) == (None, 1)


def test_files_are_digested_as_they_were_when_training_began(tmp_path):
    teacher = tmp_path / 'teacher.pth'
    teacher.write_bytes(b'before')
    digest = file_digest(teacher)
    run, hook = runner(tmp_path, Slope()), WeightsExportHook()
    run.cfg = Config(dict(model=dict(teacher=dict(checkpoint=str(teacher)))))
    hook.before_train(run)
    teacher.write_bytes(b'after')
    hook.after_train(run)
    origin = read_sidecar(tmp_path / 'weights.pth')['origin']
    assert origin['teacher'] == {'file': str(teacher), 'sha256': digest}


def test_other_ranks_write_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr('g2sd_mm.engine.hooks.export.is_main_process', lambda: False)
    WeightsExportHook().after_train(runner(tmp_path, Slope()))
    assert not (tmp_path / 'weights.pth').exists()


def test_a_failed_write_leaves_the_old_file_and_no_part(tmp_path, monkeypatch):
    run, hook = runner(tmp_path, Slope()), WeightsExportHook()
    validate(hook, run, 1.0, **{'accuracy/top1': 50.0})

    def full(content, file):
        file.write(b'part')
        raise OSError('No space left on device')

    monkeypatch.setattr(torch, 'save', full)
    with pytest.raises(OSError, match='No space left'):
        validate(hook, run, 2.0, **{'accuracy/top1': 60.0})
    monkeypatch.undo()
    assert {p.name for p in tmp_path.glob('*weights*')} == {'best_weights.pth', 'best_weights.json'}
    assert not list(tmp_path.glob('.*'))
    assert best(tmp_path) == 1.0
