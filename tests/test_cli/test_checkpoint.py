"""``tools/checkpoint.py`` as people use it: inspect, convert, and files that are none."""

from __future__ import annotations

import json
import pickle
import re
import shlex
import time
from pathlib import Path

import pytest
import torch

from g2sd_mm.checkpoints import read_weights
from g2sd_mm.checkpoints.fill import fill
from g2sd_mm.checkpoints.layouts import LAYOUTS
from g2sd_mm.checkpoints.positions import transpose_positions
from g2sd_mm.checkpoints.record import read_sidecar, write_sidecar
from g2sd_mm.cli.checkpoint_commands import convert
from g2sd_mm.models.backbones import G2SDViT
from g2sd_mm.provenance import file_digest

from ..helpers.fake_checkpoints import BASE, FAKES, SMALL, hollow_state, random_state, wrapped
from ..helpers.students import CLASSES, student_folder
from ..helpers.toys import TEACHER, arch, autoencoder, classifier, logged, save, writes_a_file


@pytest.fixture
def fake(tmp_path):
    def write(name: str, file: str = 'file.pth', size=SMALL, fill=random_state) -> Path:
        torch.save(wrapped(FAKES[name], fill(FAKES[name].shapes(size))), tmp_path / file)
        return tmp_path / file

    return write


# inspect ------------------------------------------------------------------------------------------


def test_inspect_says_what_a_file_is_and_what_to_do_with_it(tool, fake):
    path = fake('mae_full', size=BASE, fill=hollow_state)
    code, out, _ = tool('inspect', path)
    assert code == 0
    assert out.splitlines() == [
        f'{path}: a full masked autoencoder (encoder and decoder)',
        '  tensors   254, 111.91 M values, 426.9 MiB, float32 (254)',
        '  network   a masked autoencoder or its encoder',
        '  size      width 768, patch 16, depth 12, image 224, decoder width 512, decoder depth 8',
        '  use       teacher of stage 1: python tools/train.py '
        'configs/imagenet/g2sd_vits_generic.py --cfg-options '
        f'distillation.teacher.checkpoint={path}',
        '  use       start of plain fine-tuning: python tools/train.py '
        f'configs/imagenet/vitb_cls.py --cfg-options model.backbone.init_cfg.checkpoint={path}',
    ]


def test_inspect_takes_several_files_and_lists_names(tool, fake):
    paths = [fake('timm', 'a.pth'), fake('detectron2', 'b.pth')]
    code, out, _ = tool('inspect', *paths, '--names')
    assert code == 0
    assert 'a timm-style ViT classifier' in out
    assert 'a detectron2 ViTDet detector' in out
    assert '  head.weight  [5, 32]  float32' in out


def test_a_foreign_file_is_no_error_and_has_no_use(tool, tmp_path):
    torch.save({'conv1.weight': torch.zeros(1)}, tmp_path / 'resnet.pth')
    code, out, _ = tool('inspect', tmp_path / 'resnet.pth')
    assert code == 0
    assert 'a file of another model' in out
    assert 'use       none here' in out


def test_a_prefix_of_data_parallel_does_not_matter(tool, tmp_path):
    state = {f'module.{n}': t for n, t in random_state(FAKES['mae_full'].shapes(SMALL)).items()}
    torch.save({'model': state}, tmp_path / 'ddp.pth')
    _, out, _ = tool('inspect', tmp_path / 'ddp.pth')
    assert 'a full masked autoencoder' in out


# What is no checkpoint ----------------------------------------------------------------------------


def sparse(path: Path) -> None:
    with path.open('wb') as file:
        file.truncate(2**30)


def truncated(path: Path) -> None:
    torch.save({'model': random_state(FAKES['mae_encoder'].shapes(SMALL))}, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def malicious(path: Path) -> None:
    torch.save({'model': writes_a_file(path.with_name('written'))}, path)


def malicious_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps({'model': writes_a_file(path.with_name('written'))}))


NOT_CHECKPOINTS = {
    'empty.pth': (lambda path: path.touch(), 'the file is empty; fetch it again'),
    'empty.pkl': (lambda path: path.touch(), 'the file is empty; fetch it again'),
    'empty.safetensors': (lambda path: path.touch(), 'the file is empty; fetch it again'),
    'page.pth': (
        lambda path: path.write_text('<!DOCTYPE html><html><body>404</body></html>'),
        'this is a web page, not a checkpoint',
    ),
    'truncated.pth': (truncated, 'the file is truncated'),
    'sparse.pth': (sparse, 'this is not a checkpoint'),
    'sparse.pkl': (sparse, 'this is not a checkpoint'),
    'sparse.safetensors': (sparse, 'damaged or truncated safetensors file'),
    'malicious.pth': (malicious, 'refused, it asks for'),
    'malicious.pkl': (malicious_pickle, 'refused: the pickle asks for'),
}


@pytest.mark.parametrize('name', NOT_CHECKPOINTS)
def test_what_is_no_checkpoint_gets_one_right_line_within_seconds(name, tool, tmp_path):
    make, message = NOT_CHECKPOINTS[name]
    make(tmp_path / name)
    started = time.monotonic()
    code, out, err = tool('inspect', tmp_path / name)
    assert time.monotonic() - started < 5
    assert code == 2
    assert out == ''
    (line,) = err.splitlines()
    assert line.startswith(f'error: {tmp_path / name}: ')
    assert message in line
    assert not (tmp_path / 'written').exists()


def test_a_missing_file_is_named(tool, tmp_path):
    code, _, err = tool('inspect', tmp_path / 'none.pth')
    assert (code, err) == (2, f'error: {tmp_path / "none.pth"}: no such checkpoint file\n')


# convert ------------------------------------------------------------------------------------------


def test_the_layouts_of_the_command_are_those_there_are():
    assert set(convert.LAYOUTS) == set(LAYOUTS)


@pytest.mark.parametrize('to', ['same', 'timm'])
def test_convert_warns_of_weights_that_nothing_takes(tool, tmp_path, to):
    state = random_state(FAKES['timm'].shapes(SMALL))
    next(t for t in state.values() if t.ndim > 1).view(-1)[0] = float('nan')
    torch.save(state, tmp_path / 'nan.pth')
    code, out, _ = tool('convert', tmp_path / 'nan.pth', tmp_path / 'o.pth', '--to', to)
    assert code == 0
    assert 'warning: 1 broken' in out and 'has NaN' in out


def test_convert_lists_what_is_left_out(tool, fake, tmp_path):
    code, out, _ = tool('convert', fake('g2sd_student'), tmp_path / 'o.pth', '--to', 'timm')
    assert code == 0
    lines = out.splitlines()
    assert lines[0].startswith('file.pth: an official stage-1 student')
    assert '  40 not held by the layout timm:' in lines
    assert '    decoderfeature_pred.fc2.bias' in lines
    assert len(read_weights(tmp_path / 'o.pth').state) == int(lines[1].split()[0])


def test_there_and_back_by_files_is_exact(tool, fake, tmp_path):
    source = fake('g2sd_classifier')
    for to, file in (('huggingface', 'folder'), ('ours', 'ours.safetensors'), ('g2sd', 'b.pth')):
        code, out, err = tool(
            'convert', source, tmp_path / file, '--to', to, '--heads', '2'
        )
        assert code == 0, err
        source = tmp_path / file
        assert ('the dist token is second there' in out) == (to == 'huggingface')
    first, last = read_weights(fake('g2sd_classifier', 'x.pth')), read_weights(source)
    assert set(first.state) == set(last.state)
    last_of_first = read_weights(tmp_path / 'file.pth').state
    assert all(torch.equal(tensor, last_of_first[name]) for name, tensor in last.state.items())


def test_a_folder_for_transformers_has_a_config(tool, fake, tmp_path):
    code, _, err = tool('convert', fake('mae_full'), tmp_path / 'o', '--to', 'huggingface')
    assert code == 2
    assert 'no usual number of heads for a decoder of width 16: give --decoder-heads' in err
    code, _, err = tool(
        'convert', fake('mae_full'), tmp_path / 'o', '--to', 'huggingface', '--decoder-heads', 2
    )
    assert code == 2
    assert 'no usual number of heads for width 32: give --heads' in err
    code, *_ = tool(
        'convert', fake('mae_full', size=BASE, fill=hollow_state), tmp_path / 'o', '--to',
        'huggingface',
    )
    assert code == 0
    config = json.loads((tmp_path / 'o' / 'config.json').read_text())
    assert config['architectures'] == ['ViTMAEForPreTraining']
    assert (config['num_attention_heads'], config['decoder_num_attention_heads']) == (12, 16)
    assert (config['image_size'], config['layer_norm_eps']) == (224, 1e-6)


def test_a_folder_for_transformers_has_what_the_json_says(tool, tmp_path):
    """A width is usual for two heads, and the JSON beside the weights says four."""
    weights = student_folder(tmp_path / 'run') / 'weights.json'
    record = json.loads(weights.read_text())
    record['network']['model']['backbone']['arch'] = dict(
        embed_dim=64, depth=4, num_heads=4, patch_size=8
    )
    weights.write_text(json.dumps(record))
    for place, heads in ((tmp_path / 'run', 4), (tmp_path, 2)):
        (tmp_path / 'run' / 'weights.pth').rename(place / 'weights.pth')
        code, out, _ = tool('convert', place / 'weights.pth', place / 'o', '--to', 'huggingface')
        assert code == 0 and ('--heads' in out) == (heads == 2)
        config = json.loads((place / 'o' / 'config.json').read_text())
        assert config['num_attention_heads'] == heads
        told, images = heads == 4, place / 'o' / 'preprocessor_config.json'
        assert config['id2label']['0'] == (CLASSES[0] if told else 'LABEL_0')
        assert images.is_file() == told
    content = json.loads((tmp_path / 'run' / 'o' / images.name).read_text())
    assert content['image_mean'] == pytest.approx([0.485, 0.456, 0.406])
    assert set(content['size'].values()) == {config['image_size']}


def test_positions_are_resized_when_asked(tool, fake, tmp_path):
    tool('convert', fake('mae_full'), tmp_path / 'o.pth', '--to', 'ours', '--img-size', 320)
    assert read_weights(tmp_path / 'o.pth').state['pos_embed'].shape == (1, 401, 32)
    code, _, err = tool(
        'convert', fake('mae_full'), tmp_path / 'p.pth', '--to', 'ours', '--img-size', 100
    )
    assert (code, len(err.splitlines())) == (2, 1)
    assert re.search('--img-size.* 100 .* 16', err)


def test_of_a_distiller_the_teacher_can_be_had(tool, fake, tmp_path):
    source = fake('seg_distiller')
    tool('convert', source, tmp_path / 'o.pth', '--to', 'g2sd', '--side', 'teacher')
    name = 'decode_head.conv_seg.weight'
    teacher = read_weights(source).state[f'teacher.{name}']
    assert torch.equal(read_weights(tmp_path / 'o.pth').state[name], teacher)


def test_nothing_is_overwritten_unasked(tool, fake, tmp_path):
    (tmp_path / 'o.pth').write_text('dear to somebody')
    code, _, err = tool('convert', fake('timm'), tmp_path / 'o.pth', '--to', 'ours')
    assert code == 2
    assert f'{tmp_path / "o.pth"} exists: choose another DST, or overwrite it with --force' in err
    assert (tmp_path / 'o.pth').read_text() == 'dear to somebody'
    assert tool('convert', fake('timm'), tmp_path / 'o.pth', '--to', 'ours', '--force')[0] == 0


def test_what_a_layout_cannot_hold_at_all_is_one_line(tool, fake, tmp_path):
    code, _, err = tool('convert', fake('segmentor'), tmp_path / 'o.pth', '--to', 'timm')
    assert (code, len(err.splitlines())) == (2, 1)
    assert 'timm cannot hold an UPerNet segmentor' in err
    assert not (tmp_path / 'o.pth').exists()


@pytest.mark.parametrize('choice', ['keep', 'transpose'])
def test_a_transposed_table_has_to_be_settled(choice, tool, tmp_path):
    own = autoencoder(TEACHER).state_dict()
    mixed_up = save(tmp_path / 'mae.pth', transpose_positions(own))
    code, _, err = tool('convert', mixed_up, tmp_path / 'o.pth', '--to', 'ours')
    assert code == 2
    assert '--positions transpose' in err
    tool('convert', mixed_up, tmp_path / 'o.pth', '--to', 'ours', '--positions', choice)
    made = read_weights(tmp_path / 'o.pth')
    assert torch.equal(made.state['pos_embed'], own['pos_embed']) == (choice == 'transpose')
    assert made.meta.get('positions') == (None if choice == 'transpose' else 'transposed')
    code, _, err = tool('convert', save(tmp_path / 'x.pth', own), tmp_path / 'p.pth', '--to',
                        'ours', '--positions', choice)
    assert code == 2
    assert 'leave --positions out' in err


# Two sets of weights ------------------------------------------------------------------------------


def test_the_command_that_the_note_offers_takes_the_other(tmp_path, tool):
    raw = random_state(FAKES['timm'].shapes(SMALL))
    ema = {name: t + 1 for name, t in raw.items()}
    path, out = tmp_path / 'file.pth', tmp_path / 'OUT.pth'
    torch.save({'state_dict': raw, 'state_dict_ema': ema}, path)
    (note,) = read_weights(path).notes
    words = shlex.split(note.partition('tools/checkpoint.py ')[2])
    words[words.index('OUT.pth')] = str(out)
    code, said, _ = tool(*words)
    assert code == 0 and str(out) in said
    state = read_weights(out).state
    assert all(torch.equal(state[name], ema[name]) for name in ema)
    code, _, _ = tool('convert', path, tmp_path / 'mae.pth', '--to', 'ours', '--weights', 'ema')
    assert code == 0
    converted = read_weights(tmp_path / 'mae.pth').state
    assert torch.equal(converted['backbone.cls_token'], ema['cls_token'])


# Half the size -----------------------------------------------------------------------------------


def test_half_the_size_is_written_with_the_record_of_the_source(tmp_path, tool):
    source, target = tmp_path / 'weights.pth', tmp_path / 'half.safetensors'
    state = {**random_state(FAKES['timm'].shapes(SMALL)), 'seen': torch.tensor(7)}
    save(source, state)
    record = {'network': None, 'origin': {'config': 'c.py', 'metrics': {'top1': 9.5}}}
    write_sidecar(source, record, 1)
    code, _, _ = tool('convert', source, target, '--to', 'same', '--half')
    assert code == 0
    made = read_weights(target).state
    assert all(torch.equal(made[n], t.half() if n != 'seen' else t) for n, t in state.items())
    told = read_sidecar(target)  # checks the digest
    assert told['weights']['file'] == target.name
    assert told['origin'].pop('converted_from')['sha256'] == file_digest(source)
    assert told['origin'] == record['origin']
    assert told['network'] is None


def test_a_record_in_a_file_that_is_none_is_a_line(tmp_path, tool):
    torch.save({'state_dict': {'a': torch.ones(2)}, 'meta': {'student': {}}}, tmp_path / 'a.pth')
    code, _, err = tool('convert', tmp_path / 'a.pth', tmp_path / 'b.pth', '--to', 'same')
    assert code == 2
    assert 'meta.student' in err and err.count('\n') == 1
    assert not (tmp_path / 'b.pth').exists()


def test_values_that_float16_cannot_hold_are_refused(tmp_path, tool):
    source = save(tmp_path / 'a.pth', {'big': torch.tensor([1.0, 7e4])})
    code, _, err = tool('convert', source, tmp_path / 'b.pth', '--to', 'same', '--half')
    assert code == 2
    assert 'big' in err and '--half' in err
    assert not (tmp_path / 'b.pth').exists()


# Names that move a terminal's cursor, or look like lines of ours ----------------------------------

FORGED = 'a\x1b[2J\nerror: forged'


def test_a_tensors_name_cannot_forge_a_line(tool, tmp_path):
    torch.save({FORGED: torch.ones(2, 2), 'b': torch.ones(1)}, tmp_path / 'x.pth')
    for command in (('inspect',), ('convert', '--to', 'same', tmp_path / 'y.pth')):
        code, out, err = tool(command[0], tmp_path / 'x.pth', *command[1:])
        assert code == 2 and out == ''
        assert err.count('\n') == 1 and '\x1b' not in err and r'a\x1b[2J' in err


def test_a_files_name_cannot_forge_a_line(tool, tmp_path):
    folder = tmp_path / FORGED
    folder.mkdir()
    state = random_state(FAKES['timm'].shapes(SMALL))
    torch.save(state, folder / 'x.pth')
    config = 'configs/imagenet/vits_mae_cls.py'
    for command in (
        ('inspect', folder / 'x.pth', '--names'),
        ('inspect', folder / 'none.pth'),
        ('convert', folder / 'x.pth', folder / 'y.pth', '--to', 'same'),
        ('convert', folder / 'x.pth', folder / 'z.pth', '--to', 'ours'),
        ('convert', folder / 'x.pth', folder / 'z.pth', '--to', 'ours'),
        ('verify', config, folder / 'x.pth'),
        ('extract', folder / 'x.pth', '--out', folder / 'e.pth'),
    ):
        _, out, err = tool(*command)
        assert out or err
        assert '\x1b' not in out + err
        assert not any(line.startswith('error: forged') for line in (out + err).splitlines())

# Rectangular images ------------------------------------------------------------------------------


def rectangular(path, out_type, grid):
    """A classifier for images of so many patches of 8 px; its file says the grid."""
    height, width = (8 * side for side in grid)
    model = classifier(out_type, img_size=(height, width))
    torch.nn.init.normal_(model.backbone.pos_embed)
    return model.backbone, save(path, model, grid=f'{grid[0]}x{grid[1]}')


@pytest.mark.parametrize('to', ['mmpretrain', 'timm', 'g2sd'])
@pytest.mark.parametrize('grid', [(6, 8), (2, 5)])  # one less and one more than a square
@pytest.mark.parametrize('ending', ['.pth', '.safetensors'])
def test_the_row_of_a_dist_token_is_known(tmp_path, tool, to, grid, ending):
    own, source = rectangular(tmp_path / 'own.pth', 'dist_token', grid)
    target = tmp_path / f'there{ending}'
    assert tool('convert', source, target, '--to', to)[0] == 0
    assert tool('convert', target, tmp_path / 'back.pth', '--to', 'ours')[0] == 0
    back = read_weights(tmp_path / 'back.pth').state['backbone.pos_embed']
    assert torch.equal(back, own.pos_embed)


def test_two_readings_of_a_dist_tokens_positions_are_both_named(tmp_path, tool):
    own, source = rectangular(tmp_path / 'own.pth', 'dist_token', (6, 8))
    bare, told = tmp_path / 'bare.pth', tmp_path / 'told.pth'
    assert tool('convert', source, bare, '--to', 'timm')[0] == 0
    state = torch.load(bare)
    state['pos_embed'][0, 1] = 1.0  # as DeiT learns it: nothing tells 6 x 8 from 7 x 7 any more
    torch.save(state, bare)
    for command in (('inspect', bare), ('convert', bare, tmp_path / 'a.pth', '--to', 'ours')):
        _, out, _ = tool(*command)
        assert 'bare.pth' in out and '--grid 6x8 (or 7x7)' in out
    network = G2SDViT(own_arch(own), img_size=(48, 64), out_type='dist_token')
    with logged() as lines:
        fill(network, str(bare), 'encoder')
    assert any('--grid 6x8 (or 7x7)' in line for line in lines)

    assert tool('convert', bare, told, '--to', 'same', '--grid', '6x8')[0] == 0
    assert '--grid' not in tool('inspect', told)[1]
    with logged() as lines:
        fill(network, str(told), 'encoder')
    assert not any('--grid' in line for line in lines)
    assert torch.equal(network.pos_embed, own.pos_embed)
    assert torch.equal(network.dist_token, own.dist_token + 1)

    code, _, err = tool('convert', bare, tmp_path / 'b.pth', '--to', 'same', '--grid', '5x8')
    assert code and '--grid 5x8' in err and 'bare.pth' in err


@pytest.mark.parametrize('ending', ['.pth', '.safetensors'])
def test_a_copy_keeps_the_grid_of_its_positions(tmp_path, tool, ending):
    own, source = rectangular(tmp_path / 'own.pth', 'cls_token', (2, 8))
    target = tmp_path / f'copy{ending}'
    assert tool('convert', source, target, '--to', 'same')[0] == 0
    filled = G2SDViT(own_arch(own), img_size=(16, 64), out_type='cls_token')
    fill(filled, str(target), 'encoder')
    assert torch.equal(filled.pos_embed, own.pos_embed)


def test_a_table_whose_grid_is_guessed_is_told(tmp_path, tool):
    own, source = rectangular(tmp_path / 'own.pth', 'cls_token', (2, 8))
    assert tool('convert', source, tmp_path / 'bare.pth', '--to', 'timm')[0] == 0
    with logged() as lines:
        fill(G2SDViT(own_arch(own), img_size=(16, 64)), str(tmp_path / 'bare.pth'), 'encoder')
    assert any('4x4' in line and '2x8' in line for line in lines)


def own_arch(vit):
    return arch(vit.embed_dim, vit.depth, vit.blocks[0].attn.num_heads)
