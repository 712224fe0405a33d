"""Compiled blocks: same numbers, same names, and training goes on where they cannot be had."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest
import torch

from benchmarks.speed.batches import random_batch
from benchmarks.speed.formulation import Formulation
from benchmarks.speed.stages import STAGES
from g2sd_mm.engine.hooks import compile as compiling
from g2sd_mm.engine.hooks import compile as hook_module
from g2sd_mm.engine.hooks.compile import CompileHook, compile_blocks, run_plainly, why_not
from g2sd_mm.models.vit import Block
from g2sd_mm.seeding import seed_everything

from ..helpers.runs import loader, runner
from ..helpers.toys import Lines, classifier, distiller


@pytest.fixture
def marked(monkeypatch):
    """Blocks that were to be compiled, in order; none is."""
    calls: list[Block] = []

    def mark(self, **options):
        assert options == {'dynamic': False}
        self._compiled_call_impl = self._call_impl
        calls.append(self)

    monkeypatch.setattr(Block, 'compile', mark)
    return calls


def start(hook: CompileHook, model: torch.nn.Module) -> list[str]:
    """Lines that the hook writes before training."""
    logger, lines = logging.getLogger('compiling under test'), Lines()
    logger.handlers, logger.propagate = [lines], False
    logger.setLevel(logging.INFO)
    hook.before_train(SimpleNamespace(model=model, logger=logger))
    return lines.lines


def blocks(model: torch.nn.Module) -> list[Block]:
    return [module for module in model.modules() if isinstance(module, Block)]


def test_student_and_teacher_are_compiled_and_names_stay(marked, monkeypatch):
    monkeypatch.setattr(hook_module, 'why_not', lambda device: None)
    model = distiller()
    names = list(model.state_dict())
    (line,) = start(CompileHook(on_cpu=True), model)
    assert line == 'compiled on first use: 4 blocks of the student, 5 of the teacher'
    assert marked == blocks(model) + blocks(model.teacher.model)
    assert list(model.state_dict()) == names


def test_a_model_without_a_teacher_is_compiled_too(marked, monkeypatch):
    monkeypatch.setattr(hook_module, 'why_not', lambda device: None)
    (line,) = start(CompileHook(on_cpu=True), classifier())
    assert '2 blocks of the student, 0 of the teacher' in line


def test_where_compiling_fails_the_log_has_the_reason_in_one_line(marked, monkeypatch):
    def fail(self, **options):
        raise RuntimeError('no compiler on this machine\nlong advice')

    monkeypatch.setattr(Block, 'compile', fail)
    model = distiller()
    (line,) = start(CompileHook(on_cpu=True), model)
    assert line == 'blocks are not compiled: RuntimeError: no compiler on this machine'
    assert not any(block._compiled_call_impl for block in blocks(model))


def test_a_compiler_that_is_missing_is_a_reason(monkeypatch):
    """As on a machine without a C++ compiler: found out when the first block runs."""
    monkeypatch.setattr('torch._inductor.config.cpp.cxx', ('no-such-compiler',))
    monkeypatch.setattr('torch._inductor.config.force_disable_caches', True)
    monkeypatch.delenv('CXX', raising=False)
    reason = why_not('cpu')
    assert reason is not None
    assert '\n' not in reason


def test_a_cpu_is_left_alone_unless_asked(marked):
    assert start(CompileHook(), distiller()) == []
    assert marked == []


def test_validation_runs_plain_blocks(marked, monkeypatch):
    monkeypatch.setattr(hook_module, 'why_not', lambda device: None)
    model, hook = distiller(), CompileHook(on_cpu=True)
    start(hook, model)
    hook.before_val(None)
    assert not any(block._compiled_call_impl for block in blocks(model))
    assert all(block._compiled_call_impl for block in blocks(model.teacher.model))
    hook.after_val(None)
    assert all(block._compiled_call_impl for block in blocks(model))


def test_every_form_of_a_block_may_be_compiled(marked):
    compile_blocks(classifier())
    limit = getattr(torch._dynamo.config, 'recompile_limit', None) or (
        torch._dynamo.config.cache_size_limit)
    assert limit >= compiling._FORMS
    assert not torch._dynamo.config.skip_nnmodule_hook_guards


@pytest.mark.slow
@pytest.mark.parametrize('name', ['generic_vits', 'cls_vits', 'det_vits', 'seg_vits'])
def test_compiled_blocks_compute_the_same(name):
    formulation = Formulation(STAGES[name], 'toy')
    model, teacher = formulation.model, formulation.model.teacher.model
    for network in (model, teacher):
        for module in network.modules():
            if hasattr(module, 'drop_prob'):
                module.drop_prob = 0.0

    def losses_and_gradients():
        batch = formulation.prepare('step', random_batch(STAGES[name], 2, 'toy'))
        seed_everything(0)  # mixing draws from numpy
        losses = model(**model.data_preprocessor(batch, True), mode='loss')
        total, shown = model.parse_losses(losses)
        model.zero_grad()
        total.backward()
        return shown, {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}

    shown, gradients = losses_and_gradients()
    compiled = compile_blocks(model, teacher)
    shown_, gradients_ = losses_and_gradients()
    run_plainly(compiled)
    for loss, value in shown.items():
        assert torch.allclose(value, shown_[loss], rtol=1e-4), loss
    largest = max(float(g.abs().max()) for g in gradients.values())
    for parameter, gradient in gradients.items():
        error = float((gradient - gradients_[parameter]).abs().max())
        assert error < 1e-4 * largest, parameter


@pytest.mark.slow
def test_a_run_trains_compiled_and_resumes_plain(tmp_path):
    if why_not('cpu'):
        pytest.skip('torch.compile does not work here')
    compiled = runner(
        tmp_path, distiller(), train_dataloader=loader(stacked=True),
        custom_hooks=[dict(type='CompileHook', on_cpu=True)],
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1)),
    )
    compiled.train()
    state = torch.load(tmp_path / 'epoch_2.pth', weights_only=False)['state_dict']
    assert list(state) == list(distiller().state_dict())
    assert not [name for name in state if '_orig_mod' in name]
