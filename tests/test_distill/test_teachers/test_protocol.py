"""The frozen teacher answers, and is never trained, saved or synchronised."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from mmengine.model import ImgDataPreprocessor, MMDistributedDataParallel
from mmengine.registry import MODELS
from torch import nn

from g2sd_mm.checkpoints import CheckpointError
from g2sd_mm.distill import ChainTeacher, Features, FrozenTeacher, SpecificDistiller
from g2sd_mm.distill.teachers import build_teacher
from g2sd_mm.distill.teachers.images import Pixels, student_pixels
from g2sd_mm.distill.teachers.mae import MAETeacher
from g2sd_mm.distill.teachers.openmmlab import OpenMMLabTeacher
from g2sd_mm.engine.optimizers import ViTLayerDecayConstructor
from g2sd_mm.errors import UserError
from g2sd_mm.models.mae import MAEPretraining
from g2sd_mm.models.masking import random_masking
from g2sd_mm.models.positions import resize_positions

from ...helpers.toys import (
    STUDENT,
    TEACHER,
    arch,
    autoencoder,
    classifier,
    classifier_cfg,
    decoder,
    distiller,
    images,
    logged,
    save,
    stage1_cfg,
    words,
)
from ..test_specific import specific

DISTILLERS = pytest.mark.parametrize('build', [distiller, specific], ids=['generic', 'specific'])


# Frozen -------------------------------------------------------------------------------------------


class Plain(FrozenTeacher):
    """Its network answers."""

    def answer(self, images, view):
        return self.model(images)


def test_a_teacher_is_in_evaluation_mode_without_gradients():
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout())
    teacher = Plain(model)
    assert not any(m.training for m in model.modules())
    assert not any(p.requires_grad for p in model.parameters())
    assert not teacher(torch.ones(1, 2, requires_grad=True)).requires_grad


def test_a_teacher_may_keep_its_training_mode():
    teacher = FrozenTeacher(nn.Sequential(nn.Dropout()), train_mode=True)
    assert all(m.training for m in teacher.model.modules())


def test_a_teacher_has_its_own_precision_inside_autocast():
    for dtype in (torch.float32, torch.float64):
        teacher = Plain(nn.Linear(2, 2), dtype=str(dtype).removeprefix('torch.'))
        with torch.autocast('cpu', dtype=torch.bfloat16):
            assert teacher(torch.ones(1, 2)).dtype == dtype
            assert torch.is_autocast_enabled('cpu')
    with pytest.raises(ValueError, match=words("dtype 'int4'", 'float32, bfloat16')):
        FrozenTeacher(nn.Linear(2, 2), dtype='int4')


@DISTILLERS
def test_training_mode_does_not_reach_the_teacher(build):
    model = build()
    model.train()
    assert model.student.training
    assert not any(m.training for m in model.teacher.model.modules())


@DISTILLERS
def test_torch_does_not_see_the_teacher(build):
    model = build()
    taught = {id(t) for t in model.teacher.model.state_dict(keep_vars=True).values()}
    assert taught
    assert not taught & {id(p) for p in model.parameters()}
    assert not taught & {id(t) for t in model.state_dict(keep_vars=True).values()}
    assert not taught & {id(m) for m in model.modules()}
    assert not [name for name in model.state_dict() if 'teacher' in name]


@DISTILLERS
def test_the_optimizer_does_not_hold_the_teacher(build):
    model = build()
    constructor = ViTLayerDecayConstructor(dict(optimizer=dict(type='AdamW', lr=1.0)))
    held = {id(p) for g in constructor(model).param_groups for p in g['params']}
    assert held == {id(p) for p in model.parameters() if p.requires_grad}
    assert not held & {id(p) for p in model.teacher.model.parameters()}


@DISTILLERS
def test_ddp_does_not_synchronise_the_teacher(build, tmp_path):
    model = build()
    store = torch.distributed.FileStore(str(tmp_path / 'store'), 1)
    torch.distributed.init_process_group('gloo', store=store, rank=0, world_size=1)
    try:
        wrapped = MMDistributedDataParallel(model, device_ids=None)
        synchronised = {id(p) for p in wrapped._module_parameters}
    finally:
        torch.distributed.destroy_process_group()
    assert synchronised == {id(p) for p in model.parameters()}
    assert not synchronised & {id(p) for p in model.teacher.model.parameters()}


@DISTILLERS
def test_the_teacher_follows_the_distiller_between_devices(build):
    model = build().to('meta')
    assert {p.device.type for p in model.teacher.model.parameters()} == {'meta'}


def test_the_teachers_precision_stays_when_the_distillers_changes():
    model = distiller(teacher=dict(random_weights=True, dtype='float64')).bfloat16()
    assert {p.dtype for p in model.student.parameters()} == {torch.bfloat16}
    assert {p.dtype for p in model.teacher.model.parameters()} == {torch.float64}


def test_a_checksum_follows_the_weights():
    first, second = FrozenTeacher(autoencoder(seed=1)), FrozenTeacher(autoencoder(seed=1))
    assert first.checksum() == second.checksum()
    second.model.norm.bias.data[0] += 1e-3
    assert first.checksum() != second.checksum()
    assert FrozenTeacher(nn.Linear(2, 2), dtype='bfloat16').checksum()


# Chains -------------------------------------------------------------------------------------------


class Task(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.neck, self.head = nn.Linear(2, 3), nn.Linear(3, 4), nn.Linear(4, 5)


def test_a_chain_runs_its_parts_in_order_and_drops_the_others():
    task, x = Task(), torch.randn(1, 2)
    backbone, neck = task.backbone, task.neck
    teacher = ChainTeacher(task, ('backbone', 'neck'))
    assert torch.equal(teacher(x), neck(backbone(x)))
    assert teacher.model.head is None
    assert {name.split('.')[0] for name in teacher.model.state_dict()} == {'backbone', 'neck'}


@pytest.mark.parametrize('forward', [('backbone', 'roi'), ()])
def test_a_chain_of_unknown_parts_is_refused(forward):
    with pytest.raises(ValueError, match=words('Task has backbone, neck, head')):
        ChainTeacher(Task(), forward)


# Stage 1: which files are refused -----------------------------------------------------------------


def mae_teacher(last: int, path: str | None, **changes) -> MAETeacher:
    """Up to decoder block ``last``."""
    settings = {**TEACHER, 'until': f'decoder_blocks.{last}', **changes}
    return build_teacher(dict(type='MAETeacher', checkpoint=path, **settings))


def refused(path: str | None, *texts: str, **changes) -> None:
    with pytest.raises(CheckpointError, match=words(*texts)) as caught:
        mae_teacher(1, path, **changes)
    assert '\n' not in str(caught.value)


def test_a_full_autoencoder_is_a_teacher(tmp_path):
    full = autoencoder(seed=4)
    path = save(tmp_path / 'full.pth', full)
    teacher = mae_teacher(1, path)
    state = full.state_dict()
    assert len(teacher.model.decoder_blocks) == 2  # what comes after the target is not built
    for name, tensor in teacher.model.state_dict().items():
        assert torch.equal(tensor, state[name]), name


def test_an_mae_run_of_this_project_is_a_teacher(tmp_path):
    mae = MAEPretraining(**TEACHER)
    mae.init_weights()
    for state in (mae.state_dict(), mae.deployable_state()):
        path = save(tmp_path / 'mae.pth', state)
        teacher = mae_teacher(0, path)
        assert torch.equal(teacher.model.mask_token, mae.autoencoder.mask_token)


def test_decoder_blocks_after_the_target_may_lack(tmp_path):
    state = autoencoder().state_dict()
    late = ('decoder_blocks.2.', 'decoder_norm', 'decoder_pred')
    cut = {k: v for k, v in state.items() if not k.startswith(late)}
    assert mae_teacher(1, save(tmp_path / 'cut.pth', cut))
    del cut['decoder_blocks.1.mlp.fc2.bias']
    refused(
        save(tmp_path / 'cut.pth', cut), 'cut.pth', '1 missing (decoder_blocks.1.mlp.fc2.bias)'
    )


@pytest.mark.parametrize('name', ['pos_embed', 'decoder_pos_embed', 'mask_token', 'norm.bias'])
def test_no_other_tensor_may_lack(tmp_path, name):
    state = autoencoder().state_dict()
    del state[name]
    refused(save(tmp_path / 'cut.pth', state), 'cut.pth', f'1 missing ({name})')


def test_an_encoder_only_file_is_refused(tmp_path):
    state = autoencoder().state_dict()
    encoder = {k: v for k, v in state.items() if not k.startswith(('decoder_', 'mask_token'))}
    refused(
        save(tmp_path / 'mae_pretrain.pth', encoder),
        'mae_pretrain.pth cannot serve as stage-1 teacher',
        'an encoder-only MAE, ViT of width 24 and depth 3',
        'missing (', 'mask_token',
        'needs the decoder too', 'mae_pretrain_vit_base_full.pth',
    )


def test_a_fine_tuned_file_is_refused(tmp_path):
    state = autoencoder().state_dict()
    tuned = {k: v for k, v in state.items() if not k.startswith(('decoder_', 'mask_', 'norm.'))}
    tuned |= {f'fc_norm.{k}': state[f'norm.{k}'] for k in ('weight', 'bias')}
    tuned |= {'head.weight': torch.zeros(5, 24), 'head.bias': torch.zeros(5)}
    refused(
        save(tmp_path / 'tuned.pth', tuned),
        'tuned.pth', 'a fine-tuned MAE classifier', 'missing', 'mae_pretrain_vit_base_full.pth',
    )


def test_a_file_of_another_size_is_refused(tmp_path):
    path = save(tmp_path / 'wide.pth', autoencoder(arch=arch(32, 3)))
    refused(
        path,
        'wide.pth', 'a full masked autoencoder', 'ViT of width 32 and depth 3',
        'of another size (', 'is 1x1x32, expected 1x1x24', 'arch and decoder in the config',
    )
    path = save(tmp_path / 'thin.pth', autoencoder(decoder=decoder(12, 3)))
    refused(path, 'of another size (', 'mask_token is 1x1x12, expected 1x1x20')


def test_a_deeper_encoder_is_refused(tmp_path):
    """Its first blocks would fit: only the names that are left over give it away."""
    path = save(tmp_path / 'deep.pth', autoencoder(arch=arch(24, 4)))
    refused(path, 'depth 4', '12 unknown (blocks.3.norm1.weight')


def test_another_image_size_is_interpolated(tmp_path):
    large = autoencoder(img_size=64)
    teacher = build_teacher(
        {'type': 'MAETeacher', **TEACHER, 'checkpoint': save(tmp_path / 'large.pth', large)}
    )
    assert torch.equal(
        teacher.model.pos_embed, resize_positions(large.pos_embed, (8, 8), (4, 4))
    )


def test_a_students_file_is_refused(tmp_path):
    run = distiller()
    stage1 = save(tmp_path / 'epoch_1.pth', run.state_dict())
    refused(stage1, 'a stage-1 training checkpoint', 'This is a student, not a teacher', 'full')
    official = dict(run.student.state_dict())
    official |= {f'decoderfeature_pred.fc1.{k}': torch.zeros(2) for k in ('weight', 'bias')}
    refused(
        save(tmp_path / 'student.pth', official),
        'an official stage-1 student', 'This is a student, not a teacher',
    )
    deployed = save(tmp_path / 'weights.pth', run.deployable_state())
    refused(deployed, 'weights.pth', 'an encoder-only MAE', 'needs the decoder too')


def test_a_file_of_another_model_is_refused(tmp_path):
    path = save(tmp_path / 'resnet.pth', {'conv1.weight': torch.zeros(2, 3, 1, 1)})
    refused(path, 'resnet.pth', 'a file of another model', 'missing (cls_token', 'full.pth')


def test_no_file_is_refused():
    refused(
        None, 'has no checkpoint',
        'distillation.teacher.checkpoint=mae_pretrain_vit_base_full.pth',
    )
    with pytest.raises(FileNotFoundError, match=r'/no/such\.pth: no such checkpoint file'):
        mae_teacher(1, '/no/such.pth')


@pytest.mark.parametrize('until', ['decoder_blocks.3', 'decoder_blocks.-1', '2'])
def test_until_must_be_a_decoder_block(until):
    message = words('distillation.teacher.until=', 'decoder_blocks.0 .. decoder_blocks.2')
    with pytest.raises(UserError, match=message):
        MAETeacher(**TEACHER, until=until, random_weights=True)


def test_without_until_all_of_the_decoder_is_run():
    assert len(MAETeacher(**TEACHER, random_weights=True).model.decoder_blocks) == 3


def test_a_block_behind_until_cannot_be_tapped():
    block = stage1_cfg()['distillation']
    block['taps']['tokens']['teacher'] = 'decoder_blocks.2'
    with pytest.raises(ValueError, match=words("no module 'decoder_blocks.2'", 'has 0, 1')):
        SpecificDistiller(student=stage1_cfg()['model'], **block)


def test_it_answers_with_class_token_and_a_grid_of_patches(tmp_path):
    full, pixels = autoencoder(seed=4), images()
    teacher = mae_teacher(1, path := save(tmp_path / 'full.pth', full))
    view = random_masking(torch.rand(2, 16), 0.75)
    answer = teacher(pixels, view)
    assert isinstance(answer, Features)
    assert answer.cls.shape == (2, 20) and answer.patches.shape == (2, 4, 4, 20)
    expected = full.decode(full.encode(pixels, view).latent, view, 2)
    assert torch.equal(answer.cls, expected[:, 0])
    assert torch.equal(answer.patches.flatten(1, 2), expected[:, 1:])
    assert (teacher.sees, teacher.width, teacher.source) == ('view', 20, path)


def test_a_student_that_draws_no_view_is_refused():
    with pytest.raises(ValueError, match=words('a MaskedStudent')):
        SpecificDistiller(
            student=classifier_cfg(), **{**stage1_cfg()['distillation'], 'taps': {}, 'losses': {}}
        )
    with pytest.raises(ValueError, match=words('a MaskedStudent')):
        mae_teacher(1, None, random_weights=True)(images())


@pytest.mark.parametrize(
    ('name', 'meta', 'warned'),
    [
        ('mae_visualize_vit_base.pth', {}, True),
        ('weights.pth', {'norm_pix': False}, True),
        ('weights.pth', {'norm_pix': True}, False),
        ('mae_pretrain_vit_base_full.pth', {}, False),
    ],
)
def test_a_teacher_trained_on_raw_pixels_is_warned_of(tmp_path, monkeypatch, name, meta, warned):
    said = []
    monkeypatch.setattr(
        'g2sd_mm.checkpoints.fill.print_log',
        lambda text, **how: said.append((how['level'], text)),
    )
    path = save(tmp_path / name, autoencoder(), **meta)
    mae_teacher(1, path)
    assert len(said) == warned
    if warned:
        ((level, text),) = said
        assert level == logging.WARNING
        assert f'{name} was trained on raw pixels' in text
        assert 'mae_pretrain_vit_base_full.pth' in text


# Stage 2 ------------------------------------------------------------------------------------------


def task_teacher(checkpoint: str | None, **options):
    arguments = dict(config=dict(model=classifier_cfg(dim=24)), checkpoint=checkpoint)
    return build_teacher({**arguments, **options})


def test_a_task_teacher_answers_as_the_trained_model(tmp_path):
    tuned, x = classifier(dim=24, seed=2).eval(), images(3)
    teacher = task_teacher(save(tmp_path / 'tuned.pth', tuned))
    assert torch.equal(teacher(x), tuned(x))
    assert not teacher(x).requires_grad


def test_a_published_fine_tuned_file_is_a_task_teacher(tmp_path):
    """MAE's own names: backbone bare, ``head`` instead of ``head.fc``."""
    tuned, x = classifier(dim=24, seed=2).eval(), images(3)
    official = {
        name.removeprefix('backbone.').replace('head.fc.', 'head.'): tensor
        for name, tensor in tuned.state_dict().items()
    }
    torch.save({'model': official}, tmp_path / 'mae_finetuned.pth')
    teacher = task_teacher(str(tmp_path / 'mae_finetuned.pth'))
    assert torch.equal(teacher(x), tuned(x))


def test_a_task_teacher_without_weights_is_refused():
    message = words('has no checkpoint', 'random weights', 'distillation.teacher.checkpoint=FILE')
    with pytest.raises(CheckpointError, match=message):
        task_teacher(None)
    assert task_teacher(None, random_weights=True)


def test_a_task_teacher_of_another_size_or_kind_is_refused(tmp_path):
    other = save(tmp_path / 'other.pth', classifier(dim=16))
    message = words('other.pth cannot serve as teacher', 'an mmpretrain classifier', 'width 16',
                    'of another size', 'Give a checkpoint that')
    with pytest.raises(CheckpointError, match=message):
        task_teacher(other)
    classes = save(tmp_path / 'classes.pth', classifier(dim=24, classes=7))
    with pytest.raises(CheckpointError, match=words('head.fc.weight is 7x24, expected 3x24')):
        task_teacher(classes)
    mae = save(tmp_path / 'mae.pth', autoencoder())
    with pytest.raises(CheckpointError, match=words('mae.pth', 'a full masked autoencoder')):
        task_teacher(mae)


def test_a_task_teachers_classes_follow_the_override(tmp_path):
    path = save(tmp_path / 'seven.pth', classifier(dim=24, classes=7))
    assert task_teacher(path, overrides={'model.head.num_classes': 7})(images()).shape == (2, 7)


def test_a_task_teacher_does_not_load_its_own_pre_training(tmp_path):
    path = save(tmp_path / 'tuned.pth', classifier(dim=24))
    cfg = classifier_cfg(dim=24, init_cfg=dict(type='Pretrained', checkpoint='/no/such.pth'))
    assert task_teacher(path, config=dict(model=cfg))


def test_teacher_and_student_must_see_channels_in_one_order():
    def build(turned: bool, student: str, reads: str = 'bgr') -> Any:
        read = [dict(type='LoadImageFromFile', channel_order=reads)]
        preprocessor = dict(mean=[1.0, 1.0, 1.0], std=[2.0, 2.0, 2.0], to_rgb=turned)
        config = dict(
            model=classifier_cfg(dim=24),
            data_preprocessor=preprocessor,
            test_dataloader=dict(dataset=dict(pipeline=read)),
        )
        teacher = task_teacher(None, config=config, random_weights=True)
        own = nn.Module()
        own.data_preprocessor = ImgDataPreprocessor(
            mean=[1, 1, 1], std=[2, 2, 2], bgr_to_rgb=student == 'RGB'
        )
        teacher.check_student(own)

    build(True, 'RGB')
    build(False, 'BGR')
    build(False, 'RGB', reads='rgb')
    for turned, student in ((True, 'BGR'), (False, 'RGB')):
        with pytest.raises(ValueError, match='must see channels in one order'):
            build(turned, student)


def test_the_channels_of_a_student_are_read_off_its_preprocessor():
    for turned, order in ((True, 'RGB'), (False, 'BGR')):
        for scope, key in (('mmpretrain', 'to_rgb'), ('mmdet', 'bgr_to_rgb')):
            model = classifier()
            kind = 'ClsDataPreprocessor' if scope == 'mmpretrain' else 'DetDataPreprocessor'
            model.data_preprocessor = MODELS.build(
                dict(type=f'{scope}.{kind}', mean=[1, 1, 1], std=[2, 2, 2], **{key: turned})
            )
            assert student_pixels(model) == Pixels((1, 1, 1), (2, 2, 2), order)


@pytest.mark.parametrize(('std', 'agrees'), [(2.0, True), (3.0, False)])
def test_teacher_and_student_must_normalise_alike(std, agrees):
    config = dict(
        model=classifier_cfg(dim=24),
        data_preprocessor=dict(mean=[1.0, 1.0, 1.0], std=[2.0, 2.0, std]),
    )
    teacher = task_teacher(None, config=config, random_weights=True)
    student = nn.Module()
    student.data_preprocessor = ImgDataPreprocessor(mean=[1, 1, 1], std=[2, 2, 2])
    if agrees:
        teacher.check_student(student)
        return
    message = words('normalise images alike', 'the teacher has', '3.0', 'the student', '2]')
    with pytest.raises(ValueError, match=message):
        teacher.check_student(student)


def test_a_student_that_normalises_nothing_is_told_of(tmp_path):
    preprocessor = dict(mean=[1.0, 1.0, 1.0], std=[2.0, 2.0, 2.0])
    config = dict(model=classifier_cfg(dim=24), data_preprocessor=preprocessor)
    teacher = task_teacher(None, config=config, random_weights=True)
    student = nn.Module()
    student.data_preprocessor = ImgDataPreprocessor()
    with logged() as lines:
        teacher.check_student(student)
    assert any('data_preprocessor' in line and '2.0' in line for line in lines)


def test_a_config_is_found_from_another_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    overrides = {'model.backbone.arch': 'demo-student', 'model.head.in_channels': 64}
    teacher = OpenMMLabTeacher(
        'configs/imagenet/vitb_cls.py', random_weights=True, overrides=overrides
    )
    assert teacher.model.backbone.embed_dim == 64


def test_students_of_the_same_files_are_not_affected(tmp_path):
    """The teacher is a copy: what the student's training changes does not reach it."""
    path = save(tmp_path / 'full.pth', autoencoder(seed=4))
    model = distiller(teacher=dict(checkpoint=path))
    before = model.teacher.checksum()
    for parameter in model.parameters():
        parameter.data.add_(1.0)
    model.init_weights()
    assert model.teacher.checksum() == before
    assert STUDENT['arch']['embed_dim'] == model.student.embed_dim
