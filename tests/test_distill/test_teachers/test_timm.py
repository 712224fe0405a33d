"""Teachers of timm answer what timm's own forward pass does on timm's own preprocessing."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.data import create_transform, resolve_model_data_config
from torch import Tensor, nn

from g2sd_mm.checkpoints import CheckpointError
from g2sd_mm.distill import Features
from g2sd_mm.distill.teachers.timm import TimmTeacher
from g2sd_mm.runs.verify import _outline

from ...helpers.seen_images import SeeingStudent, pictures, randomised
from ...helpers.toys import refused, words

VIT = dict(embed_dim=24, depth=3, num_heads=2)
PYRAMID = dict(depths=(1, 1, 1, 1))
#: Name -> arguments that make it small, its training size and another one.
FAMILIES: dict[str, tuple[dict[str, Any], int, int]] = {
    'vit_small_patch14_dinov2.lvd142m': (dict(VIT, img_size=70), 70, 98),
    'vit_small_patch14_reg4_dinov2.lvd142m': (dict(VIT, img_size=70), 70, 56),
    'vit_small_patch16_dinov3.lvd1689m': (dict(VIT, num_heads=3, img_size=64), 64, 96),
    'vit_tiny_patch16_dinov3_qkvb.eupe_lvd1689m': (dict(VIT, num_heads=3, img_size=64), 64, 96),
    'beitv2_base_patch16_224.in1k_ft_in22k': (dict(VIT, img_size=64), 64, 96),
    'eva02_tiny_patch14_224.mim_in22k': (dict(VIT, embed_dim=32, img_size=56), 56, 84),
    'vit_base_patch16_siglip_224.v2_webli': (dict(VIT, img_size=64), 64, 96),
    'vit_base_patch16_clip_224.openai': (dict(VIT, img_size=64), 64, 96),
    'vit_base_patch16_224.mae': (dict(VIT, img_size=64), 64, 96),
    'deit3_small_patch16_224.fb_in1k': (dict(VIT, img_size=64), 64, 96),
    'convnext_tiny.dinov3_lvd1689m': (dict(PYRAMID, dims=(8, 12, 16, 24)), 64, 96),
    'swin_tiny_patch4_window7_224.ms_in1k': (
        dict(PYRAMID, embed_dim=12, num_heads=(1, 2, 2, 2)), 224, 160,
    ),
    'hiera_small_abswin_256.sbb2_e200_in12k': (dict(embed_dim=12, stages=(1, 1, 1, 1)), 256, 192),
}  # fmt: skip
DINO = 'vit_small_patch14_dinov2.lvd142m'


def library(name: str, **more: Any) -> Any:
    """A small network of a family, as timm makes it."""
    torch.manual_seed(1)
    return randomised(timm.create_model(name, **{**FAMILIES[name][0], **more}))


def saved(network: nn.Module, folder: Path, **changes: Any) -> str:
    """Its weights as a file."""
    state = {k: v.contiguous().clone() for k, v in network.state_dict().items()}
    path = folder / 'teacher.safetensors'
    save_file({**state, **changes}, path)
    return str(path)


def teacher_of(name: str, checkpoint: str | None, **more: Any) -> TimmTeacher:
    more = {'random_weights': checkpoint is None, **more}
    return TimmTeacher(name, checkpoint=checkpoint, overrides=FAMILIES[name][0], **more)


def answered(teacher: TimmTeacher, size: int, stride: int) -> Features:
    """What a student's teacher says of the pictures."""
    student = SeeingStudent(size, stride)
    teacher.check_student(student)
    return teacher(student.images(pictures(size)))


@torch.no_grad()
def own_answer(network: Any, size: int) -> tuple[Tensor | None, Tensor]:
    """Class token and patch map of timm's forward pass behind timm's own transform."""
    config = {**resolve_model_data_config(network), 'input_size': (3, size, size), 'crop_pct': 1.0}
    transform = create_transform(**config, is_training=False)
    out = network.forward_features(torch.stack([transform(p) for p in pictures(size)]))
    if out.ndim == 4:  # Swin has its channels last
        return None, out if getattr(network, 'output_fmt', '') == 'NHWC' else out.movedim(1, -1)
    prefix = getattr(network, 'num_prefix_tokens', 0)
    side = int((out.shape[1] - prefix) ** 0.5)
    cls = out[:, 0] if getattr(network, 'cls_token', None) is not None else None
    return cls, out[:, prefix:].unflatten(1, (side, side))


def assert_same(answer: Features, cls: Tensor | None, patches: Tensor) -> None:
    assert (answer.cls is None) == (cls is None)
    if cls is not None:
        torch.testing.assert_close(answer.cls, cls, atol=1e-4, rtol=0)
    assert patches.std() > 0.01
    torch.testing.assert_close(answer.patches, patches, atol=1e-4, rtol=0)


@pytest.mark.parametrize('name', FAMILIES)
def test_features_are_the_librarys_at_the_training_size_and_at_another(name, tmp_path):
    _, own, other = FAMILIES[name]
    network = library(name)
    teacher = teacher_of(name, saved(network, tmp_path))
    stride = teacher.stride
    assert_same(answered(teacher, own, stride), *own_answer(network, own))
    # of networks of one size another one, which timm loads the same weights into
    loaded = dict(pretrained=True, pretrained_cfg_overlay=dict(state_dict=network.state_dict()))
    if name.startswith('swin'):
        loaded = dict(loaded, dynamic_img_size=True)
    elif not name.startswith('convnext'):
        loaded = dict(loaded, img_size=other)
    there = timm.create_model(name, **{**FAMILIES[name][0], **loaded}).eval()
    assert_same(answered(teacher, other, stride), *own_answer(there, other))


def test_statistics_and_licence_are_those_that_timm_knows():
    clip = teacher_of('vit_base_patch16_clip_224.openai', None)
    assert clip.pixels.mean[0] == pytest.approx(255 * 0.48145466)
    dino = teacher_of(DINO, None)
    assert dino.licence == 'apache-2.0' and dino.pixels.std[2] == pytest.approx(255 * 0.225)
    other = teacher_of(DINO, None, mean=(0.5,) * 3, std=(0.25,) * 3, licence='cc0')
    assert other.pixels.std == (63.75,) * 3 and other.about()['licence'] == 'cc0'


@pytest.mark.parametrize('nested', [True, False])
def test_a_file_beside_its_config_is_normalised_as_that_says(nested, tmp_path):
    """As folders of timm's hub are; older ones have no ``pretrained_cfg``."""
    name = 'vit_base_patch16_224'  # of no tag: another one's weights, with means of 0.5
    network = library(f'{name}.mae')
    file = Path(saved(network, tmp_path)).rename(tmp_path / 'model.safetensors')
    mae = network.pretrained_cfg
    said = {'mean': list(mae['mean']), 'std': list(mae['std']), 'license': mae['license']}
    config = {'architecture': name, **({'pretrained_cfg': said} if nested else said)}
    (tmp_path / 'config.json').write_text(json.dumps(config))
    small = FAMILIES[f'{name}.mae'][0]
    for given in (file, tmp_path):
        teacher = TimmTeacher(name, checkpoint=str(given), overrides=small)
        assert teacher.licence == mae['license']
        assert_same(answered(teacher, 64, 16), *own_answer(network, 64))


def test_a_network_without_any_token_but_patches():
    small = dict(VIT, img_size=64)
    teacher = TimmTeacher('vit_relpos_small_patch16_224', random_weights=True, overrides=small)
    answer = answered(teacher, 64, 16)
    assert answer.cls is None and answer.patches.shape == (2, 4, 4, 24)


# Blocks -------------------------------------------------------------------------------------------


def test_an_earlier_block_is_as_the_block_gives_it_and_later_ones_are_not_loaded(tmp_path):
    network = library(DINO)
    file = saved(network, tmp_path)
    student = SeeingStudent(70, 14)
    for block in (1, -2, 'blocks.1'):
        teacher = teacher_of(DINO, file, block=block)
        teacher.check_student(student)
        names = set(teacher.model.state_dict())
        assert any(n.startswith('blocks.1.') for n in names)
        assert not any(n.startswith(('blocks.2.', 'norm.', 'head')) for n in names)
        images = student.images(pictures(70))
        with torch.no_grad():
            seen = teacher.prepared(images)
            ((patches, prefix),) = network.forward_intermediates(
                seen, indices=[1], intermediates_only=True, return_prefix_tokens=True
            )
        assert_same(teacher(images), prefix[:, 0], patches.movedim(1, -1))


def test_the_last_block_is_behind_the_final_norm_unless_it_is_refused(tmp_path):
    network = library(DINO)
    file = saved(network, tmp_path)
    normed = answered(teacher_of(DINO, file), 70, 14)
    raw = answered(teacher_of(DINO, file, norm=False), 70, 14)
    torch.testing.assert_close(network.norm(raw.patches), normed.patches, atol=1e-4, rtol=0)
    inner = answered(teacher_of(DINO, file, block=0, norm=True), 70, 14)
    plain = answered(teacher_of(DINO, file, block=0), 70, 14)
    torch.testing.assert_close(network.norm(plain.patches), inner.patches, atol=1e-4, rtol=0)


def test_the_mean_of_several_blocks(tmp_path):
    file = saved(library(DINO), tmp_path)
    each = [answered(teacher_of(DINO, file, block=b, norm=True), 70, 14) for b in (1, 2)]
    mean = answered(teacher_of(DINO, file, mean_of_last=2), 70, 14)
    torch.testing.assert_close(mean.patches, (each[0].patches + each[1].patches) / 2)
    torch.testing.assert_close(mean.cls, (each[0].cls + each[1].cls) / 2)


def test_a_stage_of_a_pyramid_by_name(tmp_path):
    name = 'convnext_tiny.dinov3_lvd1689m'
    network = library(name)
    teacher = teacher_of(name, saved(network, tmp_path), block='stages.2')
    assert (teacher.stride, teacher.width) == (16, 16)
    assert not any(key.startswith('stages.3') for key in teacher.model.state_dict())
    answer = answered(teacher, 64, 16)
    assert answer.patches.shape == (2, 4, 4, 16) and answer.cls is None
    with refused('mean_of_last=2'):
        teacher_of(name, None, mean_of_last=2)


# Files --------------------------------------------------------------------------------------------


def test_positions_of_another_size_than_timms_are_run_as_they_are(tmp_path):
    network = library(DINO, img_size=98)  # the file's table is 7 x 7, the network's 5 x 5
    teacher = teacher_of(DINO, saved(network, tmp_path))
    assert teacher.model.pos_embed.shape == network.pos_embed.shape
    assert_same(answered(teacher, 98, 14), *own_answer(network, 98))


def test_a_file_in_the_publishers_names_is_read_as_timm_reads_it(tmp_path):
    name = 'vit_small_patch14_reg4_dinov2.lvd142m'
    network = library(name)
    state = dict(network.state_dict())
    state['register_tokens'] = state.pop('reg_token')
    state['pos_embed'] = torch.cat([torch.full((1, 1, 24), 0.3), state['pos_embed']], dim=1)
    state['cls_token'] = state['cls_token'] - 0.3
    state['mask_token'] = torch.ones(1, 24)
    torch.save(state, tmp_path / 'dinov2.pth')
    teacher = teacher_of(name, str(tmp_path / 'dinov2.pth'))
    assert_same(answered(teacher, 70, 14), *own_answer(network, 70))


def test_heads_and_decoders_in_a_file_do_not_matter(tmp_path):
    network = library('vit_base_patch16_224.mae')
    more = {'decoder_embed.weight': torch.ones(2, 24), 'head.weight': torch.ones(3, 24)}
    file = saved(network, tmp_path, **more)
    answer = answered(teacher_of('vit_base_patch16_224.mae', file), 64, 16)
    assert_same(answer, *own_answer(network, 64))


@pytest.mark.parametrize(
    'change, message',
    [
        ({'blocks.1.attn.qkv.weight': None}, 'blocks.1.attn.qkv.weight'),
        ({'blocks.1.strange.weight': torch.ones(2, 2)}, 'blocks.1.strange.weight'),
        ({'blocks.3.norm1.weight': torch.ones(24)}, 'blocks.3.norm1.weight'),
        ({'norm.weight': torch.ones(25)}, 'norm.weight'),
        ({'patch_embed.proj.bias': torch.full((24,), torch.nan)}, 'patch_embed.proj.bias'),
    ],
)
def test_a_file_that_does_not_fill_what_is_run_is_refused(change, message, tmp_path):
    state = {**library(DINO).state_dict(), **change}
    torch.save({k: v for k, v in state.items() if v is not None}, tmp_path / 'file.pth')
    with pytest.raises(CheckpointError, match=words('file.pth', DINO, message)):
        teacher_of(DINO, str(tmp_path / 'file.pth'))
    if 'blocks.1.attn' in message:  # the blocks behind it are not missed
        teacher_of(DINO, str(tmp_path / 'file.pth'), block=0)


def test_a_teacher_can_be_verified_without_memory(tmp_path):
    for name in (DINO, 'swin_tiny_patch4_window7_224.ms_in1k'):
        file = saved(library(name), tmp_path)
        _outline(lambda name=name, file=file: teacher_of(name, file))
    torch.save({'norm.weight': torch.ones(24)}, tmp_path / 'other.pth')
    with pytest.raises(CheckpointError, match=words('other.pth')):
        _outline(lambda: teacher_of(DINO, str(tmp_path / 'other.pth')))


def test_random_numbers_of_the_student_do_not_depend_on_the_teacher():
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    teacher_of(DINO, None)
    assert torch.equal(torch.rand(3), expected)


# Options ------------------------------------------------------------------------------------------


def test_options_that_timm_or_the_network_do_not_have_are_refused():
    with refused("model='vit_smal_patch14_dinov2'", 'vit_small_patch14_dinov2'):
        TimmTeacher('vit_smal_patch14_dinov2', random_weights=True)
    for block in (3, -4, 'blocks.9', 'stages.1'):
        with refused('block=', 'blocks.0 .. blocks.2'):
            teacher_of(DINO, None, block=block)
    with refused('mean_of_last=3', '2 blocks'):
        teacher_of(DINO, None, block=1, mean_of_last=3)
    with refused('overrides', 'no_such'):
        TimmTeacher(DINO, random_weights=True, overrides=dict(no_such=1))
    with refused('cls=', 'mean'):
        teacher_of(DINO, None, cls='average')
    with refused('size=60', '14'):
        teacher_of(DINO, None, size=60)
    with refused('checkpoint', 'pretrained'):
        TimmTeacher(DINO, checkpoint='x.pth', pretrained=True)
    with pytest.raises(CheckpointError, match=words('checkpoint=FILE', 'pretrained=True')):
        TimmTeacher(DINO, overrides=VIT)


def test_a_windowed_network_is_made_for_the_size_that_it_sees():
    name = 'beitv2_base_patch16_224.in1k_ft_in22k'
    teacher = teacher_of(name, None)
    teacher.check_student(SeeingStudent(112, 8))  # 14 x 14 patches: 224 px would be twice as much
    assert teacher.model.patch_embed.img_size == (112, 112)
    teacher.check_student(SeeingStudent(112, 14))
    assert teacher.model.patch_embed.img_size == (128, 128)  # 8 x 8 patches of 16
    given = teacher_of(name, None, size=96)
    given.check_student(SeeingStudent(112, 8))
    assert given.model.patch_embed.img_size == (96, 96)
    assert given(torch.randn(1, 3, 112, 112)).patches.shape == (1, 14, 14, 24)


@pytest.mark.slow
def test_compiled_blocks_answer_the_same():
    teacher = teacher_of(DINO, None)
    assert [type(block).__name__ for block in teacher.blocks()] == ['Block'] * 3
    compiled = teacher_of(DINO, None, compile=True)
    compiled.model.load_state_dict(teacher.model.state_dict())
    plain, same = answered(teacher, 70, 14), answered(compiled, 70, 14)
    torch.testing.assert_close(plain.patches, same.patches, atol=1e-4, rtol=0)


def test_half_precision_is_the_networks_alone(tmp_path):
    network = library(DINO)
    file = saved(network, tmp_path)
    exact = answered(teacher_of(DINO, file), 70, 14)
    rounded = answered(teacher_of(DINO, file, dtype='bfloat16'), 70, 14)
    assert rounded.patches.dtype == torch.bfloat16
    assert (exact.patches - rounded.patches.float()).abs().mean() < 0.05 * exact.patches.std()


# A real file --------------------------------------------------------------------------------------


@pytest.mark.skipif('G2SD_DINOV2_FILE' not in os.environ, reason='G2SD_DINOV2_FILE names no file')
def test_a_real_dinov2_file():
    name, file = 'vit_small_patch14_dinov2', os.environ['G2SD_DINOV2_FILE']
    teacher = TimmTeacher(name, checkpoint=file, block=8)
    assert len(teacher.model.blocks) == 9 and teacher.width == 384
    answer = answered(teacher, 112, 16)  # at 98 px
    whole = timm.create_model(name, num_classes=0, dynamic_img_size=True).eval()
    from safetensors.torch import load_file

    whole.load_state_dict({k: v.float() for k, v in load_file(file).items()})
    student = SeeingStudent(112, 16)
    with torch.no_grad():
        seen = teacher.prepared(student.images(pictures(112)))
        assert seen.shape[-2:] == (98, 98)
        (expected,) = whole.forward_intermediates(seen, indices=[8], intermediates_only=True)
    torch.testing.assert_close(answer.patches, expected.movedim(1, -1), atol=1e-4, rtol=1e-4)
