"""The entry for people with their own train script, the teacher's check, and warm-ups."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS, MODELS
from torch import nn

import g2sd_mm
from g2sd_mm import register_all
from g2sd_mm.checkpoints import CheckpointError
from g2sd_mm.distill import (
    DistillationHook,
    FrozenTeacher,
    LossWarmupHook,
    TeacherGuardHook,
    hooks,
)
from g2sd_mm.engine.tensors import is_constant

from ..helpers.runs import Slope, runner
from ..helpers.toys import (
    classifier,
    classifier_cfg,
    distiller,
    images,
    labelled,
    refused,
    save,
    words,
)
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


@pytest.mark.parametrize(
    'loss',
    [
        dict(type='MetaSoftDistillationLoss', tap='logits'),  # has buffers
        dict(type='MaskedGenerationLoss', channels=2, tap='logits'),  # has parameters
    ],
)
def test_losses_that_would_be_neither_trained_nor_saved_are_refused(tmp_path, loss):
    made = dict(block(tmp_path), losses=dict(loss_own=loss))
    model = student()
    run = runner(tmp_path, model, custom_hooks=[hook := DistillationHook(**made)])
    with refused('losses.loss_own', 'g2sd_mm.distill_config(cfg)'):
        hook.before_train(run)
    assert 'loss' not in vars(model)


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


# TeacherGuardHook ---------------------------------------------------------------------------------


def guarded(logger, optimised=()) -> SimpleNamespace:
    model = nn.Module()
    model.teacher = FrozenTeacher(nn.Linear(2, 2))
    model.teachers = {'': model.teacher}
    parameters = [*optimised, *([*model.teacher.model.parameters()] if optimised else [])]
    return SimpleNamespace(
        model=model,
        logger=logger,
        optim_wrapper=SimpleNamespace(param_groups=[dict(params=parameters)]),
    )


def test_the_teachers_checksum_is_logged(logger):
    run = guarded(logger)
    TeacherGuardHook().before_train(run)
    (line,) = logger.handlers[0].lines
    assert line == f'teacher {run.model.teacher.checksum()}, the same on 1 rank(s)'


def test_a_resumed_run_says_that_its_teacher_is_another_one(logger):
    hook, run = TeacherGuardHook(), guarded(logger)
    hook.before_train(run)
    hook.before_save_checkpoint(run, saved := {'meta': {}})
    lines = logger.handlers[0].lines
    for other, resumed, said in [(run, True, 1), (guarded(logger), True, 2),
                                 (guarded(logger), False, 1)]:
        lines.clear()
        (again := TeacherGuardHook()).after_load_checkpoint(SimpleNamespace(_resume=resumed), saved)
        again.before_train(other)
        assert len(lines) == said
        assert said == 1 or lines[1].startswith('changed since the checkpoint: teacher')


def test_ranks_with_different_teachers_are_stopped(logger, monkeypatch):
    monkeypatch.setattr(hooks, 'all_gather_object', lambda own: [own, 'f00'])
    with pytest.raises(RuntimeError, match=words('different teachers', 'f00', 'same checkpoint')):
        TeacherGuardHook().before_train(guarded(logger))


def test_an_optimised_teacher_is_stopped(logger):
    with pytest.raises(RuntimeError, match='the optimizer holds parameters of the teacher'):
        TeacherGuardHook().before_train(guarded(logger, [nn.Parameter(torch.zeros(1))]))


def looked_at(logger, answers, interval: int = 2, change: int = -1) -> list[str]:
    """Lines of a run whose teacher gives these answers, one a step."""
    logger.handlers[0].lines.clear()
    run, hook = guarded(logger), TeacherGuardHook(interval)
    teacher = run.model.teacher
    hook.before_train(run)
    for run.iter, answer in enumerate(answers):
        hook.before_train_iter(run, run.iter)
        teacher.answer = lambda *_: answer  # noqa: B023
        teacher(torch.ones(1, 2))
        if run.iter == change:
            teacher.model.weight.data += 1
        hook.after_train_iter(run, run.iter)
        assert teacher.listener is None
    return logger.handlers[0].lines[1:]


ALIVE, DEAD = torch.tensor([[1.0, 2.0], [1.0, 2.1]]), torch.ones(2, 2)


def test_a_teacher_that_says_the_same_of_all_images_is_told_of(logger):
    (line,) = looked_at(logger, [DEAD])
    assert line.startswith('the teacher is dead')
    assert 'batch of step 1' in line


def test_it_is_looked_at_now_and_then(logger):
    lines = looked_at(logger, [ALIVE, DEAD, DEAD, DEAD, ALIVE])
    assert [line.split('batch of ')[1][:6] for line in lines] == ['step 3']


def test_of_a_pyramid_all_levels_have_to_be_dead(logger):
    assert looked_at(logger, [(DEAD, [ALIVE])]) == []
    assert len(looked_at(logger, [{'a': DEAD, 'b': [DEAD]}])) == 1


@pytest.mark.parametrize(('answer', 'dead'), [
    (torch.full((2, 3), float('nan')), True),
    (torch.zeros(2, 3), True),
    (torch.tensor([[1e6, 1.0], [1e6, 1.0 + 1e-3]]), True),
    (torch.ones(1, 3), False),  # one image: nothing to compare
    (torch.ones(3), False),
])
def test_what_counts_as_the_same(answer, dead):
    assert is_constant(answer) is dead


def test_a_teacher_that_changes_is_stopped(logger):
    with pytest.raises(RuntimeError, match=words('frozen teacher changed', 'step 3')):
        looked_at(logger, [ALIVE] * 3, change=2)


def test_both_distillers_tell_the_teachers_answer():
    heard = []
    model = distiller()
    model.teacher.listener = heard.append
    model(torch.zeros(2, 3, 32, 32), mode='loss')
    (answer,) = heard
    assert answer.cls.shape == (2, 20) and answer.patches.shape == (2, 4, 4, 20)


# LossWarmupHook -----------------------------------------------------------------------------------


class Warming(Slope):
    """Records the update that its losses were told."""

    def __init__(self) -> None:
        super().__init__()
        self.distillation = SimpleNamespace(update=None)
        self.seen: list[int] = []

    def forward(self, *args, **kwargs):
        self.seen.append(self.distillation.update)
        return super().forward(*args, **kwargs)


def warm_up(folder, **changes) -> list[int]:
    model = Warming()
    runner(
        folder,
        model,
        custom_hooks=[dict(type='LossWarmupHook')],
        default_hooks=dict(logger=None, checkpoint=dict(type='CheckpointHook', interval=1)),
        **changes,
    ).train()
    return model.seen


def test_updates_are_counted_from_zero(tmp_path):
    assert warm_up(tmp_path) == list(range(8))


def test_accumulated_micro_batches_are_one_update(tmp_path):
    wrapper = dict(optimizer=dict(type='SGD', lr=1.0), accumulative_counts=2)
    assert warm_up(tmp_path, optim_wrapper=wrapper) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_the_count_goes_on_after_a_resume(tmp_path):
    warm_up(tmp_path)
    resumed = warm_up(
        tmp_path / 'resumed', resume=True, load_from=str(tmp_path / 'epoch_1.pth')
    )
    assert resumed == [4, 5, 6, 7]


def test_hooks_find_the_model_behind_ddp(monkeypatch):
    from g2sd_mm.engine.hooks import access

    model, wrapped = Warming(), SimpleNamespace()
    wrapped.module = model
    monkeypatch.setattr(access, 'is_model_wrapper', lambda m: m is wrapped)
    run = SimpleNamespace(
        model=wrapped, iter=3, optim_wrapper=SimpleNamespace(), train_loop=SimpleNamespace()
    )
    LossWarmupHook().before_train_iter(run, 0)
    assert model.distillation.update == 3
    assert issubclass(LossWarmupHook, Hook)


def test_a_hook_of_a_library_finds_in_the_student_what_it_changes(tmp_path):
    register_all()
    loss = dict(type='mmpretrain.LabelSmoothLoss', label_smooth_val=0.1)
    schedule = [dict(action_epoch=1, loss=loss)]
    hook = dict(type='mmpretrain.SwitchRecipeHook', schedule=schedule)
    cfg = g2sd_mm.distill_config(stock(distillation=BLOCK, custom_hooks=[hook]))
    model = MODELS.build(cfg.model)
    began = model.student.head.loss_module
    run = runner(tmp_path, model, custom_hooks=[cfg.custom_hooks[0]])
    run.call_hook('before_train_epoch')
    assert type(began).__name__ == 'CrossEntropyLoss'
    assert type(model.student.head.loss_module).__name__ == 'LabelSmoothLoss'


def test_a_distilled_retriever_is_judged_by_prototypes_of_its_own_weights(tmp_path):
    """mmpretrain makes them anew before each validation, of a model that it knows."""
    register_all()
    from mmpretrain.models import BaseRetriever

    made = []

    class Retriever(BaseRetriever):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))

        def prepare_prototype(self) -> None:
            made.append(True)

        extract_feat = loss = forward = matching = predict = lambda self, *_, **__: None

    model = nn.Module()
    model.student = Retriever()
    view = SimpleNamespace(model=model)
    HOOKS.build(dict(
        type='StudentHook', hook=dict(type='mmpretrain.PrepareProtoBeforeValLoopHook')
    )).before_val(view)  # fmt: skip
    assert made == [True]
