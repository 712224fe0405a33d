"""A sidecar is data: nothing that it names is imported or called but registered components."""

from __future__ import annotations

import contextlib
import importlib
import sys
import types

import pytest
import torch
from mmengine.registry import MODELS
from torch import nn

from g2sd_mm.checkpoints.record import describe_network
from g2sd_mm.config.load import load_config
from g2sd_mm.errors import UserError
from g2sd_mm.students.build import build_student, check_network

from ..helpers.students import CONFIGS, record
from ..helpers.toys import words


@pytest.fixture
def network():
    return record()['network']


@pytest.mark.parametrize('name', [
    'os.system', 'mmpretrain.os.system', 'a-b', '', 'torchvision/ConvertImageDtype', 'x\n',
])  # fmt: skip
@pytest.mark.parametrize('place', ['model', 'test_pipeline'])
def test_only_registered_names_are_built(network, name, place):
    part = network['model']['head'] if place == 'model' else network['test_pipeline'][1]
    part['type'] = name
    with pytest.raises(UserError, match=words(f'names {name!r}, which is no component')):
        check_network(network)


def test_a_librarys_name_may_stand_before_it(network):
    network['model']['head']['type'] = 'mmpretrain.DeiTClsHead'
    check_network(network)


def test_only_the_task_libraries_are_scopes(network):
    network['model']['head']['_scope_'] = 'antigravity'
    with pytest.raises(UserError, match=words("scope 'antigravity'", 'mmpretrain, mmdet, mmseg')):
        check_network(network)


def test_other_modules_are_imported_by_the_person(network, monkeypatch):
    network['imports'].append('my_layers')
    with pytest.raises(UserError, match='the student needs my_layers: if you trust it, import'):
        check_network(network)
    assert 'my_layers' not in sys.modules
    monkeypatch.setitem(sys.modules, 'my_layers', types.ModuleType('my_layers'))
    check_network(network)


def test_a_config_may_import_one_module_of_another_library(network):
    """As stock configs write it: mmseg's Mask2Former and ConvNeXt."""
    cfg = load_config('configs/shapes/vits_scratch_cls.py')
    cfg.custom_imports = dict(imports='mmdet.models', allow_failed_imports=False)
    network['imports'] = describe_network(cfg)['imports']
    assert network['imports'] == ['mmdet.models']
    check_network(network)


def test_a_network_that_changes_its_config_is_built(network, monkeypatch, tmp_path):
    """Detectors of the DETR family do, and are built twice."""
    Changing = type('Changing', (nn.Sequential,), dict(__init__=_take_out))
    monkeypatch.setitem(MODELS.module_dict, 'Changing', Changing)
    torch.save({'0.weight': torch.ones(1, 1), '0.bias': torch.ones(1)}, tmp_path / 'weights.pth')
    network['model'] = dict(type='Changing', head=dict(width=1))
    built = build_student(network, str(tmp_path / 'weights.pth'), 'a student')
    assert built[0].weight.item() == 1


def _take_out(self: nn.Sequential, head: dict) -> None:
    nn.Sequential.__init__(self, nn.Linear(1, head.pop('width')))


@pytest.mark.parametrize('module', ['g2sd_mm..cli', 'os;system', 7, None, ''])
def test_what_is_imported_is_a_module(network, module):
    network['imports'].append(module)
    with pytest.raises(UserError, match='is no module'):
        check_network(network)


def test_a_module_that_this_version_lacks_is_named(network):
    network['imports'].append('g2sd_mm.no_such_part')
    with pytest.raises(UserError, match='no_such_part'):
        check_network(network)


@pytest.mark.parametrize('place', [
    '/etc/passwd', 'weights.npy', '..\\x', 'https://example.org', 's3://x', '~', 'a/b', 'x.py',
])  # fmt: skip
def test_no_text_may_name_a_file(network, place):
    network['model']['head']['loss'] = dict(type='CrossEntropyLoss', class_weight=[1.0, place])
    with pytest.raises(UserError, match='class_weight'):
        check_network(network)


@pytest.mark.parametrize('name', ['exit', 'print', 'mmcv.nms', '__import__'])
def test_the_name_of_a_suppression_is_not_evaluated(name):
    network = record('detection')['network']
    check_network(network)
    network['model']['test_cfg']['rcnn']['nms']['type'] = name
    with pytest.raises(UserError, match=words('nms.type', name)):
        check_network(network)


@pytest.mark.parametrize('step', [
    dict(type='LoadImageFromFile'), dict(type='mmseg.LoadBiomedicalImageFromFile'),
    dict(type='mmdet.LoadProposals'), dict(type='RandomApply', transforms=[
        dict(type='mmcv.LoadAnnotations')]),
])  # fmt: skip
def test_no_step_reads_a_file_after_the_first(network, step):
    network['test_pipeline'].append(step)
    with pytest.raises(UserError, match='opens files by name'):
        check_network(network)


def test_a_class_of_the_librarys_own_goes_before_others_of_its_name(network):
    importlib.import_module('mmdet.models')  # has a GlobalAveragePooling that opens files
    network['model']['neck'] = dict(type='GlobalAveragePooling')
    check_network(network)
    for change in (dict(type='mmdet.GlobalAveragePooling'), dict(_scope_='mmdet')):
        network['model']['neck'] = {'type': 'GlobalAveragePooling', **change}
        with pytest.raises(UserError, match='opens files by name'):
            check_network(network)


def test_networks_of_self_supervision_pass_but_the_one_that_opens_a_file(network):
    importlib.import_module('mmpretrain.models.selfsup')
    network['model']['backbone'] = dict(type='MoCoV3ViT')
    check_network(network)
    network['model']['backbone'] = dict(type='CLIPGenerator', tokenizer_path='here')
    with pytest.raises(UserError, match='opens files by name'):
        check_network(network)


@pytest.mark.parametrize('step', [None, 'Resize', dict(scale=3), dict(type=None)])
def test_a_step_has_a_type(network, step):
    network['test_pipeline'].append(step)
    with pytest.raises(UserError, match='has no type'):
        check_network(network)


@pytest.mark.parametrize('number', [10**6, -(10**6), 1e9])
def test_numbers_are_those_of_images_and_layers(network, number):
    network['test_pipeline'][1]['scale'] = {'tuple': [224, number]}
    with pytest.raises(UserError, match=words(str(number))):
        check_network(network)


@pytest.mark.parametrize(('text', 'passes'), [
    ('768/32', True), ('768/32/a', False), ('a/768/32', False), ('768', True), ('/32', False),
    ('http://a', False), ('x.pth', False), ('~', False), ('1.5', True), ('768/32\na/b', False),
])  # fmt: skip
def test_names_of_networks_are_no_places(network, text, passes):
    network['model']['arch'] = text  # of a ConvMixer
    with contextlib.nullcontext() if passes else pytest.raises(UserError, match='name a file'):
        check_network(network)


def test_ranges_are_no_sizes(network):
    ends = {'tuple': [{'tuple': [-1, 64]}, {'tuple': [64, 1e8]}]}
    network['model']['regress_ranges'] = ends  # of a head of FCOS
    network['model']['nms_pre'] = 30000  # of RTMDet
    network['model']['sampler'] = dict(type='OHEMPixelSampler', min_kept=131072)  # of PIDNet
    check_network(network)
    network['model']['strides'] = ends
    with pytest.raises(UserError, match=words('strides=100000000.0')):
        check_network(network)


@pytest.mark.parametrize('task', list(CONFIGS))
def test_what_runs_write_down_passes(task):
    check_network(record(task)['network'])
