"""Every row of the baselines at mini size: it trains, saves the plain student, resumes exactly."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.registry import MODELS, DefaultScope

from g2sd_mm.bench.suites.catalogue import MINI
from g2sd_mm.checkpoints import read_weights
from g2sd_mm.compat.safe_load import load_checkpoint
from g2sd_mm.config.load import load_config
from g2sd_mm.config.parts import plain_model, sync_batch_norm
from g2sd_mm.datasets.shapes import ensure_shapes
from g2sd_mm.models.sizes import ENCODERS
from g2sd_mm.runs.train import train

from ..helpers.toys import ROOT, autoencoder, save

#: Its own configs, without those that are a main row's with another encoder.
_OF_MINI = {
    'vits_deit_mae_cls', 'g2sd_plus_vits_cls', 'g2sd_plus_vits_maskrcnn', 'g2sd_plus_vits_upernet',
}  # fmt: skip
RUNS = sorted(
    path.stem for path in (ROOT / 'configs/mini').glob('*.py')
    if (ROOT / 'configs/baselines' / path.name).is_file() or path.stem in _OF_MINI
)  # fmt: skip
#: Those with the most parts of their own are quick enough for every test run.
QUICK = {'vits_mkd_cls', 'vits_tinybert_task', 'vits_proteus', 'g2sd_plus_vits_cls'}
_FOUR_HEADS = dict(vars(ENCODERS['demo-student']), num_heads=4)
AUTOENCODERS = {
    'vitb_mae': ('demo-teacher', 'dec64d2b'), 'vits_mae': ('demo-student', 'dec32d2b'),
    'g2sd_vits_generic': ('demo-student', 'dec32d2b'),
    'vits_tinybert': (_FOUR_HEADS, None), 'vits_tinybert_task': (_FOUR_HEADS, None),
}  # fmt: skip
STEPS = 2
SHAPES = {'cls': (64, 8), 'det': (128, 4), 'seg': (128, 4)}
FOLDERS = {'cls': 'cls_64px_8+4_s0', 'det': 'scenes_128px_4+4_s0', 'seg': 'scenes_128px_4+4_s0'}


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    """A folder for small data, and for the runs that rows load weights of."""
    folder = tmp_path_factory.mktemp('baselines')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('G2SD_DATA', str(folder / 'data'))
        yield folder


def write_weights(runs: Path, name: str) -> None:
    """What another run would have left, untrained."""
    if (runs / name).is_dir():
        return
    if name in AUTOENCODERS:
        arch, decoder = AUTOENCODERS[name]
        model = autoencoder(dict(arch=arch, decoder=decoder, img_size=56))
    else:
        cfg = sync_batch_norm(load_config(str(ROOT / f'configs/mini/{name}.py')), 'none')
        cfg.model.backbone.init_cfg = None
        if cfg.default_scope != 'mmpretrain':
            importlib.import_module(f'{cfg.default_scope}.models')
            importlib.import_module('g2sd_mm.models.coordinates')
        torch.manual_seed(0)
        with DefaultScope.overwrite_default_scope(cfg.default_scope):
            model = MODELS.build(plain_model(cfg))
        model.init_weights()
    (runs / name).mkdir(parents=True)
    save(runs / name / 'weights.pth', model)


def options(name: str, cfg: Any, data: Path) -> dict[str, Any]:
    task = {'mmdet': 'det', 'mmseg': 'seg'}.get(cfg.default_scope, 'cls')
    size, number = SHAPES[task]
    ensure_shapes(data / 'shapes', task=task, train=number, val=4, size=size)
    root = f'data/shapes/{FOLDERS[task]}'
    split = {'det': '/', 'seg': '/', 'cls': '/train'}[task]
    by_epoch = 'max_epochs' in cfg.train_cfg
    found = {
        'shapes.train': number, 'shapes.val': 4,
        'train_dataloader.dataset.dataset.data_root': root + split,
        'train_dataloader.batch_size': number, 'train_dataloader.num_workers': 0,
        'train_dataloader.persistent_workers': False,
        'train_cfg.max_epochs' if by_epoch else 'train_cfg.max_iters': STEPS,
        'param_scheduler.0.warmup': 0,
        'default_hooks.checkpoint.interval': 1, 'default_hooks.checkpoint.max_keep_ckpts': -1,
        'reliability.dry_run': None, 'reliability.teacher_metric': None,
        'log_level': 'WARNING',
    }  # fmt: skip
    if cfg.get('val_dataloader'):
        found['train_cfg.val_interval'] = STEPS + 1
        found['default_hooks.checkpoint.save_best'] = None
        evaluated = root + ('/val' if task == 'cls' else '/')
        for loader in ('val', 'test'):
            found[f'{loader}_dataloader.dataset.data_root'] = evaluated
    if task == 'det':
        for which in ('val', 'test'):
            file = cfg[f'{which}_evaluator'].ann_file.rpartition('/')[2]
            found[f'{which}_evaluator.ann_file'] = f'{root}/annotations/{file}'
    if name == 'vits_mkd_cls':
        found[f'custom_hooks.{len(cfg.custom_hooks) - 1}.every'] = 1
    return found


@pytest.mark.parametrize(
    'name', [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in RUNS]
)
def test_a_row_trains_saves_the_plain_student_and_resumes_exactly(name, place, tmp_path):
    path = str(ROOT / 'configs/mini' / f'{name}.py')
    cfg = load_config(path)
    for other in set(re.findall(r'work_dirs/(\w+)/', str(cfg.to_dict()))):
        write_weights(place / 'runs', other)
    how = dict(options=options(name, cfg, place / 'data'), runs=str(place / 'runs'))
    whole, cut = tmp_path / 'whole', tmp_path / 'cut'
    train(path, work_dir=str(whole), **how)
    unit = 'epoch' if 'max_epochs' in cfg.train_cfg else 'iter'
    files = [f'{unit}_{number}.pth' for number in (1, STEPS)]
    train(path, work_dir=str(cut), resume=str(whole / files[0]), **how)
    begun, one, two = (
        load_checkpoint(folder / file)
        for folder, file in ((whole, files[0]), (whole, files[1]), (cut, files[1]))
    )
    for part in ('state_dict', 'optimizer'):
        assert equal(one[part], two[part]), part
    assert not equal(begun['state_dict'], one['state_dict'])
    if name == 'vits_mkd_cls':
        assert one['state_dict']['distillation.losses.loss_meta.log_tau'].abs().min() > 0
    plain = read_weights(whole / 'weights.pth').state
    beside = ('distillation.', 'decoder_', 'mask_token', 'hidden_token', 'teacher')
    assert plain and not [key for key in plain if key.startswith(beside)]


def equal(one: Any, two: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, two)
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(equal(one[key], two[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(two) and all(map(equal, one, two))
    return one == two


def test_every_own_config_of_the_table_is_trained_here():
    own = {
        step.name for row in MINI.select(table=['baselines']) for step in MINI.steps_of([row])
        if step.name == Path(step.config).stem
    }  # fmt: skip
    main = {step.name for row in MINI.select(table=['main']) for step in MINI.steps_of([row])}
    assert own - main == set(RUNS)
