"""The parts of a config that several modules look for."""

from __future__ import annotations

import importlib

import pytest
import torch
from mmengine.config import Config

from g2sd_mm.config import parts
from g2sd_mm.config.parts import (
    add_hook,
    all_datasets,
    data_folder,
    encoder_start,
    fit_sampler,
    import_named_libraries,
    innermost_dataset,
    innermost_datasets,
    peer_timeout,
    plain_model,
    sync_batch_norm,
)
from g2sd_mm.errors import UserError

from ..helpers.toys import refused, words


@pytest.mark.parametrize(('model', 'file'), [
    (dict(backbone=dict(init_cfg=dict(checkpoint='a.pth')), pretrained=None), 'a.pth'),
    (dict(backbone=dict(), pretrained='open-mmlab://resnet50'), 'open-mmlab://resnet50'),
    (dict(student=dict(backbone=dict(), pretrained='b.pth')), 'b.pth'),
    (dict(backbone=dict(init_cfg=None)), None), (None, None),
])  # fmt: skip
def test_what_an_encoder_starts_from_is_found_in_both_places(model, file):
    assert encoder_start(dict(model=model)) == file


def test_data_lie_in_the_folder_that_the_environment_names(monkeypatch):
    monkeypatch.delenv('G2SD_DATA', raising=False)
    assert data_folder() == 'data'
    monkeypatch.setenv('G2SD_DATA', '/elsewhere')
    assert data_folder() == '/elsewhere'


def test_a_data_set_is_found_inside_of_its_wrappers():
    own = {'type': 'CocoDataset', 'data_root': 'data/coco'}
    assert innermost_dataset(own) is own
    assert innermost_dataset({'type': 'SeededDataset', 'dataset': own}) is own
    assert innermost_dataset({'dataset': {'dataset': own}}) is own


def test_every_data_set_is_found_that_others_join_repeat_balance_or_mix():
    a, b, c = ({'type': 'CocoDataset', 'data_root': name} for name in 'abc')
    joined = {'type': 'ConcatDataset', 'datasets': [a, {'type': 'RepeatDataset', 'dataset': b}]}
    mixed = {'type': 'MultiImageMixDataset', 'dataset': {'datasets': [joined, c]}, 'pipeline': [1]}
    seeded = {'type': 'SeededDataset', 'dataset': mixed}
    assert innermost_datasets(seeded) == [a, b, c]
    assert innermost_dataset(seeded) is a
    kinds = [part.get('type') for part in all_datasets(seeded)]
    assert kinds[:4] == ['SeededDataset', 'MultiImageMixDataset', None, 'ConcatDataset']
    assert len(kinds) == 8


def trained(loop: str, sampler: str, *wrappers: str) -> Config:
    """A run's loop, its sampler and its data set inside of others."""
    dataset: dict = {'type': 'CustomDataset'}
    for wrapper in reversed(wrappers):
        dataset = {'type': wrapper, 'dataset': dataset}
    loader = {'sampler': {'type': sampler, 'shuffle': True}, 'dataset': dataset}
    return Config({'train_cfg': {'type': loop}, 'train_dataloader': loader})


def test_where_iterations_count_the_sampler_goes_on_with_the_next_pass():
    cfg = trained('ResumableIterLoop', 'SeededSampler', 'SeededDataset', 'RepeatDataset')
    fit_sampler(cfg)
    assert cfg.train_dataloader.sampler.infinite is True
    for loop, sampler in [('ResumableEpochLoop', 'SeededSampler'), ('Their', 'SeededSampler'),
                          ('ResumableIterLoop', 'InfiniteSampler')]:
        fit_sampler(cfg := trained(loop, sampler, 'SeededDataset'))
        assert cfg.train_dataloader.sampler == {'type': sampler, 'shuffle': True}


def test_an_epoch_without_an_end_is_refused():
    with pytest.raises(UserError, match=words('train_dataloader.sampler', 'SeededSampler')):
        fit_sampler(trained('ResumableEpochLoop', 'InfiniteSampler'))


def test_keys_are_for_the_outermost_data_set():
    with pytest.raises(UserError, match=words('train_dataloader.dataset', 'RepeatDataset')):
        fit_sampler(trained('ResumableEpochLoop', 'SeededSampler', 'RepeatDataset',
                            'SeededDataset'))
    fit_sampler(trained('ResumableEpochLoop', 'SeededSampler', 'TheirSeeded'))


def test_a_model_gets_its_library_and_its_preprocessor_and_the_config_stays():
    cfg = Config(
        {
            'default_scope': 'mmpretrain',
            'data_preprocessor': {'mean': [1]},
            'model': {'type': 'ImageClassifier'},
        }
    )
    model = plain_model(cfg)
    assert (model['_scope_'], model.data_preprocessor) == ('mmpretrain', {'mean': [1]})
    assert cfg.model == {'type': 'ImageClassifier'}


def test_what_a_model_says_of_itself_is_kept():
    own = {'type': 'MaskRCNN', '_scope_': 'mmdet', 'data_preprocessor': {'mean': [2]}}
    cfg = Config({'data_preprocessor': {'mean': [1]}, 'model': own})
    assert plain_model(cfg) == own
    assert plain_model(Config({'model': {'type': 'A'}}))['_scope_'] == 'mmengine'


def test_a_config_stays_as_it_is_whatever_is_built_from_its_model():
    cfg = Config({'model': {'type': 'A', 'head': {'type': 'B'}, 'parts': [{'type': 'C'}]}})
    model = plain_model(cfg)
    model.head.pop('type')
    model.parts[0].update(width=3)
    assert cfg.model.to_dict() == {'type': 'A', 'head': {'type': 'B'}, 'parts': [{'type': 'C'}]}


@pytest.mark.parametrize(
    ('model', 'imported'),
    [
        ({'type': 'MaskRCNN', '_scope_': 'mmdet'}, []),
        ({'type': 'MaskRCNN', 'neck': [{'type': 'mmseg.UPerHead'}]}, ['mmseg.models']),
        ({'type': 'mmdet.MaskRCNN', 'head': {'_scope_': 'mmpretrain'}}, ['mmpretrain.models']),
        ({'type': 'mmengine.BaseModel', 'name': 'mmseg.no_type'}, []),
        ({'type': 'GLIP', 'language_model': {'type': 'BertModel'}}, ['transformers']),
    ],
)
def test_libraries_that_a_config_names_beside_its_own_are_imported(model, imported, monkeypatch):
    asked = []
    monkeypatch.setattr(importlib, 'import_module', asked.append)
    monkeypatch.setattr(parts, 'find_spec', lambda name: True)
    monkeypatch.setattr(parts, 'version', lambda name: '4.57.1')
    import_named_libraries(Config({'default_scope': 'mmdet', 'model': model}))
    assert asked == imported


def test_a_transformers_that_the_language_models_do_not_know_is_named(monkeypatch):
    monkeypatch.setattr(parts, 'find_spec', lambda name: True)
    monkeypatch.setattr(parts, 'version', lambda name: '5.0.0')
    with refused('model.language_model', '5.0.0'):
        import_named_libraries(Config({'model': {'language_model': {'type': 'BertModel'}}}))


@pytest.mark.parametrize(('cfg', 'seconds'), [
    ({}, 1800), ({'env_cfg': None}, 1800), ({'env_cfg': {'dist_cfg': {'timeout': 5}}}, 5),
])
def test_processes_are_waited_for_as_long_as_the_config_says(cfg, seconds):
    assert peer_timeout(cfg).total_seconds() == seconds


def config() -> Config:
    norm = dict(type='SyncBN', requires_grad=True)
    return Config(
        dict(
            model=dict(neck=dict(norm_cfg=norm), heads=[dict(norm_cfg=norm), dict(type='GN')]),
            mmcvs=dict(type='MMSyncBN'),
            distillation=dict(adapters=dict(x=dict(norm_cfg=norm))),
        )
    )


@pytest.mark.parametrize(
    ('launcher', 'gpu', 'norm'),
    [('none', True, 'BN'), ('none', False, 'BN'), ('pytorch', False, 'BN'),
     ('pytorch', True, 'SyncBN'), ('slurm', True, 'SyncBN')],
)
def test_the_launcher_decides(monkeypatch, launcher, gpu, norm):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: gpu)
    cfg = sync_batch_norm(config(), launcher)
    assert cfg.model.neck.norm_cfg.type == norm
    assert cfg.model.heads[0].norm_cfg.type == norm
    assert cfg.model.heads[0].norm_cfg.requires_grad
    assert cfg.model.heads[1].type == 'GN'
    assert cfg.mmcvs.type == norm.replace('Sync', 'MMSync')
    assert cfg.distillation.adapters.x.norm_cfg.type == norm


def test_a_hook_of_an_earlier_run_is_replaced():
    cfg = Config(dict(custom_hooks=[dict(type='A', number=9, notes=[]), dict(type='B')]))
    add_hook(cfg, 'A', notes=['x'])
    assert cfg.custom_hooks == [dict(type='B'), dict(type='A', number=9, notes=['x'])]
