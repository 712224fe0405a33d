"""The reference computes what the project computes: outputs, losses and gradients agree."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from benchmarks.reference import ReferenceFormulation
from benchmarks.reference.attention import ClampedAttention, PlainAttention
from benchmarks.reference.specific import JudgingTeacher, ProposingTeacher, WrittenOutChannelNorm
from benchmarks.speed.batches import random_batch
from benchmarks.speed.formulation import Formulation
from benchmarks.speed.stages import STAGES
from g2sd_mm.distill.taps import Taps
from g2sd_mm.models.vit import Attention
from g2sd_mm.seeding import seed_everything

NAMES = tuple(STAGES)
#: what each network puts out: student's and, in stage 2, teacher's
OUTPUTS = {
    'generic_vits': ({'predicted': 'distillation.adapters.tokens'}, None),
    'generic_vitt': ({'predicted': 'distillation.adapters.tokens'}, None),
    'cls_vits': ({'logits': 'student.head.layers.head'}, {'logits': 'head.fc'}),
    'det_vits': (
        {'levels': 'student.neck', 'masks': 'student.roi_head.mask_head.conv_logits'},
        {'levels': 'neck', 'deltas': 'rpn_head.rpn_reg'},
    ),
    'seg_vits': (
        {'logits': 'student.decode_head.conv_seg'},
        {'logits': 'decode_head.conv_seg'},
    ),
}


def networks(formulation: Formulation) -> tuple[nn.Module, nn.Module]:
    return formulation.model, formulation.model.teacher.model


def make_pair(name: str, dtype: torch.dtype) -> tuple[Formulation, Formulation]:
    """Both formulations of one stage with the same weights, none of which is zero."""
    stage = STAGES[name]
    pair = Formulation(stage, 'toy'), ReferenceFormulation(stage, 'toy')
    seed_everything(1)
    for own, other in zip(*map(networks, pair), strict=True):
        for parameter in own.parameters():  # relative positions start at zero
            parameter.data += 0.05 * torch.randn_like(parameter)
        missing, unexpected = other.load_state_dict(own.state_dict(), strict=False)
        assert not unexpected
        assert all('adapters.encoder.' in n or 'auxiliary_head' in n for n in missing)
        for module in (*own.modules(), *other.modules()):
            if hasattr(module, 'drop_prob'):
                module.drop_prob = 0.0  # compared without chance
    for formulation in pair:
        formulation.model.to(dtype)
        formulation.model.teacher.model.to(dtype)
        formulation.model.teacher.dtype = dtype
    return pair


@pytest.fixture(scope='module', params=NAMES)
def pair(request) -> tuple[str, Formulation, Formulation]:
    return request.param, *make_pair(request.param, torch.float32)


def compute(formulation: Formulation, name: str) -> tuple[dict, dict, dict]:
    """Outputs, losses and gradients of one batch."""
    model, teacher = networks(formulation)
    student_side, teacher_side = OUTPUTS[name]
    taps = Taps(model, student_side), Taps(teacher, teacher_side or {})
    batch = formulation.prepare('step', random_batch(STAGES[name], 2, 'toy'))
    seed_everything(2)
    with taps[0].record() as said, taps[1].record() as taught:
        losses = model(**model.data_preprocessor(batch, True), mode='loss')
    for tap in taps:
        tap.remove()
    total, shown = model.parse_losses(losses)
    model.zero_grad()
    total.backward()
    gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    return {'student': said, 'teacher': taught}, shown, gradients


@torch.no_grad()
def relative(own: Tensor, other: Tensor, scale: float = 0.0) -> float:
    """Largest difference over the largest element, or over ``scale`` if that is larger."""
    return float((own - other).abs().max() / other.abs().max().clamp(min=max(scale, 1e-12)))


def flat(value: object) -> list[Tensor]:
    return [value] if isinstance(value, Tensor) else [t for item in value for t in flat(item)]


def check(ours: Formulation, reference: Formulation, name: str, **limits: float) -> None:
    """Compare everything; ``floor`` is the share of the largest gradient that others count by."""
    outputs, losses, gradients = compute(ours, name)
    outputs_, losses_, gradients_ = compute(reference, name)
    for side, heard in outputs.items():
        for tap, value in heard.items():
            for own, other in zip(flat(value), flat(outputs_[side][tap]), strict=True):
                assert relative(own, other) < limits['outputs'], f'{side} {tap}'
    # the reference's second loss counts nothing; with two, figures beside the losses have two names
    shown = {name for name in losses if not name.startswith('explained_variance')}
    shown_ = {name for name in losses_ if not name.startswith('explained_variance')}
    assert shown == shown_ - {'loss_encoder'}
    for loss in shown:
        value = losses[loss]
        assert relative(value, losses_[loss]) < limits['outputs'], loss
    unused = {n for n in gradients_ if n.startswith('distillation.adapters.encoder.')}
    assert set(gradients) == set(gradients_) - unused
    assert all(not gradients_[n].any() for n in unused)
    largest = float(max(g.abs().max() for g in gradients_.values()))
    for parameter, own in gradients.items():
        error = relative(own, gradients_[parameter], limits['floor'] * largest)
        assert error < limits['gradients'], parameter


def test_outputs_losses_and_gradients_agree_in_float32(pair):
    name, ours, reference = pair
    # gradients that cancel out hold rounding alone: all are compared with the largest
    check(ours, reference, name, outputs=1e-5, gradients=1e-4, floor=1.0)


@pytest.mark.parametrize('name', NAMES)
def test_every_gradient_agrees_in_float64(name):
    # the reference's softmax in float32 is what is left of a difference in stage 1
    check(*make_pair(name, torch.float64), name, outputs=1e-6, gradients=1e-6, floor=1e-9)


def test_the_reference_is_what_the_documents_say(pair):
    name, ours, reference = pair
    kinds = {type(module) for network in networks(reference) for module in network.modules()}
    assert Attention in {type(m) for n in networks(ours) for m in n.modules()} or name[:3] in (
        'det', 'seg')
    assert Attention not in kinds
    assert (ClampedAttention in kinds) == name.startswith('generic')
    assert (PlainAttention in kinds) == (name == 'cls_vits')
    assert (WrittenOutChannelNorm in kinds) == (name == 'det_vits')
    teacher = type(reference.model.teacher)
    assert (teacher is ProposingTeacher) == (name == 'det_vits')
    assert (teacher is JudgingTeacher) == (name == 'seg_vits')
    assert all(len(group['params']) == 1 for group in reference.optimizer.param_groups)
    assert len(ours.optimizer.param_groups) < 40


def test_the_reference_keeps_q_k_and_v_until_the_step_ends():
    reference = ReferenceFormulation(STAGES['generic_vits'], 'toy')
    batch = random_batch(STAGES['generic_vits'], 2, 'toy')
    reference.model(**reference.model.data_preprocessor(batch, True), mode='loss')
    layers = sum(len(n.blocks) + len(n.decoder_blocks) for n in (
        reference.model.student, reference.model.teacher.model))
    assert [len(kept) for kept in reference.kept] == [3] * layers
    reference.run('step', reference.prepare('step', batch))
    assert reference.kept == []


def test_teachers_of_the_reference_compute_what_nobody_uses(pair, monkeypatch):
    name, ours, reference = pair
    called = []
    for formulation in (ours, reference):
        teacher = formulation.model.teacher.model
        for part, method in (('rpn_head', 'predict_by_feat'), ('decode_head', 'loss_by_feat'),
                             ('auxiliary_head', 'loss_by_feat')):
            if getattr(teacher, part, None) is not None:
                original = getattr(getattr(teacher, part), method)

                def counted(*args, _original=original, _part=part, _of=formulation, **kwargs):
                    called.append((type(_of).__name__, _part))
                    return _original(*args, **kwargs)

                monkeypatch.setattr(getattr(teacher, part), method, counted)
        batch = random_batch(STAGES[name], 2, 'toy')
        formulation.run('step', formulation.prepare('step', batch))
    parts = {'det_vits': ['rpn_head'], 'seg_vits': ['decode_head', 'auxiliary_head']}
    assert called == [('ReferenceFormulation', part) for part in parts.get(name, [])]


@pytest.mark.parametrize('part', ['teacher', 'student'])
def test_parts_run_alone_and_leave_no_gradients(pair, part):
    name, *formulations = pair
    for formulation in formulations:
        ready = formulation.prepare(part, random_batch(STAGES[name], 2, 'toy'))
        formulation.model.zero_grad()
        formulation.run(part, ready)
        assert all(p.grad is None for p in formulation.model.parameters())
