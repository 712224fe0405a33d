"""Students are taken out of checkpoints whole, described, and load again."""

from __future__ import annotations

import json

import pytest
import timm
import torch
from safetensors import safe_open

from g2sd_mm import register_all
from g2sd_mm.checkpoints import CheckpointError, read_weights
from g2sd_mm.checkpoints.record import read_sidecar
from g2sd_mm.checkpoints.write import write_weights
from g2sd_mm.errors import UserError
from g2sd_mm.provenance import file_digest
from g2sd_mm.students import load_student
from g2sd_mm.students.extract import extract_student

from ..helpers.students import CONFIGS, random_model, record
from ..helpers.toys import ROOT, autoencoder, distiller, images, refused, run_tool, save, words


def checkpoint(folder, task: str = 'classification', **meta):
    """A stage-2 run's: student and adapters; says what it is unless ``meta`` does."""
    known = record(task)
    state = {f'student.{n}': t for n, t in random_model(known['network']).state_dict().items()}
    state['distillation.adapters.pyramid.weight'] = torch.zeros(3)
    path = folder / 'epoch_3.pth'
    write_weights(path, state, meta or {'student': known})
    return path


@pytest.mark.parametrize('ending', ['.pth', '.safetensors'])
@pytest.mark.parametrize('task', CONFIGS)
def test_a_students_weights_are_the_checkpoints(tmp_path, task, ending):
    source = checkpoint(tmp_path, task)
    path = tmp_path / 'out' / f'student{ending}'
    done = extract_student(source, path)
    state, written = read_weights(source).state, read_weights(path).state
    assert all(torch.equal(written[n], state[f'student.{n}']) for n in written)
    assert len(written) == len(state) - 1 == done.tensors
    assert done.left_behind == ('distillation.adapters.pyramid.weight',)
    sidecar = read_sidecar(path)
    assert sidecar['weights']['sha256'] == file_digest(path)
    assert sidecar['network'] == record(task)['network']
    assert sidecar['origin']['metrics'] == {'top1': 80.0}
    assert sidecar['origin']['extracted_from'] == {
        'file': str(source), 'sha256': file_digest(source)
    }
    student = load_student(tmp_path / 'out')
    assert student.task == task
    # those of batch norms are measured, not trained
    assert sidecar['weights']['parameters'] == sum(p.numel() for p in student.model.parameters())


def test_options_without_the_config_that_they_change_are_refused(tmp_path):
    path = tmp_path / 'student.pth'
    with refused('model.test_cfg', 'config'):
        extract_student(checkpoint(tmp_path), path, options={'model.test_cfg': {}})
    assert not path.exists()
    with refused('model.test_cfg', 'config'):
        load_student(tmp_path / 'epoch_3.pth', options={'model.test_cfg': {}})


def test_safetensors_say_where_they_come_from(tmp_path):
    extract_student(checkpoint(tmp_path), tmp_path / 'student.safetensors')
    with safe_open(tmp_path / 'student.safetensors', 'pt') as file:
        assert file.metadata()['extracted_from'] == 'epoch_3.pth'
        assert file.metadata()['format'] == 'pt'


@torch.no_grad()
def test_timms_layout_fills_timms_network(tmp_path):
    source = checkpoint(tmp_path)
    extract_student(source, tmp_path / 'a' / 'student.pth')
    extract_student(source, tmp_path / 'b' / 'student.safetensors', layout='timm')
    model = timm.create_model(
        'deit_tiny_distilled_patch16_224', img_size=56, patch_size=8, embed_dim=64, depth=4,
        num_heads=2, num_classes=10, checkpoint_path=str(tmp_path / 'b' / 'student.safetensors'),
    ).eval()
    x = images(2, 56)
    student = load_student(tmp_path / 'a')
    torch.testing.assert_close(model(x), student(x), rtol=0, atol=1e-5)
    torch.testing.assert_close(load_student(tmp_path / 'b')(x), student(x), rtol=0, atol=1e-5)
    assert read_sidecar(tmp_path / 'b' / 'student.safetensors')['layout'] == 'timm'


@torch.no_grad()
@pytest.mark.parametrize(('kind', 'head', 'name'), [
    ('VisionTransformer', 'VisionTransformerClsHead', 'vit_tiny_patch16_224'),
    ('DistilledVisionTransformer', 'DeiTClsHead', 'deit_tiny_distilled_patch16_224'),
])  # fmt: skip
def test_a_stock_vit_under_timms_names_is_the_same_network(tmp_path, kind, head, name):
    register_all()
    arch = dict(embed_dims=8, num_layers=1, num_heads=2, feedforward_channels=32)
    model = dict(
        type='ImageClassifier', backbone=dict(type=kind, arch=arch, img_size=32, patch_size=8),
        head=dict(type=head, num_classes=3, in_channels=8),
    )  # fmt: skip
    config = tmp_path / 'stock.py'
    config.write_text(f"default_scope = 'mmpretrain'\nmodel = {model}\ntest_dataloader = dict("
                      "dataset=dict(type='CustomDataset', pipeline=[dict(type='PackInputs')]))\n")
    stock = random_model({'model': model, 'scope': 'mmpretrain'})
    path = tmp_path / 'student.pth'
    extract_student(save(tmp_path / 'epoch_1.pth', stock), path, 'timm', str(config))
    theirs = timm.create_model(name, img_size=32, patch_size=8, embed_dim=8, depth=1, num_heads=2,
                               num_classes=3, checkpoint_path=str(path)).eval()  # fmt: skip
    expected = stock(images(2, 32))
    torch.testing.assert_close(theirs(images(2, 32)), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(load_student(path)(images(2, 32)), expected, rtol=0, atol=1e-5)


def test_of_stage_1_the_encoder_is_taken(tmp_path):
    model = distiller()
    known = {'network': None, 'origin': {'epoch': 1}}
    write_weights(tmp_path / 'epoch_1.pth', model.state_dict(), {'student': known})
    done = extract_student(tmp_path / 'epoch_1.pth', tmp_path / 'student.pth')
    written = read_weights(tmp_path / 'student.pth').state
    deployable = model.deployable_state()
    assert set(written) == set(deployable)
    assert all(torch.equal(written[name], deployable[name]) for name in written)
    assert done.network is None
    left = {name.split('.')[0] for name in done.left_behind}
    assert left == {'student', 'distillation'}
    assert not any('blocks.0.attn' in n and 'decoder' not in n for n in done.left_behind)


def test_a_config_says_what_a_silent_checkpoint_is(tmp_path):
    source = checkpoint(tmp_path, epoch=3, seed=7)
    with pytest.raises(UserError, match=words('nothing says which student is in epoch_3.pth',
                                              'give the config of its run with --config')):
        extract_student(source, tmp_path / 'student.pth')
    config = ROOT / 'configs' / 'shapes' / 'g2sd_vits_two_token_cls.py'
    extract_student(source, tmp_path / 'student.pth', config=str(config))
    sidecar = read_sidecar(tmp_path / 'student.pth')
    assert sidecar['network']['model']['head']['type'] == 'TwoTokenClsHead'
    assert (sidecar['origin']['epoch'], sidecar['origin']['seed']) == (3, 7)
    assert sidecar['origin']['teacher']['config'] == 'configs/shapes/vitb_cls.py'


def test_a_student_that_does_not_fit_leaves_no_file(tmp_path):
    source = checkpoint(tmp_path, 'segmentation', student=record('classification'))
    with pytest.raises(CheckpointError, match='cannot serve as weights of the student'):
        extract_student(source, tmp_path / 'student.pth')
    assert [path.name for path in tmp_path.iterdir()] == ['epoch_3.pth']


def test_a_student_that_does_not_fit_takes_no_place(tmp_path):
    (tmp_path / 'student.pth').write_text('an earlier one')
    source = checkpoint(tmp_path, 'segmentation', student=record('classification'))
    with pytest.raises(CheckpointError):
        extract_student(source, tmp_path / 'student.pth')
    assert (tmp_path / 'student.pth').read_text() == 'an earlier one'


def test_a_checkpoint_is_not_replaced_by_its_student(tmp_path):
    source = checkpoint(tmp_path, student=record())
    (tmp_path / 'link.pth').symlink_to(source)
    content = source.read_bytes()
    for path in (source, tmp_path / 'link.pth'):
        with refused(f'{path} is what is read'):
            extract_student(source, path)
    assert source.read_bytes() == content


def test_other_endings_and_unfit_layouts_are_refused(tmp_path):
    source = checkpoint(tmp_path, 'detection')
    with pytest.raises(UserError, match=r'is written to \.pth or \.safetensors'):
        extract_student(source, tmp_path / 'student.onnx')
    with pytest.raises(CheckpointError, match='timm cannot hold'):
        extract_student(source, tmp_path / 'student.pth', layout='timm')


def test_an_autoencoder_of_ours_gives_its_encoder(tmp_path):
    state = {f'autoencoder.{n}': t for n, t in autoencoder().state_dict().items()}
    write_weights(tmp_path / 'iter_1.pth', state, {'student': {'network': None, 'origin': {}}})
    done = extract_student(tmp_path / 'iter_1.pth', tmp_path / 'student.pth')
    assert 0 < done.tensors == len(state) - len(done.left_behind)
    assert all('decoder' in name or 'mask_token' in name for name in done.left_behind)


def test_the_command_says_what_it_wrote_and_overwrites_nothing(tmp_path):
    source = checkpoint(tmp_path)
    command = ('checkpoint.py', 'extract', str(source), '--student')
    done = run_tool(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f'{tmp_path}/student.pth: student for classification, 59 tensors',
        f'{tmp_path}/student.json: what it is and where it comes from',
        'left behind: 1 tensors of distillation',
    ]
    assert json.loads((tmp_path / 'student.json').read_text())['layout'] == 'ours'
    again = run_tool(*command, cwd=tmp_path)
    assert again.returncode == 2
    assert 'student.pth exists: choose another --out, or overwrite it with --force' in again.stderr
