"""A student that starts as a slice of its teacher, and goes on as any other."""

from __future__ import annotations

import copy
import logging
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import MODELS
from mmengine.runner import get_priority

from g2sd_mm.distill import SpecificDistiller
from g2sd_mm.distill.config import distill_config
from g2sd_mm.distill.starts import FittedAdaptersHook, SlicedStartHook
from g2sd_mm.engine.hooks.resuming import StrictLoadingHook
from g2sd_mm.errors import ConfigError
from g2sd_mm.models.slicing import Moments, slice_of
from g2sd_mm.seeding import Generators

from ..helpers.toys import IMAGE, arch, classifier_cfg, distiller, labelled, refused, save

NARROW = dict(embed_dim=8, depth=2, num_heads=1, patch_size=8)
BLOCK: dict[str, Any] = dict(
    taps=dict(logits='head.fc', tokens='backbone.blocks.-1'),
    adapters=dict(tokens=dict(type='TokenAdapter', in_channels=8, out_channels=16)),
    losses=dict(
        loss_kd=dict(type='SoftDistillationLoss', tap='logits'),
        loss_tokens=dict(type='SmoothL1FeatureLoss', tap='tokens'),
    ),
)


def student_cfg(size: dict | None = None) -> dict[str, Any]:
    size = size or NARROW
    return classifier_cfg(dim=size['embed_dim'], arch=size)


@pytest.fixture
def model(tmp_path) -> SpecificDistiller:
    torch.manual_seed(1)
    teacher = MODELS.build(classifier_cfg())
    teacher.init_weights()
    for parameter in teacher.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    file = save(tmp_path / 'teacher.pth', teacher.state_dict())
    return built(dict(config=dict(model=classifier_cfg()), checkpoint=str(file)))


def built(teacher: dict | None, student: dict | None = None, **options: Any) -> SpecificDistiller:
    torch.manual_seed(0)
    parts = dict(student=student or student_cfg(), teacher=teacher, **{**BLOCK, **options})
    network = SpecificDistiller(**copy.deepcopy(parts))
    network.init_weights()
    return network


def runner(model: Any, iteration: int = 0, number: int = 24) -> Any:
    pictures = torch.randn(number, 3, IMAGE, IMAGE, generator=torch.Generator().manual_seed(3))
    data = [
        dict(inputs=picture, data_samples=sample)
        for picture, sample in zip(pictures, labelled([0] * number), strict=True)
    ]
    loader = SimpleNamespace(dataset=data, collate_fn=pseudo_collate)
    return SimpleNamespace(
        model=model, train_dataloader=loader, iter=iteration, logger=logging.getLogger('sliced'),
        optim_wrapper=SimpleNamespace(), train_loop=SimpleNamespace(),
    )  # fmt: skip


def batch(model: Any) -> dict[str, Any]:
    return model.data_preprocessor(pseudo_collate(runner(model).train_dataloader.dataset[:8]))


def test_the_student_answers_much_as_its_teacher_before_any_training(model):
    def distance() -> float:
        images = batch(model)['inputs']
        with torch.no_grad():
            ours, wanted = (
                network.head.fc(network.backbone(images)[0])
                for network in (model.student, model.teacher.model)
            )
        return float((ours - wanted).square().mean() / wanted.var())

    model.eval()
    before = distance()
    SlicedStartHook(24, ['head.fc']).before_train(runner(model))
    assert distance() < 0.5 * before
    assert not model.training


def test_linear_adapters_start_where_least_squares_put_them(model):
    def explained() -> float:
        with torch.no_grad():
            return float(model(**batch(model), mode='loss')['explained_variance'])

    assert explained() < 0
    before = {name: tensor.clone() for name, tensor in model.student.state_dict().items()}
    FittedAdaptersHook(24).before_train(runner(model))
    random_student = explained()
    assert random_student > 0.0
    after = model.student.state_dict()
    assert all(torch.equal(before[name], tensor) for name, tensor in after.items())
    SlicedStartHook(24).before_train(runner(model))
    assert explained() > max(0.5, random_student)


def test_a_config_names_them_in_its_distillation_block():
    block = dict(teacher=dict(config='teacher.py'), taps=BLOCK['taps'], losses=BLOCK['losses'])
    starts = dict(sliced=dict(images=8, linear=['head.fc']), fitted=dict(images=4))
    cfg = distill_config(Config(dict(model=student_cfg(), distillation={**block, **starts})))
    found = [dict(hook) for hook in cfg.custom_hooks if 'images' in hook]
    assert found == [
        dict(type='SlicedStartHook', images=8, linear=['head.fc']),
        dict(type='FittedAdaptersHook', images=4),
    ]
    assert not set(starts) & set(cfg.model)


def test_a_run_that_goes_on_keeps_its_student(model):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    SlicedStartHook(8).before_train(runner(model, iteration=1))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_random_numbers_of_the_run_are_not_used_up(model):
    before = Generators()
    SlicedStartHook(8).before_train(runner(model))
    assert before.same(Generators())


def test_the_encoder_of_stage_1_is_filled_and_its_decoder_left():
    model = distiller(teacher=dict(random_weights=True, arch=arch(24, 2, 3)))
    before = {name: tensor.clone() for name, tensor in model.student.state_dict().items()}
    SlicedStartHook(8).before_train(runner(model))
    after = model.student.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert 'blocks.0.attn.qkv.weight' in changed and 'patch_embed.proj.weight' in changed
    assert not any(name.startswith(('decoder_', 'mask_token')) for name in changed)


def test_a_layer_that_is_not_behind_the_last_norm_is_refused(model):
    for name in ('head', 'backbone.blocks.0.mlp.fc1', 'neck.fc'):
        with refused('distillation.sliced.linear', name):
            SlicedStartHook(8, [name]).before_train(runner(model))


def test_a_teacher_of_another_depth_is_refused(tmp_path, model):
    teacher = dict(config=dict(model=classifier_cfg()), checkpoint=model.teacher.source)
    other = built(teacher, student_cfg({**NARROW, 'depth': 1}))
    with refused('distillation.sliced', 'arch'):
        SlicedStartHook(8).before_train(runner(other))


def test_a_model_that_has_no_single_teacher_is_refused():
    with refused('distillation.sliced', 'single teacher'):
        SlicedStartHook(8).before_train(runner(torch.nn.Linear(1, 1)))


def test_the_number_of_images_is_at_least_one():
    with pytest.raises(ConfigError, match='images=0'):
        SlicedStartHook(0)


@pytest.mark.parametrize('key', ['model.backbone.init_cfg', 'load_from'])
def test_a_file_that_says_the_start_too_is_refused(key):
    block = dict(teacher=dict(config='t.py'), taps=BLOCK['taps'], losses=BLOCK['losses'])
    cfg = Config(dict(model=student_cfg(), distillation={**block, 'sliced': dict(images=8)}))
    file = 'weights.pth'
    cfg.merge_from_dict({key: dict(checkpoint=file) if key.endswith('init_cfg') else file})
    with refused('distillation.sliced', key, file):
        distill_config(cfg)


def test_images_of_another_size_are_refused(model):
    large = copy.deepcopy(model.student.backbone)
    large.pos_embed = torch.nn.Parameter(torch.zeros(1, 99, 8))
    with refused('(99 tokens)', '(17 tokens)', 'distillation.sliced'):
        slice_of(large, Moments(), model.student.backbone)


def test_weights_are_loaded_before_adapters_are_fitted_to_them():
    order = [get_priority(hook.priority) for hook in (StrictLoadingHook, FittedAdaptersHook)]
    assert order == sorted(set(order))
