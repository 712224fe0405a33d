"""Configs are fitted to the machine, and what does not fit is said in one line."""

from __future__ import annotations

import json
import sys
from types import ModuleType

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import VISBACKENDS

from g2sd_mm.cli.train import parser
from g2sd_mm.config.load import load_config
from g2sd_mm.errors import UserError
from g2sd_mm.runs import data
from g2sd_mm.runs import prepare as fit
from g2sd_mm.runs.data import prepare_data
from g2sd_mm.runs.prepare import scale_rate
from g2sd_mm.runs.train import train

from ..helpers import imagenet, toys
from ..helpers.toys import config, image_folder, refused

# Reading ------------------------------------------------------------------------------------------


def test_a_missing_config_is_told_its_neighbours():
    wanted = imagenet.path('g2sd_vits_clss')
    with refused(f'no config file {wanted}', 'has ', 'g2sd_vits_cls.py, ', 'g2sd_vits_cls_nosd.py'):
        load_config(wanted)
    with pytest.raises(UserError, match=r'^no config file /no/such/folder/x\.py$'):
        load_config('/no/such/folder/x.py')


def test_a_config_without_a_training_says_what_it_lacks():
    with refused('shapes/vits_deploy', 'train_dataloader', 'train_cfg', 'optim_wrapper'):
        fit.prepare_training('shapes/vits_deploy')


def test_options_are_merged():
    cfg = config('imagenet/g2sd_vits_cls.py', **{'train_cfg.max_epochs': 7, 'extra.new': 'x'})
    assert cfg.train_cfg.max_epochs == 7
    assert cfg.train_cfg.by_epoch
    assert cfg.extra.new == 'x'


@pytest.mark.parametrize(
    'options', [{'train_pipeline.99.type': 'X'}, {'model.backbone.arch': {'depth': 3}}]
)
def test_options_that_do_not_fit_are_refused(options):
    with refused('--cfg-options does not fit', 'g2sd_vits_cls.py'):
        config('imagenet/g2sd_vits_cls.py', **options)


def test_data_lie_where_the_environment_says(monkeypatch):
    monkeypatch.setenv('G2SD_DATA', '/mnt/sets')
    cfg = config('imagenet/g2sd_vits_cls.py')
    assert cfg.train_dataloader.dataset.dataset.data_root == '/mnt/sets/imagenet/train'
    assert cfg.val_dataloader.dataset.data_root == '/mnt/sets/imagenet/val'
    monkeypatch.delenv('G2SD_DATA')
    cfg = config('imagenet/g2sd_vits_cls.py')
    assert cfg.val_dataloader.dataset.data_root == 'data/imagenet/val'


def test_runs_find_each_other_in_a_folder_of_their_own():
    cfg = load_config(imagenet.path('g2sd_vits_cls'), runs='/elsewhere/seed3')
    init, teacher = cfg.model.backbone.init_cfg, cfg.distillation.teacher
    assert init.checkpoint == '/elsewhere/seed3/g2sd_vits_generic/weights.pth'
    assert teacher.checkpoint == '/elsewhere/seed3/vitb_cls/weights.pth'
    assert fit.choose_work_dir(cfg, 'configs/x/name.py', None, '/runs') == []
    assert cfg.work_dir == '/runs/name'


@pytest.mark.parametrize('given', ['--work-dir', 'option', None])
def test_a_configs_own_work_dir_is_used_when_it_is_asked_for(given):
    """The config that a run has written names the folder of that run."""
    cfg = Config(dict(work_dir='work_dirs/earlier'))
    asked = 'my runs/a' if given == '--work-dir' else None
    options = {'work_dir': 'my runs/a'} if given == 'option' else {}
    notes = fit.choose_work_dir(cfg, 'new.py', asked, options=options)
    assert cfg.work_dir == ('my runs/a' if given else 'work_dirs/new')
    assert [note for note in notes if '--work-dir work_dirs/earlier' in note] == notes
    assert bool(notes) is not bool(given)
    cfg = Config(dict(work_dir='./work_dirs/new'))
    assert fit.choose_work_dir(cfg, 'new.py') == []


def test_loaders_are_fitted_to_the_machine(monkeypatch):
    options = {'train_dataloader.num_workers': 0}
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    cfg = config('imagenet/g2sd_vits_cls.py', **options)
    assert not cfg.train_dataloader.persistent_workers
    assert cfg.val_dataloader.persistent_workers
    assert not cfg.val_dataloader.pin_memory
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    assert config('imagenet/g2sd_vits_cls.py').val_dataloader.pin_memory


# Data ---------------------------------------------------------------------------------------------


def prepare(name: str, *loaders: str, **options) -> None:
    prepare_data(config(f'imagenet/{name}.py', **options), loaders)


def test_missing_data_are_told_how_to_be_laid_out(monkeypatch):
    monkeypatch.setenv('G2SD_DATA', '/no/sets')
    with refused(
        'no data at /no/sets/imagenet/train',
        'lay it out as /no/sets/imagenet/train/<class>/*.JPEG',
        'point G2SD_DATA at the folder that holds imagenet',
    ) as caught:
        prepare('g2sd_vits_cls', 'train_dataloader', 'val_dataloader')
    assert '\n' not in str(caught.value)


def test_missing_data_elsewhere_are_named(monkeypatch):
    monkeypatch.delenv('G2SD_DATA', raising=False)
    with pytest.raises(UserError, match='no data at /mine/train: lay it out as') as caught:
        prepare(
            'vitb_mae', 'train_dataloader',
            **{'train_dataloader.dataset.dataset.data_root': '/mine/train'},
        )
    assert 'G2SD_DATA' not in str(caught.value)


def test_a_wrong_number_of_classes_is_told_the_right_one(monkeypatch, image_data):
    monkeypatch.setenv('G2SD_DATA', str(image_data))
    with refused('train has 3 class folders', 'num_classes=1000', '--cfg-options num_classes=3'):
        prepare('g2sd_vits_cls', 'train_dataloader')
    prepare('g2sd_vits_cls', 'train_dataloader', 'val_dataloader', num_classes=3)


def test_validation_without_a_class_is_left_to_its_names(monkeypatch, tmp_path):
    monkeypatch.setenv('G2SD_DATA', str(tmp_path))
    image_folder(tmp_path / 'imagenet' / 'train', classes=3, each=1)
    image_folder(tmp_path / 'imagenet' / 'val', classes=2, each=1)
    prepare('vitb_cls', 'train_dataloader', 'val_dataloader', num_classes=3)


def test_pre_training_does_not_count_classes(monkeypatch, image_data):
    monkeypatch.setenv('G2SD_DATA', str(image_data))
    prepare('vitb_mae', 'train_dataloader', 'val_dataloader')


@pytest.mark.parametrize('prefix', ['train', {'img_path': 'train'}], ids=str)
def test_classes_may_lie_below_a_prefix(monkeypatch, image_data, prefix):
    dataset = 'train_dataloader.dataset.dataset'
    options = {f'{dataset}.data_root': str(image_data / 'imagenet'), 'num_classes': 3}
    prepare('vitb_cls', 'train_dataloader', **options, **{f'{dataset}.data_prefix': prefix})
    with refused('no data at', 'imagenet/other'):
        prepare('vitb_cls', 'train_dataloader', **options, **{f'{dataset}.data_prefix': 'other'})


def test_listed_classes_are_not_counted_in_folders(image_data):
    dataset = 'train_dataloader.dataset.dataset'
    options = {f'{dataset}.data_root': str(image_data), f'{dataset}.ann_file': 'list.txt'}
    prepare('vitb_cls', 'train_dataloader', **options)


def test_embedded_data_are_made_on_first_use(monkeypatch, tmp_path):
    made = []
    monkeypatch.setenv('G2SD_DATA', str(tmp_path))
    monkeypatch.setattr(data, 'ensure_shapes', lambda root, **spec: made.append((root, spec)))
    cfg = Config(dict(shapes=dict(task='cls', train=4), model={}))
    prepare_data(cfg, ())
    assert made == [(tmp_path / 'shapes', {'task': 'cls', 'train': 4})]


# Precision and processes --------------------------------------------------------------------------


def test_mixed_precision_without_a_gpu_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with refused('--amp needs a GPU', 'optim_wrapper.type=AutocastOptimWrapper'):
        fit.use_mixed_precision(config('imagenet/vitb_mae.py'))


@pytest.mark.parametrize('bfloat16', [True, False])
def test_mixed_precision_depends_on_the_gpu(monkeypatch, bfloat16):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    # emulated bfloat16 is everywhere; only the GPU's own counts
    monkeypatch.setattr(
        torch.cuda,
        'is_bf16_supported',
        lambda including_emulation=True: including_emulation or bfloat16,
    )
    cfg = config('imagenet/vitb_mae.py')
    fit.use_mixed_precision(cfg)
    assert cfg.optim_wrapper.type == ('AutocastOptimWrapper' if bfloat16 else 'AmpOptimWrapper')
    assert cfg.optim_wrapper.get('loss_scale') == (None if bfloat16 else 'dynamic')
    assert cfg.optim_wrapper.accumulative_counts == 2
    dtype = 'bfloat16' if bfloat16 else 'float16'
    for name in ('g2sd_vits_generic', 'g2sd_vits_cls'):
        cfg = config(f'imagenet/{name}.py')
        fit.use_mixed_precision(cfg)
        assert cfg.distillation.teacher.dtype == dtype
    cfg = config('imagenet/g2sd_vits_cls.py', **{'distillation.teacher.dtype': 'float32'})
    fit.use_mixed_precision(cfg)
    assert cfg.distillation.teacher.dtype == 'float32'


def test_test_time_augmentation_needs_its_config():
    with refused('--tta needs tta_model and tta_pipeline'):
        fit.use_test_time_augmentation(config('imagenet/vitb_cls.py'))


@pytest.mark.parametrize(
    ('options', 'hooks'),
    [
        ([], [dict(type='CompileHook', on_cpu=False)]),
        (['--compile'], [dict(type='CompileHook', on_cpu=True)]),
        (['--no-compile'], []),
    ],
)
def test_blocks_are_compiled_with_a_gpu_or_when_asked(options, hooks):
    chosen = parser().parse_args(['config.py', *options]).compiled
    cfg = config('imagenet/vitb_mae.py')
    before = list(cfg.custom_hooks)
    fit.use_compilation(cfg, chosen)
    assert cfg.custom_hooks == before + hooks


def test_every_data_set_that_is_joined_is_looked_for(image_data):
    """The second folder is missing; with the first alone, training would start."""
    there = dict(type='CustomDataset', data_root=str(image_data / 'imagenet' / 'train'))
    joined = dict(type='ConcatDataset', datasets=[there, {**there, 'data_root': 'nowhere/at/all'}])
    cfg = Config(dict(num_classes=3, train_dataloader=dict(dataset=joined)))
    with refused('no data at nowhere/at/all'):
        prepare_data(cfg, ('train_dataloader',))


def test_every_run_writes_its_weights_once():
    cfg = Config(dict(custom_hooks=[dict(type='EMAHook')]))
    fit.export_weights(cfg)
    fit.export_weights(cfg)
    assert [hook['type'] for hook in cfg.custom_hooks] == ['EMAHook', 'WeightsExportHook']


TEXT = """
optim_wrapper = dict(optimizer=dict(type='SGD', lr=1.0), accumulative_counts={})
auto_scale_lr = dict(base_batch_size={})
"""


def ratio(tmp_path, batch: int, recipe: int, base: int, **options) -> tuple[float, list[str]]:
    path = tmp_path / 'config.py'
    path.write_text(TEXT.format(recipe, base))
    cfg = Config.fromfile(path)
    cfg.merge_from_dict(options)
    notes = scale_rate(cfg, str(path))
    assert cfg.auto_scale_lr.enable
    return batch / cfg.auto_scale_lr.base_batch_size, notes


@pytest.mark.parametrize(('batch', 'recipe', 'base', 'now', 'expected'), [
    (64, 1, 64, 1, 1),
    (32, 1, 64, 2, 1),
    (64, 1, 1024, 16, 1),
    (32, 1, 64, 1, 0.5),
    (2048, 2, 2048, 2, 1),  # the recipe of pre-training counts an iteration
    (2048, 2, 2048, 1, 0.5),
    (512, 2, 2048, 8, 1),
    (10, 3, 10, 4, 4 / 3),
])
def test_the_images_of_an_update_count(tmp_path, batch, recipe, base, now, expected):
    options = {} if now == recipe else {'optim_wrapper.accumulative_counts': now}
    found, notes = ratio(tmp_path, batch, recipe, base, **options)
    assert found == pytest.approx(expected)
    assert bool(notes) == (now != recipe)


def test_a_config_without_a_base_is_refused_with_the_option(tmp_path):
    path = tmp_path / 'config.py'
    path.write_text("optim_wrapper = dict(optimizer=dict(type='SGD', lr=1.0))")
    cfg = Config.fromfile(path)
    with refused(str(path), 'auto_scale_lr.base_batch_size'):
        scale_rate(cfg, str(path))
    cfg.merge_from_dict({'auto_scale_lr.base_batch_size': 8})
    assert scale_rate(cfg, str(path)) == []


def backends() -> Config:
    return Config(dict(visualizer=dict(type='Visualizer', vis_backends=[dict(type='A')])))


def test_tensorboard_is_written_beside_the_json_lines(monkeypatch):
    monkeypatch.setattr(fit, 'find_spec', lambda name: object())
    cfg = backends()
    fit.use_tracker(cfg, 'tensorboard')
    assert [b['type'] for b in cfg.visualizer.vis_backends] == ['A', 'TensorboardVisBackend']
    stock = Config(dict())
    fit.use_tracker(stock, 'tensorboard')
    kept = [backend['type'] for backend in stock.visualizer.vis_backends]
    assert kept == ['LocalVisBackend', 'TensorboardVisBackend']


def test_without_tensorboard_one_line_says_what_to_do(monkeypatch):
    monkeypatch.setattr(fit, 'find_spec', lambda name: None)
    with pytest.raises(UserError, match=toys.words('pip install tensorboard', 'scalars.json')):
        fit.use_tracker(backends(), 'tensorboard')


class Writer:
    """Stands for TensorBoard's writer: keeps what it is given."""

    kept: dict[str, list[float]] = {}

    def __init__(self, folder: str) -> None:
        pass

    def add_scalar(self, name: str, value: float, step: int, *_: object) -> None:
        self.kept.setdefault(name, []).append(float(value))

    def add_text(self, *_: object) -> None:
        pass

    def close(self) -> None:
        pass


def test_images_a_second_are_in_every_line_and_in_tensorboard(tmp_path, monkeypatch, image_data):
    monkeypatch.setenv('G2SD_DATA', str(image_data))
    monkeypatch.setattr(fit, 'find_spec', lambda name: object())
    fake = ModuleType('torch.utils.tensorboard')
    fake.SummaryWriter = Writer
    monkeypatch.setitem(sys.modules, 'torch.utils.tensorboard', fake)
    cfg = toys.config('shapes/vitb_mae.py')
    cfg.pop('shapes')
    cfg.model.update(arch=toys.arch(), decoder=toys.decoder(), img_size=32)
    cfg.train_dataloader.update(batch_size=4, num_workers=0)
    cfg.train_dataloader.dataset.dataset.data_root = str(image_data / 'imagenet' / 'train')
    cfg.train_dataloader.dataset.dataset.pipeline[1].scale = 32
    cfg.train_cfg.max_epochs = 1
    cfg.param_scheduler = None
    cfg.default_hooks.logger.interval = 2
    cfg.dump(tmp_path / 'small.py')
    train(str(tmp_path / 'small.py'), work_dir=str(tmp_path / 'run'), tensorboard=True)
    (log,) = (tmp_path / 'run').glob('*/vis_data/scalars.json')
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(entries) == 3
    assert all(entry['images_per_second'] > 0 for entry in entries)
    # of the first line all steps count, for the time and for the rate
    first = entries[0]
    assert first['images_per_second'] == pytest.approx(4 / first['time'], rel=0.01)
    assert len(Writer.kept['images_per_second']) == 3


@pytest.mark.parametrize('name', ['mlflow', 'wandb'])
def test_other_trackers_write_below_the_work_dir_unless_told_otherwise(name, monkeypatch):
    for variable in ('MLFLOW_TRACKING_URI', 'WANDB_MODE', 'WANDB_API_KEY'):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv('MLFLOW_ALLOW_FILE_STORE', 'true')
    monkeypatch.setattr(fit, 'find_spec', lambda name: object())
    cfg = backends()
    cfg.work_dir = 'work_dirs/vitb_cls'
    fit.use_tracker(cfg, name)
    (_, backend) = cfg.visualizer.vis_backends
    if name == 'mlflow':
        assert backend.tracking_uri.startswith('file://')
        assert backend.tracking_uri.endswith('work_dirs/vitb_cls/mlruns')
        monkeypatch.setenv('MLFLOW_TRACKING_URI', 'http://there')
    else:
        assert backend.init_kwargs.mode == 'offline'
        monkeypatch.setenv('WANDB_MODE', 'online')
    again = backends()
    again.work_dir = cfg.work_dir
    fit.use_tracker(again, name)
    assert not {'tracking_uri', 'init_kwargs'} & set(again.visualizer.vis_backends[1])
    monkeypatch.setattr(fit, 'find_spec', lambda name: None)
    with pytest.raises(UserError, match=toys.words(f'pip install {name}', 'tools/watch.py')):
        fit.use_tracker(backends(), name)


@pytest.mark.parametrize('name', ['mlflow', 'wandb'])
def test_trackers_keep_scalars_without_a_network(name, tmp_path, monkeypatch):
    pytest.importorskip(name)
    for variable in ('MLFLOW_TRACKING_URI', 'WANDB_MODE', 'WANDB_API_KEY'):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv('MLFLOW_ALLOW_FILE_STORE', 'true')
    cfg = Config(dict(work_dir=str(tmp_path / 'run')))
    fit.use_tracker(cfg, name)
    settings = dict(cfg.visualizer.vis_backends[1])
    backend = VISBACKENDS.build(dict(settings, save_dir=str(tmp_path / 'run')))
    backend.add_config(Config(dict(cfg, train_cfg=dict(max_epochs=1), randomness=dict(seed=0))))
    backend.add_scalar('loss', 0.5, step=1)
    backend.close()
    kept = [file for file in (tmp_path / 'run').rglob('*') if file.is_file()]
    marks = {'mlflow': 'loss', 'wandb': '.wandb'}
    assert any(file.name.endswith(marks[name]) for file in kept), kept


def test_other_test_data_take_the_options_of_test_data():
    cfg = fit.prepare_test(
        str(toys.ROOT / 'configs/shapes/g2sd_vits_cls.py'), {'test_dataloader.batch_size': 3},
        data=str(toys.ROOT / 'configs/shapes/vitb_cls.py'),
    )
    assert cfg.test_dataloader.batch_size == 3
    with refused('--data a.py', '--data-root b'):
        fit.prepare_test('x.py', data='a.py', data_root='b')


def test_a_network_without_a_backbone_is_tested(tmp_path):
    """As a retriever of mmpretrain, and SAN of mmseg, which have an ``image_encoder``."""
    cfg = Config(dict(
        default_scope='mmpretrain', model=dict(type='ImageToImageRetriever', image_encoder=[]),
        test_dataloader=dict(dataset=dict(type='InShop', data_root=str(tmp_path))),
    ))  # fmt: skip
    cfg.dump(tmp_path / 'retrieval.py')
    prepared = fit.prepare_test(str(tmp_path / 'retrieval.py'))
    assert prepared.model == cfg.model


def test_a_models_own_preprocessor_counts_in_test_time_augmentation():
    model = dict(type='ImageClassifier', data_preprocessor=dict(mean=[1.0]))
    cfg = Config(dict(
        model=model, data_preprocessor=dict(mean=[2.0]), tta_model=dict(type='TTA'),
        tta_pipeline=[dict(type='Y')], test_dataloader=dict(dataset=dict(type='X', pipeline=[])),
    ))  # fmt: skip
    fit.use_test_time_augmentation(cfg)
    assert cfg.model.module == model and 'data_preprocessor' not in cfg
