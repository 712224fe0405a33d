"""Teachers of transformers answer what its models do on their own processor's images."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from torch import Tensor

from g2sd_mm.checkpoints import CheckpointError
from g2sd_mm.distill import Features
from g2sd_mm.distill.teachers import huggingface
from g2sd_mm.distill.teachers.huggingface import HuggingFaceTeacher
from g2sd_mm.provenance import file_digest
from g2sd_mm.runs.verify import roles, verify

from ...helpers.seen_images import SeeingStudent, pictures, randomised
from ...helpers.toys import refused, stage1_cfg, words

tf = pytest.importorskip('transformers')

SIZE = dict(hidden_size=24, num_hidden_layers=3, num_attention_heads=2, intermediate_size=48)
WORDS = dict(SIZE, num_hidden_layers=1, vocab_size=50)
MAE = dict(
    decoder_num_hidden_layers=1, decoder_hidden_size=16, decoder_num_attention_heads=2,
    decoder_intermediate_size=16, mask_ratio=0.75,
)  # fmt: skip
PROCESSOR = dict(
    do_rescale=True, rescale_factor=1 / 255, do_normalize=True,
    image_mean=[0.4, 0.5, 0.6], image_std=[0.2, 0.25, 0.3],
)  # fmt: skip


def config(kind: str) -> Any:
    """A small config of a family, for images of 64 px (56 px of patches of 14)."""
    size14, size16 = (dict(SIZE, image_size=4 * p, patch_size=p) for p in (14, 16))
    vision = dict(size16)
    return {
        'dinov2': lambda: tf.Dinov2Config(**size14),
        'dinov2_registers': lambda: tf.Dinov2WithRegistersConfig(**size14, num_register_tokens=4),
        'dinov3': lambda: tf.DINOv3ViTConfig(**size16, num_register_tokens=4),
        'siglip': lambda: tf.SiglipConfig(text_config=WORDS, vision_config=vision),
        'siglip2': lambda: tf.Siglip2VisionConfig(**SIZE, num_patches=16, patch_size=16),
        'clip': lambda: tf.CLIPConfig(text_config=WORDS, vision_config=vision),
        'mae': lambda: tf.ViTMAEConfig(**size16, **MAE),
        'beit': lambda: tf.BeitConfig(**size16, use_relative_position_bias=True),
        'vit': lambda: tf.ViTConfig(**size16),
        'internvl': lambda: tf.InternVLVisionConfig(
            **{**size16, 'image_size': [64, 64], 'patch_size': [16, 16]}
        ),
        'aimv2': lambda: tf.Aimv2VisionConfig(**size16),
        'swin': lambda: tf.SwinConfig(embed_dim=24, depths=[1], num_heads=[2], image_size=64),
        'vitdet': lambda: tf.VitDetConfig(**size16),
        'yolos': lambda: tf.YolosConfig(**{**size16, 'image_size': [64, 64]}),
    }[kind]()


FAMILIES = (
    'dinov2', 'dinov2_registers', 'dinov3', 'siglip', 'siglip2', 'clip', 'mae', 'beit', 'vit',
    'internvl',
)  # fmt: skip


def saved(kind: str, folder: Path) -> Any:
    """A network with random weights, in a folder as it would be published."""
    torch.manual_seed(1)
    network = tf.AutoModel.from_config(config(kind))
    randomised(network).save_pretrained(folder)
    (folder / 'preprocessor_config.json').write_text(json.dumps(PROCESSOR))
    return network


def answered(teacher: HuggingFaceTeacher, size: int) -> Features:
    student = SeeingStudent(size, teacher.stride)
    teacher.check_student(student)
    return teacher(student.images(pictures(size)))


@torch.no_grad()
def own_answer(network: Any, kind: str, size: int, hidden: int | None = None) -> Any:
    """Tokens of transformers' forward pass, behind a processor of transformers."""
    vision = getattr(network, 'vision_model', network)
    patch = vision.config.patch_size
    if kind == 'siglip2':
        processor = tf.Siglip2ImageProcessor(
            **PROCESSOR, patch_size=patch, max_num_patches=(size // patch) ** 2, do_resize=False
        )
    else:
        processor = tf.BitImageProcessor(
            **PROCESSOR, do_resize=False, do_center_crop=False, do_convert_rgb=True
        )
    given = dict(processor(pictures(size), return_tensors='pt'))
    if kind in ('siglip', 'clip', 'mae', 'beit', 'vit'):
        given['interpolate_pos_encoding'] = True
    if kind == 'mae':
        vision.config.mask_ratio = 0.0
        given['noise'] = torch.arange((size // patch) ** 2).expand(2, -1)
    out = vision(**given, output_hidden_states=True)
    return out.last_hidden_state if hidden is None else out.hidden_states[hidden]


def assert_same(answer: Features, tokens: Tensor, kind: str, side: int) -> None:
    prefix = tokens.shape[1] - side * side
    others = {'siglip': 0, 'siglip2': 0, 'deit': 2, 'dinov2_registers': 5, 'dinov3': 5}
    assert prefix == others.get(kind, 1)
    assert (answer.cls is None) == (prefix == 0)
    if prefix:
        torch.testing.assert_close(answer.cls, tokens[:, 0], atol=1e-4, rtol=0)
    patches = tokens[:, prefix:].unflatten(1, (side, side))
    assert patches.std() > 0.01
    torch.testing.assert_close(answer.patches, patches, atol=1e-4, rtol=0)


@pytest.mark.parametrize('kind', FAMILIES)
def test_features_are_the_librarys_at_the_training_size_and_at_another(kind, tmp_path):
    network = saved(kind, tmp_path)
    teacher = HuggingFaceTeacher(str(tmp_path))
    assert teacher.width == 24
    for side in (4, 6):
        size = side * teacher.stride
        assert_same(answered(teacher, size), own_answer(network, kind, size), kind, side)


@pytest.mark.parametrize('kind', FAMILIES)
def test_an_earlier_block_is_the_librarys_hidden_state_and_later_ones_are_not_built(kind, tmp_path):
    network = saved(kind, tmp_path)
    for block in (1, -2):
        teacher = HuggingFaceTeacher(str(tmp_path), block=block)
        assert len(teacher.blocks()) == 2
        size = 4 * teacher.stride
        assert_same(answered(teacher, size), own_answer(network, kind, size, hidden=2), kind, 4)


def test_the_mean_of_several_blocks(tmp_path):
    network = saved('dinov2', tmp_path)
    mean = answered(HuggingFaceTeacher(str(tmp_path), block=1, mean_of_last=2), 56)
    tokens = (own_answer(network, 'dinov2', 56, 1) + own_answer(network, 'dinov2', 56, 2)) / 2
    assert_same(mean, tokens, 'dinov2', 4)


@pytest.mark.parametrize('kind', ['dinov2', 'siglip', 'clip', 'vit'])
def test_of_a_mean_with_the_last_block_all_are_behind_the_final_norm(kind, tmp_path):
    """As timm does it; CLIP's tokens pass none."""
    network = saved(kind, tmp_path)
    network = getattr(network, 'vision_model', network).eval()
    norm = {'dinov2': 'layernorm', 'vit': 'layernorm', 'siglip': 'post_layernorm'}.get(kind)
    size = 4 * network.config.patch_size
    mean = answered(HuggingFaceTeacher(str(tmp_path), mean_of_last=2), size)
    earlier, last = (own_answer(network, kind, size, hidden=n) for n in (2, 3))
    if norm:
        earlier, last = (getattr(network, norm)(tokens) for tokens in (earlier, last))
    tokens = ((earlier + last) / 2)[:, -16:]
    torch.testing.assert_close(mean.patches.flatten(1, 2), tokens, atol=1e-4, rtol=0)


def test_a_masked_autoencoder_sees_all_patches_whenever_it_is_asked(tmp_path):
    saved('mae', tmp_path)
    teacher = HuggingFaceTeacher(str(tmp_path))
    first, second = answered(teacher, 64), answered(teacher, 64)
    assert torch.equal(first.patches, second.patches)


@pytest.mark.parametrize(
    ('kind', 'network', 'inner', 'patch'),
    [
        ('Dinov2', 'Dinov2ForImageClassification', 'dinov2', 14),
        ('DeiT', 'DeiTForImageClassificationWithTeacher', 'deit', 16),
    ],
)
def test_a_file_of_a_task_is_read_without_its_head(kind, network, inner, patch, tmp_path):
    torch.manual_seed(1)
    size = dict(SIZE, image_size=4 * patch, patch_size=patch, num_labels=3)
    network = getattr(tf, network)(getattr(tf, f'{kind}Config')(**size))
    randomised(network).save_pretrained(tmp_path)
    (tmp_path / 'preprocessor_config.json').write_text(json.dumps(PROCESSOR))
    answer = answered(HuggingFaceTeacher(str(tmp_path)), 4 * patch)
    assert_same(answer, own_answer(getattr(network, inner), inner, 4 * patch), inner, 4)


# What is refused ----------------------------------------------------------------------------------


def rewritten(folder: Path, change: Any) -> None:
    from safetensors.torch import load_file, save_file

    state = load_file(folder / 'model.safetensors')
    change(state)
    save_file(state, folder / 'model.safetensors', metadata={'format': 'pt'})


@pytest.mark.parametrize(
    'change, message',
    [
        (lambda s: s.pop('encoder.layer.1.norm1.weight'), 'encoder.layer.1.norm1.weight'),
        (lambda s: s.update({'strange.weight': torch.ones(2, 2)}), 'strange.weight'),
        (lambda s: s.update({'layernorm.weight': torch.ones(25)}), 'layernorm.weight'),
        (lambda s: s['layernorm.bias'].fill_(torch.nan), 'layernorm.bias'),
    ],
)
def test_weights_that_do_not_fill_what_is_run_are_refused(change, message, tmp_path):
    saved('dinov2', tmp_path)
    rewritten(tmp_path, change)
    with pytest.raises(CheckpointError, match=words(tmp_path.name, message)):
        HuggingFaceTeacher(str(tmp_path))


def test_a_folder_without_what_is_needed_is_refused(tmp_path):
    with refused('model=', 'no folder'):
        HuggingFaceTeacher(str(tmp_path / 'nothing'))
    with refused('config.json'):
        HuggingFaceTeacher(str(tmp_path))
    saved('dinov2', tmp_path)
    (tmp_path / 'preprocessor_config.json').unlink()
    with refused('preprocessor_config.json', 'distillation.teacher.mean'):
        HuggingFaceTeacher(str(tmp_path))
    given = HuggingFaceTeacher(str(tmp_path), mean=(0.5,) * 3, std=(0.25,) * 3)
    assert given.pixels.mean == (127.5,) * 3
    with refused('block=3', '0 .. 2'):
        HuggingFaceTeacher(str(tmp_path), block=3)
    (tmp_path / 'preprocessor_config.json').write_text(
        json.dumps(dict(PROCESSOR, rescale_factor=1 / 127.5))
    )
    with refused('scales pixels'):
        HuggingFaceTeacher(str(tmp_path))


@pytest.mark.parametrize('kind', ['swin', 'vitdet', 'yolos'])
def test_networks_whose_tokens_are_no_class_token_registers_and_patches_are_refused(kind, tmp_path):
    """A detector has its queries last, others a map: none may be taken for patches."""
    saved(kind, tmp_path)
    with refused('distillation.teacher.model', 'TimmTeacher'):
        HuggingFaceTeacher(str(tmp_path))


def test_one_with_positions_of_one_size_sees_images_of_that_size(tmp_path):
    network = saved('aimv2', tmp_path)
    teacher = HuggingFaceTeacher(str(tmp_path), size=None)
    assert teacher.size == (64, 64)
    assert answered(teacher, 96).patches.shape == (2, 6, 6, 24)  # on the student's grid
    answer = answered(teacher, 64)
    tokens = own_answer(network, 'aimv2', 64)
    assert answer.cls is None  # that of its head is none
    torch.testing.assert_close(answer.patches.flatten(1, 2), tokens, atol=1e-4, rtol=0)


@pytest.mark.parametrize('kind', ['dinov2', 'siglip2'])
def test_its_folder_or_a_file_of_it_is_a_role_of_a_config(kind, tmp_path):
    saved(kind, tmp_path / 'hub')
    cfg = Config(dict(stage1_cfg(), custom_imports=None))
    cfg.distillation.teacher = dict(type='HuggingFaceTeacher', model='owner/name')
    check = roles(cfg, 'stage1.py')['teacher']
    check(str(tmp_path / 'hub'))
    check(str(tmp_path / 'hub' / 'model.safetensors'))
    other = tmp_path / 'weights.safetensors'
    other.write_bytes((tmp_path / 'hub' / 'model.safetensors').read_bytes())
    teacher = {'_delete_': True, 'type': 'HuggingFaceTeacher', 'model': 'owner/name'}
    verdicts = verify(
        'configs/shapes/g2sd_vits_generic.py', str(other), {'distillation.teacher': teacher}
    )
    (problem,) = (verdict.problem for verdict in verdicts if verdict.role == 'teacher')
    assert str(tmp_path) in problem and 'config.json' in problem


def test_networks_that_are_no_plain_transformers_are_refused(tmp_path):
    small = tf.ConvNextConfig(hidden_sizes=[8, 8, 8, 8], depths=[1, 1, 1, 1])
    small.save_pretrained(tmp_path)
    with refused('distillation.teacher.model', 'TimmTeacher'):
        HuggingFaceTeacher(str(tmp_path), random_weights=True)


def test_without_transformers_there_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, 'transformers', None)
    with refused('pip install "transformers>=5"'):
        HuggingFaceTeacher(str(tmp_path))


def test_a_folder_never_goes_to_the_network(monkeypatch, tmp_path):
    saved('dinov2', tmp_path)
    monkeypatch.setattr(huggingface, 'hub_file', lambda *_: pytest.fail('asked the hub'))
    HuggingFaceTeacher(str(tmp_path))


@pytest.mark.parametrize(
    'header, licence',
    [
        ('---\nlicense: apache-2.0\ntags:\n- x\n---\n# Model', 'apache-2.0'),
        ('---\nlicense: other\nlicense_name: dinov3-license\n---\n', 'dinov3-license'),
        ('---\nlicense: mit  # of the weights\n---\nby Ren\xe9', 'mit'),
        ('---\nlicense: [mit\n---\n', None),
        ('---\nlicense: mit\ndate: 2026-13-01\n---\n', None),
        ('# Model\nlicense: mit\n', None),
    ],
)
def test_the_licence_is_that_of_the_model_card(header, licence, tmp_path):
    saved('dinov2', tmp_path)
    (tmp_path / 'README.md').write_text(header, encoding='latin1')
    assert HuggingFaceTeacher(str(tmp_path)).licence == licence
    digest = file_digest(tmp_path / 'model.safetensors')
    assert HuggingFaceTeacher(str(tmp_path), licence='mine').about() == {
        'type': 'HuggingFaceTeacher', 'model': str(tmp_path), 'source': str(tmp_path),
        'files': {'model.safetensors': digest}, 'licence': 'mine',
    }  # fmt: skip
