"""Students come back from a file or folder as the networks that were written."""

from __future__ import annotations

import json

import pytest
import torch
from mmengine.registry import MODELS

import g2sd_mm
from g2sd_mm.checkpoints import CheckpointError, read_weights
from g2sd_mm.checkpoints.read import Weights
from g2sd_mm.checkpoints.record import sidecar_path
from g2sd_mm.checkpoints.write import write_weights
from g2sd_mm.students import Student, load_student
from g2sd_mm.students.build import no_larger_than

from ..helpers.students import CLASSES, CONFIGS, random_model, record, student_folder
from ..helpers.toys import ROOT, autoencoder, images, refused, save, words

SIZE = {'classification': 56, 'detection': 128, 'segmentation': 64, 'depth': 128}
NAMED = {'classification': 10, 'detection': 10, 'segmentation': 11, 'depth': 0}


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp('students')
    return {task: student_folder(root / task, task) for task in CONFIGS}


# The networks -------------------------------------------------------------------------------------


@pytest.mark.parametrize('task', CONFIGS)
def test_a_folder_gives_the_network_that_was_written(folders, task):
    student = load_student(folders[task])
    assert isinstance(student, torch.nn.Module)
    assert not student.training
    assert (student.task, student.image_size) == (task, SIZE[task])
    assert student.classes == CLASSES[: NAMED[task]]
    assert student.mean == pytest.approx((123.675, 116.28, 103.53))
    assert student.origin['metrics'] == {'top1': 80.0}
    original = random_model(record(task)['network'])
    written = original.state_dict()
    assert all(torch.equal(t, written[n]) for n, t in student.model.state_dict().items())
    assert set(student.state_dict()) == {f'model.{name}' for name in written}


@torch.no_grad()
def test_a_classifier_gives_logits(folders):
    student = load_student(folders['classification'])
    x = images(2, 56)
    cls, dist = student.model.backbone(x)[0]
    layers = student.model.head.layers
    torch.testing.assert_close(student(x), (layers.head(cls) + layers.head_dist(dist)) / 2)


@torch.no_grad()
def test_a_detector_gives_its_pyramid(folders):
    student = load_student(folders['detection'])
    x = images(2, 128)
    assert [list(level.shape) for level in student(x)] == [
        [2, 64, 32, 32], [2, 64, 16, 16], [2, 64, 8, 8], [2, 64, 4, 4]
    ]
    torch.testing.assert_close(student(x), tuple(student.model.extract_feat(x)))


@torch.no_grad()
def test_a_segmentor_gives_the_logits_that_mmseg_predicts_from(folders):
    student = load_student(folders['segmentation'])
    x = images(2, 128)
    meta = dict(img_shape=(128, 128), ori_shape=(128, 128))
    logits = student(x)
    assert logits.shape == (2, 11, 128, 128)
    torch.testing.assert_close(logits, student.model.encode_decode(x, [meta, meta]))


def test_without_a_sidecar_the_config_says_what_it_is(tmp_path):
    path = tmp_path / 'plain.pth'
    write_weights(path, random_model(record()['network']).state_dict(), {})
    with refused('nothing says what network', 'plain.pth', 'no plain.json', 'give the config'):
        load_student(path)
    student = load_student(path, ROOT / 'configs' / CONFIGS['classification'])
    assert student.model.head.layers.head.out_features == 10


def test_a_training_checkpoint_says_itself_what_it_is(tmp_path):
    known = record()
    path = tmp_path / 'epoch_3.pth'
    state = random_model(known['network']).state_dict()
    write_weights(path, {f'student.{n}': t for n, t in state.items()}, {'student': known})
    student = g2sd_mm.load_student(path)
    assert torch.equal(student.model.backbone.dist_token, state['backbone.dist_token'])


def test_synchronised_batch_norm_is_loaded_as_plain(folders):
    network = json.loads((folders['segmentation'] / 'weights.json').read_text())['network']
    assert network['model']['neck']['norm_cfg']['type'] == 'BN'
    path = ROOT / 'configs' / 'shapes' / 'g2sd_vits_upernet_nosd.py'
    assert isinstance(load_student(folders['segmentation'], path), Student)


# Which file ---------------------------------------------------------------------------------------


def test_of_a_runs_folder_the_last_weights_are_taken(folders, tmp_path):
    student_folder(tmp_path, name='best_weights.pth')
    student_folder(tmp_path)
    write_weights(tmp_path / 'epoch_1.pth', {'x': torch.ones(1)}, {})
    assert read_weights(tmp_path / 'weights.pth').state.keys() == {
        name.removeprefix('model.') for name in load_student(tmp_path).state_dict()
    }


def test_any_single_student_in_a_folder_is_found(tmp_path):
    student_folder(tmp_path, name='small.pth')
    assert load_student(tmp_path).task == 'classification'


def test_several_students_in_a_folder_are_named(tmp_path):
    student_folder(tmp_path, name='a.pth')
    student_folder(tmp_path, name='b.pth')
    with refused('has a.pth, b.pth: give one weights file'):
        load_student(tmp_path)


def test_a_missing_file_and_an_empty_folder_are_named(tmp_path):
    with refused('no weights file or folder', 'nowhere'):
        load_student(tmp_path / 'nowhere')
    with refused('no .pth or .safetensors file'):
        load_student(tmp_path)


# What does not fit --------------------------------------------------------------------------------


def test_a_device_that_is_not_there_is_told(folders):
    with refused('device gpu cannot be used'):
        load_student(folders['classification'], device='gpu')


def test_a_pretrained_encoder_is_told_apart(tmp_path):
    path = save(tmp_path / 'weights.pth', autoencoder(), student={'network': None, 'origin': {}})
    with refused('is a pre-trained encoder', 'model.backbone.init_cfg.checkpoint'):
        load_student(path)
    with refused('g2sd_vits_generic.py predicts nothing: it is a pre-training config'):
        load_student(path, ROOT / 'configs' / 'shapes' / 'g2sd_vits_generic.py')


def test_weights_of_another_network_are_refused(tmp_path):
    folder = student_folder(tmp_path)
    other = random_model(record(num_classes=7)['network'])
    write_weights(folder / 'weights.pth', other.state_dict(), {})
    with refused('weights.json describes other weights than', 'weights.pth'):
        load_student(folder)
    path = folder / 'weights.json'
    path.write_text(json.dumps({**json.loads(path.read_text()), 'weights': {}}))
    with pytest.raises(CheckpointError, match=words('weights.pth cannot serve', 'head.weight is')):
        load_student(folder)


def test_layers_that_others_replace_are_not_held_against_a_network():
    """mmpretrain's RegNet makes the layers of a ResNet-50 first, 23 M values."""
    g2sd_mm.register_all()
    regnet = dict(type='mmpretrain.RegNet', arch='regnetx_400mf')
    state = MODELS.build(regnet).state_dict()
    with no_larger_than(Weights('regnet.pth', state)):
        assert set(MODELS.build(regnet).state_dict()) == set(state)


def test_what_a_sidecar_may_say_of_a_network_is_limited(tmp_path, monkeypatch):
    """By number, by size, by name: each would take the memory, or run somebody's code."""
    victim, modules = tmp_path / 'victim', tmp_path / 'modules'
    modules.mkdir()
    (modules / 'evil_layer.py').write_text(f'open({str(victim)!r}, "w").close()')
    (modules / 'evil_config.py').write_text(f'open({str(victim)!r}, "w").close()\nmodel = {{}}')
    monkeypatch.syspath_prepend(str(modules))
    path = sidecar_path(student_folder(tmp_path) / 'weights.pth')
    good = path.read_text()

    def described(**changes):
        content = json.loads(good)
        for place, value in changes.items():
            *parents, last = ['network', 'model', *place.split('__')]
            part = content
            for parent in parents:
                part = part[parent]
            part[last] = value
        path.write_text(json.dumps(content))
        return tmp_path

    wide = dict(embed_dim=10**4, depth=2, num_heads=2, patch_size=8)
    deep = {**wide, 'embed_dim': 64, 'depth': 10**4}
    with pytest.raises(CheckpointError, match='described as a network of more than'):
        load_student(described(backbone__arch=wide))
    with pytest.raises(CheckpointError, match='described as a network of more than'):
        load_student(described(backbone__arch=deep))
    with refused('embed_dim=10000000, more than'):
        load_student(described(backbone__arch={**wide, 'embed_dim': 10**7}))
    with refused('cannot be built'):
        load_student(described(backbone__type='evil_layer'))
    kd = dict(type='mmdet.KnowledgeDistillationSingleStageDetector', teacher_config='evil_config')
    with refused('KnowledgeDistillationSingleStageDetector', 'opens files'):
        load_student(described(head=kd))
    with refused('teacher_config=', 'may name a file'):
        load_student(described(head={**kd, 'teacher_config': str(modules / 'evil_config.py')}))
    with refused('names 10000000, which is no component'):
        load_student(described(backbone__type=10**7))
    assert not victim.exists()
    student = load_student(described(backbone__init_cfg=dict(type='Pretrained', checkpoint='no')))
    assert student.task == 'classification'


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda r: r.pop('origin'), "does not describe a student (format, network, origin)"),
        (
            lambda r: r['network']['model']['head'].update(type='os.system'),
            "names 'os.system', which is no component",
        ),
        (lambda r: r.update(format=2), 'has format 2, this version of g2sd_mm reads 1'),
    ],
)
def test_another_json_is_refused(tmp_path, change, message):
    path = sidecar_path(student_folder(tmp_path) / 'weights.pth')
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with refused(message):
        load_student(tmp_path)
    path.write_text('no json')
    with refused('does not describe a student'):
        load_student(tmp_path)
