"""``DistillationHook``: the same losses for a model that keeps its own train script."""

from __future__ import annotations

import copy

import pytest
import torch
from mmengine.registry import HOOKS, MODELS

import g2sd_mm
from g2sd_mm.checkpoints import CheckpointError
from g2sd_mm.distill import DistillationHook

from ..runs import Slope, runner
from ..toys import classifier, classifier_cfg, images, labelled, save, words
from .test_config import BLOCK, stock
from .test_specific import RESNET


def block(folder, **loss) -> dict:
    """A block with a teacher from a file."""
    path = save(folder / 'teacher.pth', classifier(dim=24, seed=7))
    teacher = dict(config=dict(model=classifier_cfg(dim=24)), checkpoint=path)
    losses = dict(loss_dist=dict(BLOCK['losses']['loss_dist'], **loss))
    return dict(BLOCK, teacher=teacher, losses=losses)


def hooked(folder, model, **loss):
    hook = HOOKS.build(dict(type='DistillationHook', **block(folder, **loss)))
    return hook, runner(folder, model, custom_hooks=[hook])


def student(seed: int = 0):
    torch.manual_seed(seed)
    return MODELS.build(copy.deepcopy(RESNET))


def test_it_gives_the_losses_of_the_distiller(tmp_path):
    """The same student, teacher and batch, once with a block and once with the hook."""
    made = block(tmp_path)
    distilled = MODELS.build(g2sd_mm.distill_config(stock(distillation=made)).model)
    model = student()
    distilled.student.load_state_dict(model.state_dict())
    hook, run = hooked(tmp_path, model)
    hook.before_train(run)
    losses = model(images(4), labelled([0, 1, 2, 0]), mode='loss')
    expected = distilled(images(4), labelled([0, 1, 2, 0]), mode='loss')
    assert set(losses) == set(expected) == {'loss_task', 'loss_dist'}
    for name, loss in losses.items():
        assert torch.equal(loss, expected[name]), name


def test_a_whole_run_with_it_ends_as_one_with_a_block(tmp_path):
    """Same weights after eight updates, warm-up of the loss included."""
    made = block(tmp_path, warmup=4)
    cfg = stock()
    model = MODELS.build(dict(**cfg.model, _scope_='mmpretrain',
                              data_preprocessor=cfg.data_preprocessor))
    start = copy.deepcopy(model.state_dict())
    cfg = g2sd_mm.distill_config(stock(distillation=made))
    distilled = MODELS.build(cfg.model)
    distilled.student.load_state_dict(start)
    for network in (distilled, model):  # the runner would initialise them differently
        network.init_weights = lambda: None
    slow = dict(optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)))
    runner(tmp_path / 'block', distilled, custom_hooks=cfg.custom_hooks, **slow).train()
    runner(tmp_path / 'hook', model, custom_hooks=[DistillationHook(**made)], **slow).train()
    end = model.state_dict()
    assert not torch.equal(end['head.fc.weight'], start['head.fc.weight'])
    for name, tensor in distilled.student.state_dict().items():
        assert torch.equal(tensor, end[name]), name


def test_it_changes_what_is_learnt(tmp_path):
    ends = []
    for weight in (0.0, 5.0):
        model = student()
        model.init_weights = lambda: None
        _, run = hooked(tmp_path, model, loss_weight=weight)
        run.train()
        ends.append(model.head.fc.weight.clone())
    assert not torch.equal(*ends)


def test_it_leaves_the_model_as_it_was(tmp_path):
    model = student()
    names = set(model.state_dict())
    _, run = hooked(tmp_path, model)
    run.train()
    assert 'loss' not in vars(model)
    assert not model.head.fc._forward_hooks
    assert set(model.state_dict()) == names
    assert set(model(images(4), labelled([0, 1, 2, 0]), mode='loss')) == {'loss'}


def test_checkpoints_do_not_hold_the_teacher(tmp_path):
    model = student()
    names = set(model.state_dict())
    hook = DistillationHook(**block(tmp_path))
    checkpoints = dict(logger=None, checkpoint=dict(type='CheckpointHook', interval=1))
    runner(tmp_path, model, custom_hooks=[hook], default_hooks=checkpoints).train()
    saved = torch.load(tmp_path / 'epoch_1.pth', weights_only=False)
    assert set(saved['state_dict']) == names


def test_adapters_are_refused():
    message = words('cannot do adapters', 'after the optimizer', 'g2sd_mm.distill_config(cfg)')
    with pytest.raises(ValueError, match=message):
        DistillationHook(**BLOCK, adapters=dict(logits=dict(type='LevelAdapters')))


def test_a_model_without_a_loss_method_is_refused(tmp_path):
    _, run = hooked(tmp_path, Slope())
    with pytest.raises(TypeError, match=words('loss(inputs, data_samples)', 'Slope has none')):
        run.train()


def test_a_wrong_teacher_stops_before_the_first_step(tmp_path):
    model = student()
    before = copy.deepcopy(model.state_dict())
    model.init_weights = lambda: None
    _, run = hooked(tmp_path, model)
    save(tmp_path / 'teacher.pth', classifier(dim=16))
    with pytest.raises(CheckpointError, match='another size'):
        run.train()
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
