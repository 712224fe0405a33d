"""What weights say of themselves is compared with the config and its data, in one place."""

from __future__ import annotations

import json

import pytest
import torch

from g2sd_mm.agreement.inputs import Inputs
from g2sd_mm.agreement.weights import cut_note, reconcile, recorded
from g2sd_mm.checkpoints.record import read_sidecar, write_sidecar
from g2sd_mm.config.parts import LOADERS
from g2sd_mm.distill.teachers.openmmlab import OpenMMLabTeacher
from g2sd_mm.runs.agreement import agree_for_test, agree_for_training
from g2sd_mm.runs.predict import infer
from g2sd_mm.runs.test import evaluate
from g2sd_mm.runs.verify import roles
from g2sd_mm.students import load_student
from g2sd_mm.students.extract import extract_student
from g2sd_mm.students.load import agree_on_test_data, student_of

from ..helpers.students import CONFIGS, random_model, record, student_folder
from ..helpers.toys import ROOT, config, refused, save
from .data import COLOURS, classification, folders, weights
from .test_data import labels

TRAIN, VAL, TEST = LOADERS
NAMES = tuple(COLOURS)
SCRATCH = str(ROOT / 'configs' / 'shapes' / 'vits_scratch_cls.py')


def named(folder, names=NAMES, **options):
    """A random classifier of these classes with its JSON; returns the weights' path."""
    student_folder(folder, num_classes=len(names), **options)
    path = folder / 'weights.json'
    content = json.loads(path.read_text())
    content['network']['classes'] = list(names)
    path.write_text(json.dumps(content))
    return folder / 'weights.pth'


@pytest.fixture
def deploy(tmp_path):
    """The demo's plain two-token student on folders of one's own."""

    def make(data=None, **options):
        root = str(data or tmp_path / 'none')
        return config(
            CONFIGS['classification'],
            shapes=None,
            **{'num_classes': 3, 'test_dataloader.dataset.data_root': root, **options},
        )

    return make


# What weights say ---------------------------------------------------------------------------------


def test_the_json_is_asked_first_then_the_file(tmp_path):
    path = named(tmp_path)
    facts = recorded(path)
    assert (facts.source, facts.classes) == (str(tmp_path / 'weights.json'), NAMES)
    assert (facts.inputs.size, facts.inputs.channels) == ((56, 56), 'RGB')
    known = json.loads((tmp_path / 'weights.json').read_text())
    (tmp_path / 'weights.json').unlink()
    assert recorded(path).classes == ()
    inside = save(tmp_path / 'epoch_1.pth', random_model(known['network']), student=known)
    assert recorded(inside).classes == NAMES
    (tmp_path / 'epoch_1.json').write_text('{"a": 1}')  # of somebody else
    facts = recorded(inside)
    assert facts.classes == NAMES
    assert 'epoch_1.json does not describe a student' in facts.notes[0]


def test_weights_of_data_that_give_pixels_see_rgb_whatever_was_written(tmp_path, deploy):
    """They were once said to see BGR, and their own config would be refused."""
    options = {f'{name}.dataset.pipeline': [dict(type='PackInputs')] for name in (VAL, TEST)}
    options['data_preprocessor.to_rgb'] = False
    path = named(tmp_path, **options)
    content = json.loads((tmp_path / 'weights.json').read_text())
    content['inputs'] = {**recorded(path).inputs.plain(), 'channels': 'BGR'}
    (tmp_path / 'weights.json').write_text(json.dumps(content))
    assert reconcile(deploy(**options), str(path), 'c.py').inputs.channels == 'RGB'


# Without data: infer, export, load_student --------------------------------------------------------


def test_the_weights_name_the_classes_whatever_the_data_of_the_config(tmp_path, deploy):
    path = named(tmp_path / 'run')
    other = folders(tmp_path / 'other', ['amber', 'teal', 'violet'])
    for cfg in (deploy(), deploy(other)):
        assert student_of(cfg, str(path), 'the config').classes == NAMES
    student = load_student(path, ROOT / 'configs' / CONFIGS['classification'], {'num_classes': 3})
    assert student.classes == NAMES
    image = str(next(other.rglob('*.png')))
    options = {'num_classes': 3, 'shapes': None}
    (found,) = infer(
        str(ROOT / 'configs' / CONFIGS['classification']), str(path), [image],
        str(tmp_path / 'out'), options,
    )
    assert set(found['scores']) == set(NAMES)


def test_names_given_in_the_config_must_be_those_of_the_weights(tmp_path, deploy):
    path = str(named(tmp_path / 'run'))
    with refused("class 2 is 'violet' and 'red'", 'classes_by_position=True'):
        reconcile(deploy(classes=('blue', 'green', 'violet')), path, 'mine.py')
    renamed = deploy(classes=('blue', 'green', 'violet'), classes_by_position=True)
    assert reconcile(renamed, path, 'mine.py').classes == ('blue', 'green', 'violet')
    agreement = reconcile(deploy(classes=('red', 'green', 'blue')), path, 'mine.py')
    assert agreement.classes == NAMES
    assert 'those of the weights count' in agreement.notes[0]


def test_another_number_of_classes_is_told_the_right_one(tmp_path, deploy):
    path = str(named(tmp_path / 'run'))
    with refused('3 classes', 'mine.py num_classes=7', '--cfg-options num_classes=3'):
        reconcile(deploy(num_classes=7), path, 'mine.py')
    assert reconcile(deploy(num_classes=3), path, 'mine.py').classes == NAMES


@pytest.mark.parametrize(
    ('option', 'said'),
    [
        ({'data_preprocessor.to_rgb': False}, 'channels RGB and BGR'),
        ({'data_preprocessor.mean': [0.0, 0.0, 0.0]}, 'mean'),
    ],
)
def test_images_prepared_otherwise_are_refused(tmp_path, deploy, option, said):
    path = str(named(tmp_path / 'run'))
    with refused('weights.json and mine.py prepare images differently', said, 'data_preprocessor'):
        reconcile(deploy(**option), path, 'mine.py')


def test_a_vit_of_other_heads_is_another_network(tmp_path, deploy):
    path = str(named(tmp_path / 'run'))
    alike = deploy()
    alike.model.backbone.arch = dict(embed_dim=64, depth=4, num_heads=4, patch_size=8)
    content = json.loads((tmp_path / 'run' / 'weights.json').read_text())
    content['network']['model']['backbone']['arch'] = dict(alike.model.backbone.arch)
    (tmp_path / 'run' / 'weights.json').write_text(json.dumps(content))
    assert reconcile(alike, path, 'mine.py').classes == NAMES
    with refused('weights.json', '4', 'mine.py', '2', 'model.backbone.arch'):
        reconcile(deploy(), path, 'mine.py')
    with refused('weights.json', '4', '2', 'model.backbone.arch'):
        OpenMMLabTeacher(deploy(), path)
    checks = roles(deploy(), 'mine.py')
    for role in ('init_cfg', 'load_from', 'weights'):
        with refused('weights.json', '4', 'mine.py', '2', 'model.backbone.arch'):
            checks[role](path)
        assert roles(alike, 'mine.py')[role](path)


def test_extracting_with_a_config_keeps_the_names_of_the_run(tmp_path):
    known = record(num_classes=3)
    state = random_model(known['network'])
    source = save(tmp_path / 'epoch_1.pth', state, dataset_meta=dict(classes=NAMES))
    extract_student(
        source, tmp_path / 'out' / 'student.pth',
        config=str(ROOT / 'configs' / CONFIGS['classification']), options={'num_classes': 3},
    )
    student = load_student(tmp_path / 'out')
    assert student.classes == NAMES
    assert student.inputs.size == (56, 56)


# Test data ----------------------------------------------------------------------------------------


def test_test_data_follow_the_names_of_the_weights(tmp_path, deploy):
    path = str(named(tmp_path / 'run', ('red', 'blue', 'green')))
    cfg = deploy(folders(tmp_path / 'val', ['green', 'red']))
    assert agree_for_test(cfg, path, 'mine.py') == ('red', 'blue', 'green')
    assert labels(cfg, TEST) == {'red': 0, 'green': 2}
    (hook,) = [hook for hook in cfg.custom_hooks if hook['type'] == 'AgreementHook']
    assert 'no folder for 1 of 3 classes (blue)' in hook['notes'][0]
    assert hook['size'] == (56, 56)


def test_the_shapes_of_a_docs_page_are_no_test_of_a_student_of_other_classes(tmp_path, deploy):
    path = str(named(tmp_path / 'run'))
    cfg = deploy(folders(tmp_path / 'shapes', ['arrow', 'cross', 'disc']))
    with refused('shapes has 3 classes (arrow, cross, disc)', 'weights.json has 3', "'blue'"):
        agree_for_test(cfg, path, 'mine.py')


def test_without_names_a_missing_folder_is_told_what_works(tmp_path, deploy):
    path = named(tmp_path / 'run')
    (tmp_path / 'run' / 'weights.json').unlink()
    data = folders(tmp_path / 'val', ['green', 'red'])
    with refused('the test data have 2 classes', 'num_classes=3', 'num_classes=2', 'classes='):
        agree_for_test(deploy(data), str(path), 'mine.py')
    cfg = deploy(data, classes=NAMES)  # as the message says, if the weights have 3
    agree_for_test(cfg, str(path), 'mine.py')
    assert labels(cfg, TEST) == {'green': 1, 'red': 2}
    two = named(tmp_path / 'two', ('green', 'red'))  # and if they have 2
    (tmp_path / 'two' / 'weights.json').unlink()
    assert agree_for_test(deploy(data, num_classes=2), str(two), 'mine.py') == ('green', 'red')


def test_the_test_command_judges_by_name(tmp_path):
    """Random weights that say 'blue' of everything, on a folder that lacks a class before it."""
    path = named(tmp_path / 'run', ('amber', 'blue', 'green'))
    model = random_model(record(num_classes=3)['network'])
    for name, parameter in model.named_parameters():
        if name.startswith('head.layers.head') and name.endswith('bias'):
            parameter.data[:] = parameter.new_tensor([0.0, 1e4, 0.0])
    known = read_sidecar(path)
    save(path, model)
    write_sidecar(path, {k: v for k, v in known.items() if k != 'weights'}, 0)
    options = {'shapes': None, 'num_classes': 3}
    for present, share in ((['blue', 'green'], 50.0), (['blue'], 100.0), (['green'], 0.0)):
        data = folders(tmp_path / '_'.join(present), present)
        metrics = evaluate(
            str(ROOT / 'configs' / CONFIGS['classification']), str(path),
            {**options, 'test_dataloader.dataset.data_root': str(data),
             'test_dataloader.num_workers': 0},
            work_dir=str(tmp_path / 'work'),
        )  # fmt: skip
        assert metrics['accuracy/top1'] == share


def test_networks_that_are_compared_have_the_same_classes(tmp_path, deploy):
    students = {
        name: load_student(named(tmp_path / name, names))
        for name, names in (('teacher', NAMES), ('student', NAMES), ('other', NAMES[::-1]))
    }
    cfg = deploy(folders(tmp_path / 'val'))
    pair = {name: students[name] for name in ('teacher', 'student')}
    agree_on_test_data(pair, cfg, 'mine.py', 56)
    assert labels(cfg, TEST) == {'blue': 0, 'green': 1, 'red': 2}
    with refused('teacher has 3', 'other has 3', "class 0 is 'blue' and 'red'"):
        agree_on_test_data(students, cfg, 'mine.py')
    with refused('images of 56x56 px', 'takes 32x32 px', '--size 56'):
        agree_on_test_data(pair, cfg, 'mine.py', 32)
    (cut,) = [s for s in cfg.test_dataloader.dataset.pipeline if s['type'] == 'CenterCrop']
    cut.crop_size = (48, 56)  # width x height
    with refused('images of 48x56 px', '--size 56x48'):  # an option is height x width
        agree_on_test_data(pair, cfg, 'mine.py', 32)


def test_names_of_other_data_are_not_those_of_a_number_of_classes():
    cfg = config('ade20k/g2sd_vits_upernet_nosd.py', num_classes=7)
    with refused('the names of 150 classes (wall,', 'num_classes=7', 'classes=(...)'):
        reconcile(cfg, None, 'mine.py', (TRAIN, VAL))
    named = config('ade20k/g2sd_vits_upernet_nosd.py', classes=('wall', 'sky'))
    assert reconcile(named, None, 'mine.py', (TRAIN, VAL)).classes == ('wall', 'sky')
    assert len(reconcile(config('ade20k/vitb_upernet.py'), None, 'x', (TRAIN, VAL)).classes) == 150
    assert len(reconcile(config('coco/vitb_maskrcnn.py'), None, 'x', (TRAIN, VAL)).classes) == 80


# Training -----------------------------------------------------------------------------------------


def test_a_resumed_run_keeps_the_order_of_its_checkpoint(tmp_path):
    order = ('red', 'blue', 'green')
    cfg = classification(folders(tmp_path / 'train'), folders(tmp_path / 'val'))
    file = weights(tmp_path / 'epoch_1.pth', order, {'x': torch.ones(1)})
    cfg.update(resume=True, load_from=file)
    agree_for_training(cfg, 'mine.py')
    for loader in (TRAIN, VAL):
        assert labels(cfg, loader) == {'red': 0, 'blue': 1, 'green': 2}


def test_a_start_of_other_colours_is_said(tmp_path):
    inputs = Inputs((56, 56), (123.675, 116.28, 103.53), (58.395, 57.12, 57.375), 'BGR').plain()
    file = weights(tmp_path / 'weights.pth', (), {'x': torch.ones(1)}, inputs)
    cfg = classification(folders(tmp_path / 'train'), folders(tmp_path / 'val'))
    cfg.model.backbone.init_cfg = dict(type='Pretrained', checkpoint=file)
    (note,), _ = agree_for_training(cfg, 'mine.py')
    assert 'channels BGR and RGB' in note


def test_a_crop_without_resizing_is_said(tmp_path):
    cfg = classification(None, tmp_path)
    assert cut_note(cfg, VAL) == ''
    del cfg.val_dataloader.dataset.pipeline[1]
    assert "dict(type='ResizeEdge', scale=64" in cut_note(cfg, VAL)
