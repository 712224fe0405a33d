"""Stage 2: a task model beside a frozen teacher."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import nn

from g2sd_mm.distill import SpecificDistiller
from g2sd_mm.distill.distillation import merge_losses
from g2sd_mm.distill.losses.classification import hard_distillation_loss, nkd_loss
from g2sd_mm.errors import ConfigError

from ..helpers.toys import CLASSES, classifier_cfg, images, labelled, refused, words

LABELS = [0, 1, 2, 1]
TAPS = dict(logits=dict(student='head.layers.head_dist', teacher='head.fc'))
LOSSES = dict(loss_dist=dict(type='HardDistillationLoss', tap='logits', loss_weight=0.5))


def teacher_block(**options: Any) -> dict[str, Any]:
    return dict(config=dict(model=classifier_cfg(dim=24)), random_weights=True, **options)


def specific(seed: int = 0, **changes: Any) -> SpecificDistiller:
    """A two-token student taught its teacher's decisions, all weights random."""
    torch.manual_seed(seed)
    arguments = dict(
        student=classifier_cfg('dist_token'), teacher=teacher_block(), taps=TAPS, losses=LOSSES
    )
    model = SpecificDistiller(**copy.deepcopy({**arguments, **changes}))
    model.init_weights()
    nn.init.normal_(model.teacher.model.head.fc.weight)
    return model


def losses_of(model: SpecificDistiller, seed: int = 0) -> dict[str, torch.Tensor]:
    return model(images(4, seed=seed), labelled(LABELS), mode='loss')


def test_distillation_losses_are_added_to_the_students_own():
    model, pixels = specific(), images(4)
    losses = losses_of(model)
    assert set(losses) == {'loss_task', 'loss_dist'}
    own = model.student(pixels, labelled(LABELS), mode='loss')
    assert torch.equal(losses['loss_task'], own['loss'])
    dist = model.student.head.layers.head_dist(model.student.backbone(pixels)[0][1])
    expected = hard_distillation_loss(dist, model.teacher(pixels))
    assert losses['loss_dist'].item() == pytest.approx(0.5 * expected.item(), rel=1e-5)


def test_the_logged_loss_is_the_sum():
    model = specific()
    losses = losses_of(model)
    total, logged = model.parse_losses(losses)
    assert torch.equal(total, losses['loss_task'] + losses['loss_dist'])
    assert torch.equal(logged['loss'], total)


def test_a_loss_that_reaches_nothing_of_the_student_is_refused():
    model = specific(
        student=classifier_cfg(),
        taps=dict(tokens=dict(student='backbone.blocks.0', teacher='backbone.blocks.0')),
        adapters=dict(tokens=dict(type='MlpAdapter', in_channels=16, out_channels=24)),
        losses=dict(loss_tokens=dict(type='SmoothL1FeatureLoss', tap='tokens', target='none')),
    )
    model.student.backbone.requires_grad_(False)
    with pytest.raises(ConfigError, match=words('distillation.losses.loss_tokens', 'frozen')):
        losses_of(model)
    with torch.no_grad():
        losses_of(model)
    model.student.backbone.blocks[0].requires_grad_(True)
    assert losses_of(model)['loss_tokens'] > 0


def test_a_loss_that_would_not_be_trained_is_refused():
    with pytest.raises(ValueError, match=words("called 'kd'", 'call it loss_kd')):
        specific(losses=dict(kd=LOSSES['loss_dist']))


def test_a_loss_of_a_base_config_can_be_left_out():
    model = specific(losses=dict(loss_other=None, **LOSSES))
    assert set(losses_of(model)) == {'loss_task', 'loss_dist'}


def test_a_loss_that_would_replace_the_students_is_refused():
    model = specific(losses=dict(loss_task=LOSSES['loss_dist']))
    with pytest.raises(ValueError, match=words('loss_task of its own', 'rename')):
        losses_of(model)


def test_without_any_loss_nothing_is_trained():
    with pytest.raises(ValueError, match=words('nothing is trained', 'distillation.losses')):
        merge_losses({}, {})


def test_outside_of_training_it_is_the_student():
    model = specific().eval()
    pixels, samples = images(4), labelled(LABELS)
    with torch.no_grad():
        assert torch.equal(model(pixels), model.student(pixels))
        ours = model(pixels, samples, mode='predict')
        own = model.student(pixels, samples, mode='predict')
    assert [s.pred_score.tolist() for s in ours] == [s.pred_score.tolist() for s in own]


def test_the_teacher_does_not_run_outside_of_training(monkeypatch):
    model = specific().eval()
    monkeypatch.setattr(model.teacher, 'answer', None)
    with torch.no_grad():
        model(images(4), labelled(LABELS), mode='predict')


def test_every_parameter_gets_a_gradient():
    model = specific()
    sum(losses_of(model).values()).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []


def test_what_is_deployed_is_the_plain_student():
    model = specific()
    plain = MODELS.build(classifier_cfg('dist_token'))
    plain.load_state_dict(model.deployable_state())
    with torch.no_grad():
        assert torch.equal(plain.eval()(images()), model.eval()(images()))


def test_its_preprocessor_is_the_students():
    student = classifier_cfg('dist_token')
    preprocessor = dict(mean=[1.0] * 3, std=[2.0] * 3)
    model = specific(student=student, data_preprocessor=preprocessor)
    assert model.data_preprocessor is model.student.data_preprocessor
    assert model.data_preprocessor.mean.flatten().tolist() == [1.0] * 3


def test_teacher_and_student_see_the_same_mixed_batch():
    augments = dict(augments=[dict(type='FlipMixup', alpha=0.8)])
    preprocessor = dict(num_classes=CLASSES, to_onehot=True)
    student = dict(classifier_cfg('dist_token'), train_cfg=augments)
    model = specific(student=student, data_preprocessor=preprocessor)
    seen = []
    model.student.backbone.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    model.teacher.model.backbone.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    batch = dict(inputs=list(images(4)), data_samples=labelled(LABELS))
    data = model.data_preprocessor(batch, training=True)
    model(**data, mode='loss')
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], images(4))


# Any stock student --------------------------------------------------------------------------------


def stock(backbone: dict, channels: int) -> dict[str, Any]:
    return dict(
        _scope_='mmpretrain',
        type='ImageClassifier',
        backbone=backbone,
        neck=dict(type='GlobalAveragePooling') if backbone['type'] == 'ResNet' else None,
        head=dict(
            type='LinearClsHead',
            num_classes=CLASSES,
            in_channels=channels,
            loss=dict(type='CrossEntropyLoss'),
        ),
    )


PARTS = ('backbone', 'neck', 'head')
RESNET = stock(dict(type='ResNet', depth=18, base_channels=8, stem_channels=8), 64)
VIT = stock(
    dict(
        type='VisionTransformer',
        arch=dict(embed_dims=16, num_layers=1, num_heads=2, feedforward_channels=32),
        img_size=32,
        patch_size=8,
    ),
    16,
)


@pytest.mark.parametrize('student', [RESNET, VIT], ids=['ResNet', 'VisionTransformer'])
def test_a_stock_student_is_distilled(student):
    model = specific(student=student, taps=dict(logits='head.fc'))
    losses = losses_of(model)
    sum(losses.values()).backward()
    assert losses['loss_dist'] > 0
    assert model.student.head.fc.weight.grad.abs().sum() > 0


def test_features_of_several_blocks_with_adapters():
    """A student of width 16 reaches a teacher of width 24 through trained linear adapters."""
    model = specific(
        student=classifier_cfg('cls_token'),
        taps=dict(mid=dict(student='backbone.blocks.0', teacher='backbone.blocks.1')),
        losses=dict(loss_mid=dict(type='SmoothL1FeatureLoss', tap='mid')),
        adapters=dict(mid=dict(type=nn.Linear, in_features=16, out_features=24)),
    )
    losses = losses_of(model)
    losses['loss_mid'].backward()
    adapter = model.distillation.adapters['mid']
    assert adapter.weight.grad.abs().sum() > 0
    assert {id(p) for p in adapter.parameters()} <= {id(p) for p in model.parameters()}
    assert not [name for name in model.deployable_state() if 'adapter' in name]


@pytest.mark.parametrize('distance', ['MSEFeatureLoss', 'CosineFeatureLoss'])
def test_maps_that_taps_hear_are_compared_along_their_channels(distance):
    """Layers of convolutions have the channels second, in both networks."""
    model = specific(
        student=RESNET,
        teacher=dict(config=dict(model=RESNET), random_weights=True, forward=PARTS),
        taps=dict(stage='backbone.layer3'),
        losses=dict(loss_stage=dict(type=distance, tap='stage', target='layernorm')),
    )
    heard = {}
    for side, network in dict(own=model.student, theirs=model.teacher.model).items():
        network.backbone.layer3.register_forward_hook(
            lambda module, given, output, side=side: heard.update({side: output})
        )
    value = losses_of(model)['loss_stage']
    own, theirs = (heard[side].movedim(1, -1) for side in ('own', 'theirs'))
    theirs = F.layer_norm(theirs, theirs.shape[-1:], eps=1e-6)
    expected = {
        'MSEFeatureLoss': (own - theirs).square().mean(),
        'CosineFeatureLoss': (1 - F.cosine_similarity(own, theirs, dim=-1)).mean(),
    }
    torch.testing.assert_close(value, expected[distance])


def test_maps_of_two_widths_are_refused_not_resized_along_their_channels():
    wide = stock(dict(type='ResNet', depth=18, base_channels=16, stem_channels=8), 128)
    model = specific(
        student=RESNET,
        teacher=dict(config=dict(model=wide), random_weights=True, forward=PARTS),
        taps=dict(stage='backbone.layer3'),
        losses=dict(loss_stage=dict(type='MSEFeatureLoss', tap='stage')),
    )
    with refused('width 32', 'width 64', 'out_channels=64'):
        losses_of(model)


@pytest.mark.parametrize('options', [
    dict(tokens='patches'), dict(target=dict(type='mean_std', channels=16)),
])  # fmt: skip
def test_tokens_without_a_class_token_that_taps_hear_are_all_patches(options):
    """Of Swin, say: the first one is neither left out nor standardised apart."""
    backbone = dict(
        type='SwinTransformer', img_size=32, patch_size=4, window_size=4, out_indices=(1,),
        arch=dict(embed_dims=8, depths=[1, 1], num_heads=[1, 2]),
    )  # fmt: skip
    swin = {**stock(backbone, 16), 'neck': dict(type='GlobalAveragePooling')}
    model = specific(
        student=swin,
        teacher=dict(config=dict(model=swin), random_weights=True, forward=PARTS),
        taps=dict(tokens='backbone.stages.-1.blocks.-1'),
        losses=dict(loss_tokens=dict(type='MSEFeatureLoss', tap='tokens', **options)),
    )
    heard = {}
    for side, network in dict(own=model.student, theirs=model.teacher.model).items():
        network.backbone.stages[-1].blocks[-1].register_forward_hook(
            lambda module, given, output, side=side: heard.update({side: output})
        )
    value = losses_of(model)['loss_tokens']
    own, theirs = heard['own'], heard['theirs']
    assert own.shape == (4, 16, 16)
    if 'target' in options:
        mean, variance = theirs.mean((0, 1)), theirs.var((0, 1), correction=0)
        theirs = (theirs - mean) / (variance + 1e-6).sqrt()
    torch.testing.assert_close(value, F.mse_loss(own, theirs))


def test_an_adapter_of_tokens_on_a_map_names_the_layer_that_fits():
    model = specific(
        student=RESNET,
        taps=dict(stage=dict(student='backbone.layer3', teacher='backbone.blocks.1')),
        adapters=dict(stage=dict(type='TokenAdapter', in_channels=32, out_channels=24)),
        losses=dict(loss_stage=dict(type='MSEFeatureLoss', tap='stage')),
    )
    with refused('distillation.adapters.stage', "type='Conv2d', in_channels=32"):
        losses_of(model)


def test_a_tap_with_several_outputs_is_refused_by_a_loss_of_one():
    two = stock({**RESNET['backbone'], 'out_indices': (2, 3)}, 64)
    model = specific(
        student=two,
        teacher=dict(config=dict(model=two), random_weights=True, forward=PARTS),
        taps=dict(stage='backbone'),
        losses=dict(loss_stage=dict(type='PixelwiseKLDivergence', tap='stage')),
    )
    with refused('distillation.losses.loss_stage', 'PixelwiseKLDivergence', 'student: 2 outputs'):
        losses_of(model)


class Asking(nn.Module):
    """A part that no chain can run, as the heads of DETR and Mask2Former."""

    def forward(self, features, batch_data_samples):
        return features


def test_a_part_that_needs_more_than_features_is_named():
    model = specific(student=RESNET, taps=dict(logits='head.fc'))
    model.teacher.model.head = Asking()
    with refused('forward=', 'head (Asking)', 'batch_data_samples', 'end forward before head'):
        losses_of(model)


# Warm-up, inputs, precision -----------------------------------------------------------------------


def test_a_losss_weight_grows_linearly_over_its_warm_up():
    model = specific(losses=dict(loss_dist=dict(LOSSES['loss_dist'], warmup=4)))
    full = losses_of(specific())['loss_dist'].item()
    for update, factor in ((0, 0), (1, 0.25), (3, 0.75), (4, 1), (9, 1)):
        model.distillation.update = update
        assert model.distillation.warmup_factor('loss_dist') == factor
        assert losses_of(model)['loss_dist'].item() == pytest.approx(factor * full)


def nkd(**inputs: Any) -> SpecificDistiller:
    return specific(
        taps=dict(logits=dict(student='head.layers.head', teacher='head.fc')),
        losses=dict(loss_nkd=dict(type='NKDLoss', tap='logits', inputs=inputs)),
    )


def test_a_loss_is_given_fields_of_the_batch():
    for field in ('batch.gt_score', 'batch.gt_label'):
        model, pixels = nkd(target=field), images(4)
        losses = losses_of(model)
        logits = model.student.head.layers.head(model.student.backbone(pixels)[0][0])
        expected = nkd_loss(logits, model.teacher(pixels), torch.tensor(LABELS))
        assert losses['loss_nkd'].item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_first_field_that_is_there_counts():
    model = nkd(target=('batch.gt_score', 'batch.gt_label'))
    samples = labelled(LABELS)
    with_scores = model(images(4), samples, mode='loss')['loss_nkd']
    for sample in samples:
        del sample.gt_score
    assert torch.equal(model(images(4), samples, mode='loss')['loss_nkd'], with_scores)


def test_an_input_that_is_not_there_is_named():
    message = words("no batch.boxes or teacher.neck for a distillation loss", "['logits']",
                    "['logits']", 'batch.FIELD')
    with pytest.raises(KeyError, match=message):
        losses_of(nkd(target=('batch.boxes', 'teacher.neck')))


def test_a_tap_may_exist_on_one_side_only():
    model = specific(
        taps=dict(TAPS, extra=dict(teacher='backbone')),
        losses=dict(
            loss_dist=dict(
                type='HardDistillationLoss',
                inputs=dict(student='student.logits', teacher='teacher.logits'),
            )
        ),
    )
    assert set(losses_of(model)) == {'loss_task', 'loss_dist'}


def test_a_bfloat16_teacher_teaches_in_float32(monkeypatch):
    model = specific(teacher=teacher_block(dtype='bfloat16'))
    seen = {}

    def loss(student, teacher):
        seen.update(student=student, teacher=teacher)
        return F.mse_loss(student, teacher)

    monkeypatch.setattr(model.distillation.losses['loss_dist'], 'forward', loss)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        losses_of(model)
    assert {t.dtype for t in model.teacher.model.parameters()} == {torch.bfloat16}
    assert seen['student'].dtype == seen['teacher'].dtype == torch.float32
    assert seen['student'].requires_grad


def test_an_unknown_module_names_the_side_that_lacks_it():
    with pytest.raises(ValueError, match=words("no module 'head.fc2'", 'head has')):
        specific(taps=dict(logits=dict(student='head.layers.head_dist', teacher='head.fc2')))
