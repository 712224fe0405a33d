"""Several students of one run: each has the bits of its own run."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS

import g2sd_mm
from g2sd_mm.checkpoints import read_weights
from g2sd_mm.distill.config import configs_of_students
from g2sd_mm.distill.several_students import SeveralStudents
from g2sd_mm.errors import ConfigError, UserError
from g2sd_mm.runs.train import train
from g2sd_mm.seeding import seed_everything
from g2sd_mm.students.extract import extract_student

from ..helpers import imagenet
from ..helpers.toys import arch, autoencoder, decoder, images, mlp, save, stage1_cfg
from ..test_models.test_timm_backbone import FAMILIES
from .test_feature_student import LOSS, ToyPatches
from .test_several_runs import StopsAt

NAMES = ('small', 'tiny')
TINY = dict(
    model=dict(arch=arch(8), decoder=decoder(8)),
    distillation=dict(adapters=dict(tokens=dict(in_channels=8))),
)


def together(**changes: Any) -> Config:
    base = dict(default_scope='mmpretrain', **stage1_cfg())
    return Config({**base, 'students': dict(small={}, tiny=TINY), **changes})


def built(cfg: Config, between: int | None = None) -> Any:
    seed_everything(3)
    model = MODELS.build(g2sd_mm.distill_config(cfg).model)
    if between is not None:
        seed_everything(between)
    model.init_weights()
    return model


@pytest.mark.parametrize('between', [None, 5])
def test_each_is_initialised_and_taught_as_if_it_were_alone(between):
    model = built(together(), between)
    after = torch.rand(1)
    seed_everything(8)
    losses = model(images(4), mode='loss')  # without seeds of samples views are drawn by chance
    sum(losses[f'{name}.loss_tokens'] for name in NAMES).backward()
    for name, cfg in configs_of_students(together()).items():
        own = built(cfg, between)
        if name == 'small':
            assert torch.equal(after, torch.rand(1))
        seed_everything(8)
        loss = own(images(4), mode='loss')
        loss['loss_tokens'].backward()
        assert torch.equal(loss['loss_tokens'], losses[f'{name}.loss_tokens'])
        parameters = dict(model.students[name].named_parameters())
        assert parameters.keys() == dict(own.named_parameters()).keys()
        for key, parameter in own.named_parameters():
            assert torch.equal(parameter, parameters[key]), key
            if parameter.requires_grad:
                assert torch.equal(parameter.grad, parameters[key].grad), key


def test_the_teacher_is_one_and_asked_once():
    model = built(together())
    small, tiny = model.students.values()
    assert small.teacher is tiny.teacher is model.teachers['']
    asked = []
    model.teachers[''].listener = asked.append
    model(images(4), mode='loss')
    assert len(asked) == 1
    assert {name.split('.')[1] for name in model.state_dict() if 'students.' in name} == {*NAMES}


CONFIG = """
_base_ = {base!r}
students = dict(
    small=dict(),
    tiny=dict(model=dict(
        arch=dict(_delete_=True, embed_dim=32, depth=2, num_heads=2, patch_size=8))))
"""


@pytest.mark.slow
def test_both_have_the_bits_of_their_own_runs(image_data, tmp_path, monkeypatch):
    """Trained, stopped and resumed, with accumulation, weight decay and a schedule."""
    monkeypatch.setenv('G2SD_DATA', str(image_data))
    sizes = dict(arch='demo-teacher', decoder='dec64d2b', img_size=32)
    teacher = save(tmp_path / 'teacher.pth', autoencoder(sizes))
    options = imagenet.stage1(teacher) | {
        'optim_wrapper.accumulative_counts': 2,
        'param_scheduler.0.accumulation': 2,
        'optim_wrapper.optimizer.lr': 1e-3,
        'train_dataloader.batch_size': 5,
    }
    path = tmp_path / 'both.py'
    path.write_text(CONFIG.format(base=imagenet.path('g2sd_vits_generic')))
    both = tmp_path / 'both'
    train(str(path), options, str(both))
    tiny = dict(_delete_=True, embed_dim=32, depth=2, num_heads=2, patch_size=8)
    for name, changes in (('small', {}), ('tiny', {'model.arch': tiny})):
        own = tmp_path / f'own_{name}'
        train(imagenet.path('g2sd_vits_generic'), copy.deepcopy(options | changes), str(own))
        alone, shared = (read_weights(d / 'weights.pth') for d in (own, both / name))
        assert alone.state.keys() == shared.state.keys()
        for key, tensor in alone.state.items():
            assert torch.equal(tensor, shared.state[key]), key
        records = [json.loads((d / 'weights.json').read_text()) for d in (own, both / name)]
        assert records[0]['inputs'] == records[1]['inputs']
        assert records[0]['origin']['teacher'] == records[1]['origin']['teacher']
        assert shared.meta['grid'] == alone.meta['grid'] == '4x4'
    _ends_alike_if_resumed(path, options, both, tmp_path / 'cut')
    with pytest.raises(UserError, match='small, tiny'):
        extract_student(both / 'epoch_2.pth', tmp_path / 'one.pth')


def _ends_alike_if_resumed(path: Path, options: dict, whole: Path, cut: Path) -> None:
    hooks = [dict(type='StepSeedHook'), dict(type=StopsAt.__name__, step=5)]
    with pytest.raises(ArithmeticError):
        train(str(path), options | {'custom_hooks': hooks}, str(cut))
    train(str(path), options, str(cut), resume='auto')
    for name in NAMES:
        one, two = (read_weights(d / name / 'weights.pth').state for d in (whole, cut))
        assert all(torch.equal(tensor, two[key]) for key, tensor in one.items())


@pytest.mark.parametrize(
    ('changes', 'word'),
    [
        (dict(val_dataloader=dict(batch_size=1)), 'val_dataloader'),
        (dict(load_from='a.pth'), 'load_from'),
        (dict(online_knn=dict(k=1)), 'online_knn'),
        (dict(optim_wrapper=dict(clip_grad=dict(max_norm=1))), 'clip_grad'),
        (dict(students={'a loss': {}}), 'a loss'),
        (dict(students=dict(a=dict(train_cfg={}))), 'train_cfg'),
        (dict(distillation=None), 'distillation'),
    ],
)
def test_what_several_students_cannot_have(changes, word):
    with pytest.raises(UserError, match=word):
        g2sd_mm.distill_config(together(**changes))


@pytest.mark.parametrize(
    ('other', 'word'),
    [
        (dict(model=dict(mask_ratio=0.5)), 'mask_ratio'),
        (dict(distillation=dict(teacher=dict(until='decoder_blocks.0'))), 'teacher'),
        (
            dict(
                distillation=dict(
                    taps=dict(more=dict(student='norm', teacher='blocks.0')),
                    adapters=dict(more=mlp(lambda width: Config(dict(embed_dim=width)), 16, 24)),
                )
            ),
            'taps',
        ),
    ],
)
def test_students_that_ask_another_thing_are_refused(other, word):
    with pytest.raises(ConfigError, match=rf'students\.other .*{word}'):
        built(together(students=dict(small={}, other=other)))


def feature_student(level: int = -2, mean: float = 0.0) -> dict[str, Any]:
    name, options = FAMILIES['convnext']
    images = dict(type='ImgDataPreprocessor', mean=[mean] * 3, std=[1.0] * 3)
    student = dict(type='FeatureStudent', model=name, **options, level=level)
    return dict(
        student=dict(student, data_preprocessor=images),
        teacher=dict(type='ToyPatches'),
        taps=dict(patches=dict(student='patches')),
        losses=LOSS,
    )


@pytest.mark.parametrize(
    ('other', 'word'), [(dict(level=-3), 'level'), (dict(mean=1.0), 'data_preprocessor')]
)
def test_students_whose_teacher_would_see_other_images_are_refused(other, word, monkeypatch):
    monkeypatch.setattr(ToyPatches, 'prepares_images', True)
    students = dict(one=feature_student(), other=feature_student(**other))
    with pytest.raises(ConfigError, match=rf'students\.other .*model\.{word}'):
        SeveralStudents(students)
    assert SeveralStudents(dict(one=feature_student(), other=feature_student()))
