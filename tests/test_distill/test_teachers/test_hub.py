"""Teachers from a hub: one line where there is no network, and licences."""

from __future__ import annotations

import pytest

from g2sd_mm.distill.teachers.hub import hub_file, url_file
from g2sd_mm.distill.teachers.huggingface import HuggingFaceTeacher
from g2sd_mm.distill.teachers.licences import licence_warning
from g2sd_mm.distill.teachers.timm import TimmTeacher
from g2sd_mm.errors import UserError

from ...helpers.toys import logged, refused

SMALL = dict(embed_dim=24, depth=1, num_heads=2, img_size=56)
DINO = 'vit_small_patch14_dinov2.lvd142m'


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    """The hub's own switch, and an empty cache."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', True)
    monkeypatch.setattr(constants, 'HF_HUB_CACHE', str(tmp_path / 'hub'))
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))


def test_a_teacher_of_timm_without_a_network_is_one_line(no_network):
    with pytest.raises(UserError) as caught:
        TimmTeacher(DINO, pretrained=True, overrides=SMALL)
    said = str(caught.value)
    assert '\n' not in said
    assert f'model.safetensors from https://huggingface.co/timm/{DINO}' in said
    assert 'distillation.teacher.checkpoint=FILE' in said


def test_a_teacher_of_hugging_face_without_a_network_is_one_line(no_network):
    with pytest.raises(UserError) as caught:
        HuggingFaceTeacher('somebody/dinov2-tiny')
    said = str(caught.value)
    assert '\n' not in said
    assert 'model.safetensors from https://huggingface.co/somebody/dinov2-tiny' in said
    assert 'config.json' in said and 'distillation.teacher.model=FOLDER' in said


def test_what_is_in_the_cache_needs_no_network(no_network, tmp_path, monkeypatch):
    folder = tmp_path / 'hub' / 'models--some--body'
    (folder / 'refs').mkdir(parents=True)
    (folder / 'refs' / 'main').write_text('abc')
    (folder / 'snapshots' / 'abc').mkdir(parents=True)
    (folder / 'snapshots' / 'abc' / 'model.safetensors').write_text('x')
    assert hub_file('some/body', ('model.safetensors',), '').read_text() == 'x'
    with refused('pytorch_model.bin', 'some/body'):
        hub_file('some/body', ('pytorch_model.bin',), 'do this')


def test_an_address_that_cannot_be_reached_is_one_line(no_network):
    with refused('http://127.0.0.1:9/teacher.pth', 'give FILE'):
        url_file('http://127.0.0.1:9/teacher.pth', 'give FILE')


def test_models_without_weights_on_the_hub_say_so():
    with refused('no weights', 'vit_small_patch16_36x1_224', 'distillation.teacher.checkpoint'):
        TimmTeacher('vit_small_patch16_36x1_224', pretrained=True, overrides=SMALL)


@pytest.mark.parametrize(
    'licence, words',
    [
        ('apache-2.0', None),
        ('mit', None),
        ('BSD-3-Clause', None),
        ('cc-by-4.0', None),
        (None, None),
        ('cc-by-nc-4.0', 'forbids commercial use'),
        ('cc-by-nc-sa-4.0', 'forbids commercial use'),
        ('fair-noncommercial-research-license', 'forbids commercial use'),
        ('apple-amlr', 'forbids commercial use'),
        ('dinov3-license', 'read them'),
        ('gemma', 'read them'),
        ('other', 'read them'),
    ],
)
def test_what_a_licence_allows(licence, words):
    said = licence_warning(licence)
    assert said is None if words is None else words in said


def test_a_licence_that_forbids_commercial_use_is_said_in_the_log():
    with logged() as lines:
        overrides = dict(embed_dim=12, stages=(1, 1, 1, 1))
        TimmTeacher('hiera_tiny_224.mae', random_weights=True, overrides=overrides)
        TimmTeacher(DINO, random_weights=True, overrides=SMALL)
    (said,) = [line for line in lines if 'licence' in line]
    assert 'hiera_tiny_224.mae' in said and 'cc-by-nc-4.0' in said
