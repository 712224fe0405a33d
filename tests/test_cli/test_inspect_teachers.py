"""``inspect`` on other people's encoders: the command that teaches with them, or the reason."""

from __future__ import annotations

import json
import shlex

import pytest
import torch
from mmengine.registry import MODELS
from safetensors.torch import save_file

import g2sd_mm
from g2sd_mm.config.load import load_config
from g2sd_mm.config.options import read_options

from ..helpers.encoders import TINY_CONV, as_real, hugging_face, save_folder, timm_state
from ..helpers.toys import IMAGE, ROOT, images

OPTIONS = '--cfg-options '


@pytest.fixture
def timm_file(tmp_path):
    """A file of a timm model with random values; of a large one, only its first blocks matter."""

    def write(name: str, file: str = 'x.safetensors', **arguments):
        path = tmp_path / file
        save_file(as_real(timm_state(name, **arguments)), path)
        return path

    return write


def offered(out: str) -> dict[str, str]:
    """The options of the one command that teaches stage 1."""
    (line,) = [line for line in out.splitlines() if 'use       teacher of stage 1' in line]
    command = line.partition(': ')[2]
    assert command.startswith('python tools/train.py configs/imagenet/g2sd_vits_generic_')
    pairs = (part.split('=', 1) for part in shlex.split(command.partition(OPTIONS)[2]))
    return {key.removeprefix('distillation.'): value for key, value in pairs}


def test_a_dinov2_file_gets_its_name_size_and_command(tool, timm_file):
    path = timm_file('vit_small_patch14_dinov2')
    code, out, err = tool('inspect', path)
    assert (code, err) == (0, '')
    lines = out.splitlines()
    assert lines[0] == f'{path}: a DINOv2 ViT-S/14 (timm names)'
    assert lines[1].endswith('float32 (174)')
    assert lines[2] == (
        '  size      width 384, patch 14, depth 12, registers 0, class token yes, '
        'positions 37x37 table (518 px)'
    )
    assert offered(out) == {
        'teacher.model': 'vit_small_patch14_dinov2',
        'teacher.checkpoint': str(path),
        'adapters.tokens.out_channels': '384',
    }
    assert 'g2sd_vits_generic_dinov2.py' in out


def test_a_hierarchy_teaches_with_its_stage_of_16_px(tool, timm_file):
    _, out, _ = tool('inspect', timm_file('convnext_atto'))
    told = offered(out)
    assert (told['teacher.model'], told['teacher.block']) == ('convnext_atto', '2')
    assert told['adapters.tokens.out_channels'] == '160'


def test_a_plain_resnet_is_fine_as_feature_maps(tool, timm_file):
    _, out, _ = tool('inspect', timm_file('resnet18'))
    told = offered(out)
    assert (told['teacher.model'], told['teacher.block']) == ('resnet18', '3')
    assert told['adapters.tokens.out_channels'] == '256'


def test_a_plain_vit_keeps_its_uses_and_teaches_too(tool, timm_file):
    _, out, _ = tool('inspect', timm_file('vit_tiny_patch16_224'))
    assert 'start of plain fine-tuning' in out
    assert offered(out)['teacher.model'] == 'vit_tiny_patch16_224'


def test_a_plain_vit_is_asked_for_its_normalisation(tool, tmp_path, timm_file):
    _, out, _ = tool('inspect', timm_file('vit_tiny_patch16_224', 'model.safetensors'))
    assert 'mean and standard deviation' in out
    (tmp_path / 'config.json').write_text(json.dumps({'architecture': 'vit_tiny_patch16_224'}))
    _, out, _ = tool('inspect', tmp_path / 'model.safetensors')
    assert 'mean and standard deviation' not in out  # the teacher takes what stands there


def test_a_deit_with_two_heads_teaches(tool, timm_file):
    _, out, _ = tool('inspect', timm_file('deit_tiny_distilled_patch16_224'))
    assert offered(out)['teacher.model'] == 'deit_tiny_distilled_patch16_224'


def test_a_norm_that_the_file_lacks_is_left_out(tool, tmp_path):
    state = as_real(timm_state('vit_tiny_patch16_224'))
    state |= {f'fc_norm.{part}': state.pop(f'norm.{part}') for part in ('weight', 'bias')}
    save_file(state, tmp_path / 'tuned.safetensors')
    _, out, _ = tool('inspect', tmp_path / 'tuned.safetensors')
    assert 'a fine-tuned MAE classifier (fc_norm and head), or a plain ViT like it' in out
    assert offered(out)['teacher.norm'] == 'False'


def test_a_file_of_a_size_that_timm_does_not_have_gets_the_reason(tool, timm_file):
    code, out, _ = tool('inspect', timm_file('vit_small_patch14_dinov2', depth=2))
    assert code == 0
    assert 'a DINOv2 ViT (timm names)' in out
    assert 'use       none here: no model of the installed timm' in out


def test_a_timm_folder_names_its_own_model(tool, tmp_path):
    save_file(as_real(timm_state('vit_tiny_patch16_dinov3_qkvb')), tmp_path / 'model.safetensors')
    (tmp_path / 'config.json').write_text(
        json.dumps({'architecture': 'vit_tiny_patch16_dinov3_qkvb', 'num_classes': 0})
    )
    _, out, _ = tool('inspect', tmp_path)
    assert offered(out)['teacher.checkpoint'] == str(tmp_path / 'model.safetensors')
    assert offered(out)['teacher.model'] == 'vit_tiny_patch16_dinov3_qkvb'
    # an architecture whose tensors these are not is not believed
    (tmp_path / 'config.json').write_text(json.dumps({'architecture': 'vit_tiny_patch16_224'}))
    _, out, _ = tool('inspect', tmp_path)
    assert 'none here' in out


# transformers -------------------------------------------------------------------------------------


def test_a_folder_of_transformers(tool, tmp_path):
    folder = save_folder('Dinov2', tmp_path / 'a folder')
    for given in (folder, folder / 'model.safetensors'):
        code, out, _ = tool('inspect', given)
        assert code == 0
        assert out.startswith(f'{given}: a DINOv2 ViT (Hugging Face names)')
        assert offered(out) == {
            'teacher.type': 'HuggingFaceTeacher',
            'teacher.model': str(folder),
            'adapters.tokens.out_channels': '16',
        }
    (folder / 'preprocessor_config.json').unlink()
    _, out, _ = tool('inspect', folder)
    assert 'preprocessor_config.json is not beside it' in out
    (folder / 'config.json').unlink()
    _, out, _ = tool('inspect', folder)
    assert 'none here: config.json is not beside it' in out


def test_a_hierarchy_of_transformers_is_pointed_to_timms(tool, tmp_path):
    _, out, _ = tool('inspect', save_folder('ConvNext', tmp_path / 'x', **TINY_CONV))
    assert 'none here: transformers gives no features by block' in out


# Refused ------------------------------------------------------------------------------------------


def text_tower(path):
    state = hugging_face('CLIPText', hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                         intermediate_size=32, vocab_size=10, bos_token_id=0, eos_token_id=1,
                         pad_token_id=1).state_dict()  # fmt: skip
    save_file({n: t.contiguous() for n, t in state.items() if t.is_floating_point()}, path)


def language_model(path):
    save_file({'bert.embeddings.word_embeddings.weight': torch.ones(9, 4)}, path)


def int8(path):
    state = as_real(timm_state('vit_tiny_patch16_224', depth=1))
    state['blocks.0.attn.qkv.weight'] = torch.ones(576, 192, dtype=torch.int8)
    state['blocks.0.attn.qkv.SCB'] = torch.ones(576)
    save_file(state, path)


def bare_int8(path):
    state = as_real(timm_state('vit_small_patch14_dinov2', depth=1))
    state['blocks.0.attn.qkv.weight'] = torch.ones(1152, 384, dtype=torch.int8)
    save_file(state, path)


def float8(path):
    state = as_real(timm_state('vit_small_patch14_dinov2', depth=1))
    name = 'blocks.0.attn.qkv.weight'
    save_file(state | {name: state[name].to(torch.float8_e4m3fn)}, path)


def gptq(path):
    save_file({'layers.0.q_proj.qweight': torch.ones(8, 8, dtype=torch.int32)}, path)


def starting_with(content: bytes):
    return lambda path: path.write_bytes(content + bytes(64))


@pytest.mark.parametrize(
    ('name', 'make', 'message'),
    [
        ('x.safetensors', text_tower, 'a text tower or language model'),
        ('x.safetensors', language_model, 'a text tower or language model'),
        ('x.safetensors', int8, 'quantised weights (blocks.0.attn.qkv.SCB is in it)'),
        ('x.safetensors', bare_int8, '(blocks.0.attn.qkv.weight is int8)'),
        ('x.safetensors', float8, '(blocks.0.attn.qkv.weight is float8_e4m3fn)'),
        ('x.safetensors', gptq, 'quantised weights (layers.0.q_proj.qweight is in it)'),
        ('x.gguf', starting_with(b'GGUF\x03\0\0\0'), 'a GGUF file of quantised weights'),
        ('x.h5', starting_with(b'\x89HDF\r\n\x1a\n'), 'an HDF5 file of Keras'),
        ('x.npy', starting_with(b'\x93NUMPY\x01\0'), 'an array of numpy'),
        ('x.onnx', starting_with(b'\x08\x07\x12\x07pytorch'), 'an ONNX graph'),
    ],
)
def test_a_file_from_which_nothing_can_learn_gets_one_line(tool, tmp_path, name, make, message):
    path = tmp_path / name
    make(path)
    code, out, err = tool('inspect', path)
    assert (code, out) == (2, '')
    (line,) = err.splitlines()
    assert line.startswith(f'error: {path}: ') and message in line


def test_a_quantised_folder_is_refused_by_its_config(tool, tmp_path):
    folder = save_folder('Dinov2', tmp_path)
    config = json.loads((folder / 'config.json').read_text())
    config['quantization_config'] = {'quant_method': 'bitsandbytes'}
    (folder / 'config.json').write_text(json.dumps(config))
    code, out, err = tool('inspect', folder)
    assert (code, out) == (2, '') and 'quantization_config' in err


# The command works --------------------------------------------------------------------------------

#: The student at demo size; the teacher is the real one.
SMALL = {
    'model.arch': 'demo-student', 'model.decoder': 'dec32d2b', 'model.img_size': IMAGE,
    'distillation.adapters.tokens.in_channels': 32,
}  # fmt: skip


def command_of(out: str) -> list[str]:
    (line,) = [line for line in out.splitlines() if 'use       teacher of stage 1' in line]
    return shlex.split(line.partition(': ')[2])


def distiller(command: list[str]):
    """What ``tools/train.py`` would build of a printed command, the student small."""
    config, _, *options = command[2:]
    cfg = load_config(str(ROOT / config), read_options(options))
    cfg.merge_from_dict(SMALL)
    cfg = g2sd_mm.distill_config(cfg)
    return MODELS.build(dict(cfg.model, _scope_='mmpretrain'))


def tuned(path):
    state = as_real(timm_state('vit_tiny_patch16_224'))
    save_file(state | {f'fc_norm.{p}': state.pop(f'norm.{p}') for p in ('weight', 'bias')}, path)


def released_dinov2(path):
    """Names of the original release: registers, and a table with a row for the class token."""
    state = as_real(timm_state('vit_small_patch14_reg4_dinov2'))
    state['register_tokens'] = state.pop('reg_token')
    state |= {'pos_embed': torch.randn(1, 1370, 384), 'mask_token': torch.zeros(1, 384)}
    torch.save(state, path)


def of_timm(name):
    return lambda path: save_file(as_real(timm_state(name)), path)


MADE = {
    'dinov2': of_timm('vit_small_patch14_dinov2'),
    'folder dinov2': lambda path: save_folder('Dinov2', path),
    'eupe': of_timm('vit_tiny_patch16_dinov3_qkvb'),
    'eva02': of_timm('eva02_tiny_patch14_224'),
    'deit3': of_timm('deit3_small_patch16_224'),
    'convnext': of_timm('convnext_atto'),
    'swin': of_timm('swin_tiny_patch4_window7_224'),
    'hiera': of_timm('hiera_tiny_224'),
    'resnet': of_timm('resnet18'),
    'fine-tuned': tuned,
    'released dinov2': released_dinov2,
    'folder siglip': lambda path: save_folder('SiglipVision', path),
    'folder vit': lambda path: save_folder('ViT', path),
}
QUICK = ('dinov2', 'folder dinov2')


@pytest.mark.parametrize(
    'name', [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in MADE]
)
def test_the_printed_command_builds_a_teacher_that_teaches(tool, tmp_path, name):
    path = tmp_path / ('a, file.pth' if name.startswith('released') else 'a, file.safetensors')
    MADE[name](path)
    _, out, _ = tool('inspect', path)
    model = distiller(command_of(out))
    losses = model(images(2), mode='loss')
    assert torch.isfinite(losses['loss_tokens']) and losses['loss_tokens'] > 0
