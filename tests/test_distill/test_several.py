"""Several teachers at once: names, weights, dropping, and what hooks and records make of them."""

from __future__ import annotations

import copy
import json
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.structures import BaseDataElement
from torch import nn

from g2sd_mm.checkpoints import CheckpointError
from g2sd_mm.checkpoints.record import describe_origin
from g2sd_mm.config.classes import apply_classes
from g2sd_mm.config.load import check_channels
from g2sd_mm.config.parts import teachers_in
from g2sd_mm.distill import (
    Features,
    FrozenTeacher,
    SpecificDistiller,
    TeacherCostHook,
    TeacherGuardHook,
    TeacherMetricHook,
)
from g2sd_mm.distill.config import distill_config
from g2sd_mm.distill.several import TeacherDrop, flat, some_images
from g2sd_mm.engine.hooks.access import frozen_networks
from g2sd_mm.models.masking import random_masking
from g2sd_mm.runs.agreement import compares_classes
from g2sd_mm.runs.verify import roles

from ..helpers.toys import TEACHER, autoencoder, images, refused, save, stage1_cfg, words

NAMES = ('mae', 'pixels')


class Pixels(FrozenTeacher):
    """The image itself, patch by patch."""

    width = 192

    def __init__(self) -> None:
        super().__init__(nn.PixelUnshuffle(8))
        self.asked = 0

    def answer(self, images, view):
        self.asked += 1
        return Features(None, self.model(images).movedim(1, -1))


def block(**changes: Any) -> dict[str, Any]:
    """A masked autoencoder and the pixels; the student's last tokens predict both."""
    one = stage1_cfg()['distillation']
    return {
        'teachers': dict(mae=one['teacher'], pixels=dict(type=Pixels)),
        'taps': {
            'mae.tokens': one['taps']['tokens'],
            'pixels.tokens': dict(student='decoder_blocks.-1'),
        },
        'adapters': {
            'mae.tokens': one['adapters']['tokens'],
            'pixels.tokens': dict(type='MlpAdapter', in_channels=12, out_channels=192),
        },
        'losses': dict(
            loss_mae=dict(type='SmoothL1FeatureLoss', tap='mae.tokens'),
            loss_pixels=dict(type='MSEFeatureLoss', tap='pixels.tokens', tokens='patches'),
        ),
        **changes,
    }


def two(**changes: Any) -> SpecificDistiller:
    torch.manual_seed(0)
    model = SpecificDistiller(student=stage1_cfg()['model'], **block(**changes))
    model.init_weights()
    return model


def samples(*seeds: int) -> list[BaseDataElement]:
    return [BaseDataElement(metainfo={'sample_seed': seed}) for seed in seeds]


def losses(model, number: int = 4, first: int = 0) -> dict[str, torch.Tensor]:
    return model(images(number), samples(*range(first, first + number)), mode='loss')


# The losses ---------------------------------------------------------------------------------------


def alone(model: SpecificDistiller, name: str) -> SpecificDistiller:
    """The same student with one of the teachers, its only one."""
    all_of = block()
    cut = {key: {tap.removeprefix(f'{name}.'): part for tap, part in all_of[key].items()
                 if tap.startswith(f'{name}.')} for key in ('taps', 'adapters')}  # fmt: skip
    loss = dict(all_of['losses'][f'loss_{name}'], tap='tokens')
    one = SpecificDistiller(
        student=stage1_cfg()['model'], teacher=all_of['teachers'][name],
        losses={f'loss_{name}': loss}, **cut,
    )
    one.student.load_state_dict(model.student.state_dict())
    adapter = model.distillation.adapters[f'{name}/tokens']
    one.distillation.adapters['tokens'].load_state_dict(adapter.state_dict())
    one.teacher.model.load_state_dict(model.teachers[name].model.state_dict())
    return one


@pytest.mark.parametrize('name', NAMES)
def test_each_teachers_loss_is_that_of_the_teacher_alone(name):
    model = two()
    together = losses(model)
    expected = losses(alone(model, name))[f'loss_{name}']
    assert torch.equal(together[f'loss_{name}'], expected)
    assert set(together) == {'loss_mae', 'loss_pixels', 'explained_variance_mae',
                             'explained_variance_pixels'}  # fmt: skip


def test_every_teacher_is_asked_once_a_step_and_everything_is_trained():
    model = two()
    sum(v for k, v in losses(model).items() if 'loss' in k).backward()
    assert model.teachers['pixels'].asked == 1
    trained = [p for p in model.parameters() if p.requires_grad]
    assert all(p.grad is not None and p.grad.any() for p in trained)
    assert frozen_networks(model) == tuple(t.model for t in model.teachers.values())
    with pytest.raises(ValueError, match='several teachers'):
        model.teacher  # noqa: B018
    assert copy.deepcopy(model).teachers['mae'] is model.teachers['mae']


def test_taps_and_adapters_may_be_written_inside_of_a_teachers_name():
    dotted = block()
    nested = block(
        taps={name: {'tokens': dotted['taps'][f'{name}.tokens']} for name in NAMES},
        adapters={name: {'tokens': dotted['adapters'][f'{name}.tokens']} for name in NAMES},
    )
    assert flat(nested['taps'], NAMES) == dotted['taps']
    assert flat(nested['adapters'], NAMES) == dotted['adapters']
    assert losses(two(**nested)).keys() == losses(two()).keys()


def test_the_only_teacher_may_stand_among_several():
    one = {key: {tap: part for tap, part in block()[key].items() if tap.startswith('mae')}
           for key in ('teachers', 'taps', 'adapters')}  # fmt: skip
    model = two(**one, losses=dict(loss_mae=block()['losses']['loss_mae']))
    torch.manual_seed(0)
    cfg = stage1_cfg()
    plain = SpecificDistiller(student=cfg['model'], **cfg['distillation'])
    plain.init_weights()
    # the same draws of weights, and so the same numbers
    assert torch.equal(losses(model)['loss_mae'], losses(plain)['loss_tokens'])
    assert model.teachers['mae'].checksum() == plain.teacher.checksum()


@pytest.mark.parametrize(('changes', 'parts'), [
    (dict(taps={'tokens': 'decoder_blocks.-1'}), ("'tokens'", 'mae, pixels', 'mae.tokens')),
    (dict(taps={'dino.tokens': 'norm'}), ("'dino.tokens'", 'mae, pixels')),
    (dict(teachers={'a.b': {}}), ("'a.b'", 'letters')),
    (dict(teachers={'student': {}}), ("'student'",)),
    (dict(teachers={}), ('distillation.teachers is empty',)),
    (dict(teacher=dict(type=Pixels)), ('either teacher', 'or teachers')),
    (dict(teacher_drop=dict(probability=1.0)), ('teacher_drop.probability=1.0',)),
    (dict(losses=dict(loss_both=dict(type='MSEFeatureLoss', inputs=dict(
        student='student.mae.tokens', teacher=['teacher.mae.tokens', 'teacher.pixels.patches'])))),
     ('loss_both', 'mae and pixels', 'a loss of its own')),
])  # fmt: skip
def test_what_does_not_fit_together_is_refused(changes, parts):
    with refused(*parts):
        two(**changes)


# Dropping -----------------------------------------------------------------------------------------


def test_one_teacher_stays_at_least_and_each_as_often_as_is_said():
    drop = TeacherDrop('abc', probability=0.6)
    stays = drop.of_images(30_000, samples(*range(30_000)))
    counted = torch.zeros(30_000)
    for name in 'abc':
        counted[stays[name]] += 1
        assert len(stays[name]) / 30_000 == pytest.approx(0.4 + 0.6**3 / 3, abs=0.01)
    assert counted.min() == 1 and counted.max() == 3
    assert drop.share == pytest.approx(0.4 + 0.6**3 / 3)


def test_what_is_dropped_follows_from_the_sample_and_not_from_the_batch():
    drop = TeacherDrop('ab', probability=0.5)
    whole = drop.of_images(40, samples(*range(40)))
    for name in 'ab':
        parts = [drop.of_images(8, samples(*range(i, i + 8)))[name] + i for i in range(0, 40, 8)]
        assert torch.equal(torch.cat(parts), whole[name])
        assert 5 < len(whole[name]) < 40


def test_dropped_images_do_not_count_and_the_rest_is_scaled():
    drop = dict(probability=0.5)
    model, plain = two(teacher_drop=drop), two()
    stays = TeacherDrop(NAMES, 0.5).of_images(4, samples(*range(4)))
    value, singly = losses(model), [losses_of_image(plain, i) for i in range(4)]
    for name in NAMES:
        kept = stays[name].tolist()
        expected = sum(singly[i][f'loss_{name}'] for i in kept) / 4 / 0.625
        assert value[f'loss_{name}'].item() == pytest.approx(float(expected), rel=1e-5)
    assert {len(kept) for kept in stays.values()} != {4}
    assert torch.equal(losses(model)['loss_mae'], value['loss_mae'])
    model.eval()  # all teachers count where nothing is trained
    plain.eval()
    assert torch.equal(losses(model)['loss_mae'], losses(plain)['loss_mae'])


def losses_of_image(model, number: int) -> dict[str, torch.Tensor]:
    return model(images(4)[number : number + 1], samples(number), mode='loss')


def test_where_no_image_is_left_the_loss_is_zero_and_has_a_graph():
    model = two(teacher_drop=dict(probability=0.9))
    drop = model.distillation.drop
    seed = next(s for s in range(100) if not len(drop.of_images(1, samples(s))['pixels']))
    value = model(images(1), samples(seed), mode='loss')
    assert value['loss_pixels'] == 0 and value['loss_mae'] > 0
    sum(v for k, v in value.items() if 'loss' in k).backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_some_images_of_anything():
    batch = torch.arange(12.0).reshape(4, 3)
    view = random_masking(torch.rand(4, 4), 0.5)
    value = dict(a=batch, b=[batch, (batch,)], c=Features(None, batch), d=view, e=2.0)
    part = some_images(value, torch.tensor([1, 3]), 4)
    assert torch.equal(part['a'], batch[[1, 3]]) and torch.equal(part['b'][1][0], batch[[1, 3]])
    assert part['c'].cls is None and torch.equal(part['c'].patches, batch[[1, 3]])
    assert torch.equal(part['d'].keep, view.keep[[1, 3]]) and part['d'].hidden is None
    assert part['e'] == 2.0


# Hooks and records --------------------------------------------------------------------------------


def run_of(model, logger) -> SimpleNamespace:
    return SimpleNamespace(
        model=model, logger=logger, iter=0, optim_wrapper=SimpleNamespace(param_groups=[])
    )


def test_the_guard_looks_at_all_teachers(logger):
    model, hook = two(), TeacherGuardHook(interval=1)
    run = run_of(model, logger)
    hook.before_train(run)
    lines = logger.handlers[0].lines
    assert [line.split()[1] for line in lines] == ['mae:', 'pixels:']
    hook.before_train_iter(run, 0)
    model(torch.zeros(4, 3, 32, 32), samples(*range(4)), mode='loss')
    hook.after_train_iter(run, 0)
    assert [line[:26] for line in lines[2:]] == ['the teacher pixels is dead']
    assert all(teacher.listener is None for teacher in model.teachers.values())
    hook.before_train_iter(run, 1)
    model.teachers['mae'].model.cls_token.data += 1
    with pytest.raises(RuntimeError, match='frozen teacher mae changed'):
        hook.after_train_iter(run, 1)
    run.optim_wrapper.param_groups = [dict(params=[*model.teachers['mae'].model.parameters()])]
    with pytest.raises(RuntimeError, match='the optimizer holds parameters of the teacher'):
        hook.before_train(run)


def test_time_and_memory_of_each_teacher_are_logged(logger):
    model = two()
    hub = MessageHub.get_instance('costs of teachers')
    run = SimpleNamespace(model=model, logger=logger, message_hub=hub, hooks=[])
    hook, spans = TeacherCostHook(interval=2), []
    hook.before_train(run)
    for run.iter in range(4):
        hook.before_train_iter(run, run.iter)
        losses(model)
        hook.after_train_iter(run, 0)
        names = [n for n in hub.log_scalars if 'time_teacher' in n]
        spans.append([len(hub.get_scalar(n).data[0]) for n in names])
    # the first and every second one
    assert spans == [[1, 1], [2, 2], [2, 2], [3, 3]]
    assert hub.get_scalar('train/time_teacher_mae').current() > 0
    assert hub.get_scalar('train/time_teacher_mae').current() < 10
    sizes = [line for line in logger.handlers[0].lines if 'MiB of weights' in line]
    parameters = sum(p.numel() for p in model.teachers['mae'].model.parameters())
    assert sizes[0].startswith(f'teacher mae: {parameters / 1e6:.1f} M parameters')
    assert len(sizes) == 2 and model.distillation.stopwatch is None


def config(folder, **changes: Any) -> Config:
    """A stage-1 config with two masked autoencoders from files."""
    files = {name: save(folder / f'{name}.pth', autoencoder(seed=i), **changes)
             for i, name in enumerate('ab')}  # fmt: skip
    one = stage1_cfg()['distillation']
    parts = {key: {f'{name}.tokens': one[key]['tokens'] for name in 'ab'}
             for key in ('taps', 'adapters')}  # fmt: skip
    teachers = {name: {**one['teacher'], 'checkpoint': file, 'random_weights': False}
                for name, file in files.items()}  # fmt: skip
    losses_ = {f'loss_{name}': dict(type='SmoothL1FeatureLoss', tap=f'{name}.tokens')
               for name in 'ab'}  # fmt: skip
    block_ = dict(teachers=teachers, losses=losses_, **parts)
    return Config(dict(model=stage1_cfg()['model'], distillation=block_, custom_hooks=[]))


def test_the_record_names_all_teachers(tmp_path):
    cfg = config(tmp_path)
    for form in (cfg, distill_config(cfg)):
        origin = describe_origin(form)
        assert origin['teacher'] is None
        assert {name: entry['file'] for name, entry in origin['teachers'].items()} == {
            name: str(tmp_path / f'{name}.pth') for name in 'ab'
        }
        assert len({entry['sha256'] for entry in origin['teachers'].values()}) == 2
        json.dumps(origin)
    one = Config(stage1_cfg(teacher=dict(checkpoint='a.pth')))
    assert 'teachers' not in describe_origin(one)
    assert describe_origin(one)['teacher']['file'] == 'a.pth'
    assert describe_origin(Config(dict(model={})))['teacher'] is None


def test_a_config_with_several_becomes_a_distilled_one(tmp_path):
    cfg = distill_config(config(tmp_path))
    kinds = [hook.type for hook in cfg.custom_hooks]
    assert kinds == ['LossWarmupHook', 'TeacherGuardHook', 'WeightsExportHook', 'TeacherCostHook']
    assert list(teachers_in(cfg.model)) == ['a', 'b']
    dumped = Config.fromstring(cfg.pretty_text, '.py')
    assert dumped.model.adapters['a.tokens'] == cfg.model.adapters['a.tokens']
    both = config(tmp_path)
    both.distillation.teacher = dict(type='MAETeacher')
    with pytest.raises(ValueError, match=words('teacher and teachers', 'teacher=None')):
        distill_config(both)
    both.distillation.teacher = None
    assert 'teacher' not in distill_config(both).model


def test_every_teachers_file_is_verified(tmp_path):
    cfg = config(tmp_path)
    checks = roles(cfg, 'config.py')
    assert {'teacher a', 'teacher b'} <= set(checks) and 'teacher' not in checks
    checks['teacher b'](cfg.distillation.teachers.b.checkpoint)
    wide = save(tmp_path / 'wide.pth', autoencoder({**TEACHER, 'decoder': {
        'embed_dim': 12, 'depth': 3, 'num_heads': 2}}))  # fmt: skip
    with pytest.raises(CheckpointError, match=words('wide.pth', 'of another size')):
        checks['teacher b'](wide)


def test_every_teachers_metric_is_judged(tmp_path, logger):
    origin = dict(metrics={'accuracy/top1': 1.0}, dataset=None)
    record = dict(origin=origin, network=None)
    cfg = config(tmp_path, student=record)
    hook = TeacherMetricHook()
    hook.before_train(SimpleNamespace(cfg=cfg, logger=logger, hooks=[]))
    lines = [line.split(':')[0] for line in logger.handlers[0].lines if line.startswith('teacher')]
    assert lines == ['teacher a', 'teacher b']


def test_every_teachers_channels_are_compared_with_the_students(tmp_path):
    cfg = config(tmp_path)
    check_channels(cfg)
    cfg.distillation.teachers.b.in_channels = 4
    with refused('model.in_channels=3', 'distillation.teachers.b.in_channels=4'):
        check_channels(cfg)


@pytest.mark.parametrize('form', ['dotted', 'nested'])
def test_classes_are_compared_with_a_teacher_whose_tap_tells_them_apart(form):
    network = dict(model=dict(backbone=dict(type='A'), head=dict(type='B', num_classes=3)))
    taps = dict(a=dict(x='backbone'), b=dict(x=dict(student='head', teacher='head.fc')))
    if form == 'dotted':
        taps = {f'{name}.x': tap['x'] for name, tap in taps.items()}
    block_ = dict(teachers={name: dict(config=network) for name in 'ab'}, taps=taps)
    assert [compares_classes(block_, name) for name in 'ab'] == [False, True]


def test_class_counts_reach_every_teacher_that_runs_a_head():
    own = dict(config='teacher.py')
    teachers = dict(
        a=dict(forward=('backbone', 'head'), **own), b=dict(forward=('backbone',), **own))
    cfg = Config(dict(
        num_classes=7, distillation=dict(teachers=teachers),
        model=dict(type='ImageClassifier', head=dict(num_classes=3)),
    ))  # fmt: skip
    apply_classes(cfg)
    found = [dict(teacher.overrides) for teacher in teachers_in(cfg.distillation).values()]
    assert found == [{'model.head.num_classes': 7}, {}]
