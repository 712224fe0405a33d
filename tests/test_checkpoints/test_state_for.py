"""Only published files are renamed: not this project's, and not those whose names fit."""

from __future__ import annotations

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS
from torch import nn

from g2sd_mm.checkpoints import CheckpointError, Weights, read_weights
from g2sd_mm.checkpoints.convert import state_for
from g2sd_mm.checkpoints.facts import facts_of
from g2sd_mm.checkpoints.fill import fill, fill_start
from g2sd_mm.checkpoints.record import own_record, write_sidecar
from g2sd_mm.checkpoints.uses import uses_of
from g2sd_mm.distill.teachers.openmmlab import OpenMMLabTeacher

from ..helpers.toys import classifier, save, words

HEAD = dict(
    num_classes=2, channels=8, norm_cfg=dict(type='BN'),
    loss_decode=dict(type='CrossEntropyLoss'),
)  # fmt: skip
WIDTHS = [8, 16, 32, 64]
BACKBONES = {
    'MixVisionTransformer': (
        dict(embed_dims=8, num_layers=[1] * 4, num_heads=[1, 2, 4, 8], mlp_ratio=2), WIDTHS
    ),
    'SwinTransformer': (
        dict(pretrain_img_size=32, embed_dims=8, depths=[1] * 4, num_heads=[1] * 4), WIDTHS
    ),
    'VisionTransformer': (
        dict(img_size=(32, 32), patch_size=8, embed_dims=16, num_layers=2, num_heads=2,
             out_indices=(0, 1)),
        [16, 16],
    ),
}  # fmt: skip


def config(backbone: str, classes: int = 2) -> dict:
    arguments, widths = BACKBONES[backbone]
    head = {**HEAD, 'num_classes': classes}
    return dict(
        _scope_='mmseg',
        type='EncoderDecoder',
        data_preprocessor=dict(type='SegDataPreProcessor'),
        backbone=dict(type=backbone, **arguments),
        decode_head=dict(
            type='SegformerHead', in_channels=widths, in_index=list(range(len(widths))), **head
        ),
        test_cfg=dict(mode='whole'),
    )


def segmentor(backbone: str, seed: int = 0, **options) -> nn.Module:
    torch.manual_seed(seed)
    model = MODELS.build(ConfigDict(config(backbone, **options)))
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    return model


def equal(model: nn.Module, source: nn.Module) -> bool:
    state = source.state_dict()
    return all(torch.equal(t, state[name]) for name, t in model.state_dict().items())


@pytest.mark.parametrize('backbone', BACKBONES)
def test_a_stock_file_tests_starts_and_teaches(backbone, tmp_path):
    """Names that also occur in layouts of published files are the model's own here."""
    source = segmentor(backbone, seed=1)
    path = save(tmp_path / 'x.pth', source)
    tested, started = segmentor(backbone), segmentor(backbone)
    fill(tested, path, 'student', 'x.py')
    fill_start(started, path)
    assert equal(tested, source) and equal(started, source)
    cfg = dict(model=config(backbone), default_scope='mmseg')
    teacher = OpenMMLabTeacher(cfg, path, ('backbone', 'decode_head'))
    assert equal(teacher.model, source)


@pytest.mark.parametrize('backbone', BACKBONES)
def test_of_a_run_the_student_is_taken_as_it_is(backbone, tmp_path):
    source = segmentor(backbone, seed=1)
    state = {f'student.{name}': t for name, t in source.state_dict().items()}
    model = segmentor(backbone)
    path = save(tmp_path / 'x.pth', state | {'distillation.adapters.a.weight': torch.zeros(1)})
    fill(model, path, 'student', 'x.py')
    assert equal(model, source)


def test_a_teacher_need_not_run_every_part_of_its_file(tmp_path):
    source = segmentor('MixVisionTransformer', seed=1)
    extra = {'auxiliary_head.conv_seg.weight': torch.zeros(2)}
    path = save(tmp_path / 'x.pth', source.state_dict() | extra)
    cfg = dict(model=config('MixVisionTransformer'), default_scope='mmseg')
    assert equal(OpenMMLabTeacher(cfg, path, ('backbone',)).model, source)


@pytest.mark.parametrize('backbone', BACKBONES)
def test_what_does_not_fit_is_told_under_the_models_own_names(backbone, tmp_path):
    path = save(tmp_path / 'x.pth', segmentor(backbone, classes=3))
    with pytest.raises(CheckpointError, match=words('x.pth', 'decode_head.conv_seg.')) as caught:
        fill(segmentor(backbone), path, 'student', 'x.py')
    assert 'unknown' not in str(caught.value) and 'missing' not in str(caught.value)


def network() -> dict:
    return dict(task='segmentation', scope='mmseg', imports=[], model={}, test_pipeline=[],
                classes=[])  # fmt: skip


def test_a_file_of_this_project_is_never_renamed(tmp_path):
    """A published classifier's names would become an mmpretrain model's."""
    published = {
        name.removeprefix('backbone.').replace('head.fc.', 'head.'): t
        for name, t in classifier().state_dict().items()
    }
    names = classifier().state_dict()
    meta = {'student': {'network': network(), 'origin': {}}}
    assert set(state_for(Weights('x.pth', published), names)) == set(names)
    assert set(state_for(Weights('x.pth', published, meta), names)) == set(published)


def test_a_file_is_known_as_ours_by_its_sidecar_too(tmp_path):
    path = tmp_path / 'x.safetensors'
    path.write_bytes(b'')
    assert own_record(Weights(str(path), {})) is None
    record = {'network': network(), 'origin': {}}
    write_sidecar(path, record, 0)
    assert own_record(Weights(str(path), {})) == network()
    write_sidecar(path, {'layout': 'timm', **record}, 0)
    assert own_record(Weights(str(path), {})) is None
    path.with_suffix('.json').write_text('{"images": []}')  # somebody else's
    assert own_record(Weights(str(path), {})) is None


def test_a_stock_file_is_shown_with_commands_that_fit_it(tmp_path):
    weights = read_weights(save(tmp_path / 'x.pth', segmentor('MixVisionTransformer')))
    facts = facts_of(weights)
    assert facts.stock and facts.title == 'an mmseg segmentor'
    commands = dict(uses_of(facts, 'x.pth'))
    assert commands['evaluation'] == 'python tools/test.py CONFIG x.pth'
    assert 'distillation.teacher.config=' in commands['teacher of stage 2']
    record = {'network': {**network(), 'model': config('MixVisionTransformer')}, 'origin': {}}
    path = save(tmp_path / 'y.pth', segmentor('MixVisionTransformer'), student=record)
    title = facts_of(read_weights(path)).title
    assert title == 'EncoderDecoder of mmseg with MixVisionTransformer, trained here'
