"""What is written down about a student is all that its library needs, in plain values."""

from __future__ import annotations

import json

import pytest
from mmengine.config import Config
from mmengine.registry import MODELS
from torch import nn

from g2sd_mm import distill_config
from g2sd_mm.checkpoints.record import (
    describe_network,
    describe_origin,
    read_sidecar,
    refuse_taken,
    restore,
    sidecar_path,
    write_sidecar,
)
from g2sd_mm.errors import UserError
from g2sd_mm.provenance import file_digest

from ..helpers.students import CLASSES, CONFIGS, record
from ..helpers.toys import ROOT, config, refused


@pytest.mark.parametrize(
    ('task', 'scope', 'model'),
    [
        ('classification', 'mmpretrain', 'ImageClassifier'),
        ('detection', 'mmdet', 'MaskRCNN'),
        ('segmentation', 'mmseg', 'EncoderDecoder'),
    ],
)
def test_a_network_is_described_for_its_library(task, scope, model):
    network = describe_network(config(CONFIGS[task]), CLASSES)
    assert (network['task'], network['scope'], network['model']['type']) == (task, scope, model)
    assert network['classes'] == list(CLASSES)
    assert network['model']['data_preprocessor']['mean'] == [123.675, 116.28, 103.53]
    assert json.loads(json.dumps(network)) == network


def test_nothing_that_only_training_needs_is_kept():
    cfg = config('shapes/g2sd_vits_upernet.py')
    cfg.model.backbone.init_cfg = dict(type='Pretrained', checkpoint='somewhere')
    cfg.model.pretrained = 'open-mmlab://resnet50_v1c'  # of mmseg's stock configs
    text = json.dumps(network := describe_network(cfg))
    assert network['model']['train_cfg'] is None
    for word in ('init_cfg', 'somewhere', 'open-mmlab', 'Annotations', 'distillation', 'SyncBN'):
        assert word not in text


@pytest.mark.parametrize('place', ['nowhere', 'model', 'test_pipeline'])
def test_modules_of_ones_own_are_needed_where_the_network_has_parts_of_them(place, monkeypatch):
    """A loss, a teacher or a hook is training's: its student is loaded without them."""
    part = type('OwnPart', (nn.Module,), {'__module__': 'my.parts'})
    monkeypatch.setitem(MODELS.module_dict, 'OwnPart', part)
    cfg = config('shapes/vits_scratch_cls.py')
    cfg.custom_imports.imports = [*(ours := cfg.custom_imports.imports), 'my.losses', 'my.parts']
    if place == 'model':
        cfg.model.head.loss = dict(type='OwnPart')
    elif place == 'test_pipeline':
        cfg.test_dataloader.dataset.pipeline.append(dict(type='mmpretrain.OwnPart'))
    network = describe_network(cfg)
    own = [] if place == 'nowhere' else ['my.losses', 'my.parts']
    assert network['imports'] == [*ours, *own]


@pytest.mark.parametrize('name', ['g2sd_vits_cls', 'g2sd_vits_maskrcnn'])
def test_of_a_distilled_run_the_student_is_described(name):
    cfg = config(f'shapes/{name}.py')
    assert describe_network(distill_config(cfg)) == describe_network(cfg)


@pytest.mark.parametrize('name', ['vitb_mae', 'g2sd_vits_generic'])
def test_pretraining_is_no_task(name):
    assert describe_network(config(f'shapes/{name}.py')) is None
    assert describe_network(Config()) is None


def test_wrapped_data_are_looked_into():
    cfg = config(CONFIGS['segmentation'])
    plain = describe_network(cfg)
    cfg.test_dataloader.dataset = dict(type='RepeatDataset', dataset=cfg.test_dataloader.dataset)
    assert describe_network(cfg) == plain
    assert [step['type'] for step in plain['test_pipeline']] == [
        'LoadImageFromFile', 'Resize', 'CheckMasks', 'PackSegInputs'
    ]


def test_tuples_come_back_as_tuples():
    cfg = config(CONFIGS['detection'])
    network = json.loads(json.dumps(describe_network(cfg)))
    steps = restore(network['test_pipeline'])
    packed = next(step for step in steps if step['type'] == 'PackDetInputs')
    original = cfg.test_dataloader.dataset.pipeline[-1]
    assert packed['meta_keys'] == original.meta_keys
    assert isinstance(packed['meta_keys'], tuple)
    backbone = restore(network['model'])['backbone']
    assert backbone['global_blocks'] == (1, 3)
    assert restore(network['model'])['neck']['scale_factors'] == (2, 1, 0.5)


def test_a_class_is_written_by_its_name():
    cfg = config(CONFIGS['classification'])
    cfg.model.head.loss = dict(type=nn.CrossEntropyLoss)
    assert describe_network(cfg)['model']['head']['loss'] == {'type': 'CrossEntropyLoss'}


def test_the_origin_names_files_with_their_digests(tmp_path):
    teacher, start = tmp_path / 'teacher.pth', tmp_path / 'start.pth'
    teacher.write_bytes(b'teacher')
    start.write_bytes(b'start')
    cfg = config(
        'shapes/g2sd_vits_cls.py',
        **{
            'distillation.teacher.checkpoint': str(teacher),
            'model.backbone.init_cfg.checkpoint': str(start),
        },
    )
    for described in (cfg, distill_config(cfg)):
        origin = describe_origin(described, epoch=3)
        assert origin['teacher'] == {
            'config': 'configs/shapes/vitb_cls.py',
            'file': str(teacher),
            'sha256': file_digest(teacher),
        }
        assert origin['initialised_from'] == {'file': str(start), 'sha256': file_digest(start)}
        assert origin['dataset'] == {
            'type': 'CustomDataset',
            'data_root': 'data/shapes/cls_64px_4000+1000_s0/train',
        }
        assert origin['epoch'] == 3


def test_other_teachers_are_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # runs in the checkout's own work_dirs do not count
    origin = describe_origin(config('shapes/g2sd_vits_generic.py'))
    assert origin['teacher'] == {'file': 'work_dirs/vitb_mae/weights.pth', 'sha256': None}
    hook = dict(type='DistillationHook', teacher=dict(config='a.py', checkpoint='b.pth'))
    origin = describe_origin(Config(dict(custom_hooks=[dict(type='X'), hook])))
    assert origin['teacher'] == {'config': 'a.py', 'file': 'b.pth', 'sha256': None}
    assert describe_origin(config(CONFIGS['segmentation']))['teacher'] is None


def test_the_config_is_named_as_one_would_type_it(monkeypatch):
    monkeypatch.chdir(ROOT)
    origin = describe_origin(config(CONFIGS['classification']))
    assert origin['config'] == 'configs/shapes/vits_deploy.py'


def test_data_that_are_joined_are_all_named():
    cfg = config(CONFIGS['classification'])
    parts = [dict(type='CustomDataset', data_root=root) for root in ('a', 'b')]
    cfg.train_dataloader = dict(dataset=dict(
        type='SeededDataset', dataset=dict(type='ConcatDataset', datasets=parts)
    ))  # fmt: skip
    found = describe_origin(cfg)['dataset']
    assert found == {'type': 'SeededDataset', 'datasets': parts}


RECORD = {'network': None, 'origin': {'epoch': 1}}


def test_it_is_read_back_with_the_files_digest(tmp_path):
    weights = tmp_path / 'weights.pth'
    weights.write_bytes(b'numbers')
    assert write_sidecar(weights, RECORD, 7) == tmp_path / 'weights.json'
    assert read_sidecar(weights) == {
        'format': 1,
        'weights': {'file': 'weights.pth', 'sha256': file_digest(weights), 'parameters': 7},
        **RECORD,
    }


def test_it_lies_beside_any_kind_of_file(tmp_path):
    assert sidecar_path('a/b.safetensors').name == 'b.json'
    assert read_sidecar(tmp_path / 'alone.pth') is None


@pytest.mark.parametrize('text', ['', '[]', '{}', json.dumps({'format': 1, 'network': None})])
def test_another_json_is_named(tmp_path, text):
    (tmp_path / 'weights.json').write_text(text)
    with pytest.raises(UserError, match=r'weights\.json does not describe a student'):
        read_sidecar(tmp_path / 'weights.pth')


def test_a_later_format_is_named(tmp_path):
    (tmp_path / 'weights.json').write_text(json.dumps({'format': 9, **RECORD}))
    with pytest.raises(UserError, match='has format 9, this version of g2sd_mm reads 1'):
        read_sidecar(tmp_path / 'weights.pth')


def test_it_is_of_the_weights_that_it_was_written_for(tmp_path):
    weights = tmp_path / 'weights.pth'
    weights.write_bytes(b'numbers')
    write_sidecar(weights, RECORD, 7)
    weights.write_bytes(b'others')
    with pytest.raises(UserError, match=r'weights\.json describes other weights than .*\.pth'):
        read_sidecar(weights)
    content = json.loads(sidecar_path(weights).read_text())
    for known in (None, {}, {'sha256': None}, 'x'):
        sidecar_path(weights).write_text(json.dumps({**content, 'weights': known}))
        assert read_sidecar(weights)['origin'] == {'epoch': 1}


def test_the_json_of_other_weights_is_not_taken(tmp_path):
    (tmp_path / 'weights.pth').write_bytes(b'weights')
    write_sidecar(tmp_path / 'weights.pth', record(), 1)
    (tmp_path / 'result.json').write_text('[]')
    for name in ('weights.safetensors', 'result.pth'):
        with refused(str(sidecar_path(tmp_path / name)), 'choose another name'):
            refuse_taken(tmp_path / name, ())
    for name in ('weights.pth', 'other.pth', 'weights'):
        refuse_taken(tmp_path / name, ())
    with refused('weights.pth is what is read'):
        refuse_taken(tmp_path / 'weights.pth', [tmp_path / 'weights.pth'])


def test_the_index_of_shards_is_not_its_own_json(tmp_path):
    (tmp_path / 'model.safetensors.index.json').write_text('{"weight_map": {}}')
    assert read_sidecar(tmp_path / 'model.safetensors.index.json') is None
