"""The demo's convolutional student: from stage 1 through every task to a file that runs alone."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from g2sd_mm.checkpoints import CheckpointError, read_weights
from g2sd_mm.checkpoints.record import read_sidecar
from g2sd_mm.engine.hooks.access import bare_model
from g2sd_mm.export import export_student
from g2sd_mm.models.mae import MAEPretraining
from g2sd_mm.runs.train import train
from g2sd_mm.runs.verify import roles
from g2sd_mm.students import load_student
from g2sd_mm.students.extract import extract_student

from ..helpers.small_configs import two_steps
from ..helpers.toys import config, save, words
from ..stock import configs
from ..stock.chain import STEPS, Chain
from ..stock.data import CLASSES, SIDE, write_data
from ..stock.matrix import unformatted
from .test_all import batch, build

NETWORK = dict(depths=(1, 1, 2, 1), dims=(16, 32, 64, 128))
TASKS = ('cls', 'maskrcnn', 'upernet')


@pytest.fixture(scope='module')
def data(tmp_path_factory) -> Path:
    with unformatted():
        yield write_data(tmp_path_factory.mktemp('timm') / 'data')


def read(name: str, data: Path) -> Config:
    """A config of the demo on two steps of the small data."""
    cfg = config(f'shapes/{name}.py')
    cfg.shapes = None
    for loader in ('train', 'val', 'test'):
        if part := cfg.get(f'{loader}_dataloader'):
            dataset = part.dataset.get('dataset', part.dataset)
            _ON[next(kind for kind in _ON if kind in name)](cfg, dataset, loader, data)
    cfg.default_hooks.logger.interval = 1
    return two_steps(cfg)


def _classes(cfg: Config, dataset: Any, loader: str, data: Path) -> None:
    cfg.num_classes = len(CLASSES)
    dataset.data_root = str(data / 'cls' / ('train' if loader == 'train' else 'val'))


def _boxes(cfg: Config, dataset: Any, loader: str, data: Path) -> None:
    annotations = 'train.json' if loader == 'train' else 'val.json'
    dataset.update(
        data_root=str(data / 'det'), ann_file=annotations, data_prefix=dict(img=''),
        metainfo=dict(classes=CLASSES),
    )  # fmt: skip
    for metric in (cfg.val_evaluator, cfg.test_evaluator):
        metric.ann_file = str(data / 'det/val.json')
    for head in (cfg.model.roi_head.bbox_head, cfg.model.roi_head.mask_head):
        head.num_classes = len(CLASSES)
    cfg.model.test_cfg.rcnn.score_thr = 0.0


def _masks(cfg: Config, dataset: Any, loader: str, data: Path) -> None:
    split = 'train' if loader == 'train' else 'val'
    dataset.update(
        data_root=str(data / 'seg'),
        data_prefix=dict(img_path=f'images/{split}', seg_map_path=f'masks/{split}'),
    )  # fmt: skip
    dataset.metainfo = dict(classes=CLASSES)
    for step in dataset.pipeline:
        if step.type == 'CheckMasks':
            step.num_classes = len(CLASSES)
    for head in (cfg.model.decode_head, cfg.model.auxiliary_head):
        head.num_classes = len(CLASSES)


_ON = {'generic': _classes, 'cls': _classes, 'maskrcnn': _boxes, 'upernet': _masks}


@pytest.fixture(scope='module')
def stage1(data, tmp_path_factory) -> Path:
    """A run of stage 1: two steps, and two after a resume."""
    folder = tmp_path_factory.mktemp('stage1')
    torch.manual_seed(1)
    teacher = MAEPretraining(arch='demo-teacher', decoder='dec64d2b', img_size=56)
    teacher.autoencoder.init_weights()
    cfg = read('g2sd_convnext_generic', data)
    cfg.distillation.teacher.checkpoint = save(folder / 'mae.pth', teacher.deployable_state())
    path = configs.write(cfg.to_dict(), folder / 'generic.py')
    first = train(path, work_dir=str(folder / 'run'), compiled=False)
    assert first.iter == 2
    second = train(
        path, {'train_cfg.max_epochs': 2}, work_dir=str(folder / 'run'), resume='auto',
        compiled=False,
    )  # fmt: skip
    assert second.iter == 4
    hub = second.message_hub
    assert 0 < hub.get_scalar('train/loss_patches').current() < 10
    assert 'train/explained_variance' in hub.log_scalars
    return folder / 'run'


@pytest.fixture(scope='module')
def masked(data, stage1) -> Path:
    """A run of the demo's own stage 1."""
    return run_of('g2sd_vits_generic', data, stage1.parent, 'mae.pth')


def run_of(name: str, data: Path, folder: Path, teacher: str, start: str | None = None) -> Path:
    cfg = read(name, data)
    cfg.distillation.teacher.checkpoint = str(folder / teacher)
    cfg.load_from = start
    path = configs.write(cfg.to_dict(), folder / f'{name}.py')
    runner = train(path, work_dir=str(folder / name), compiled=False)
    assert runner.iter == 2
    return folder / name


@pytest.mark.parametrize('name', ['g2sd_vits_generic_cross', 'g2sd_vits_generic_unmasked'])
def test_other_students_of_stage_1_leave_an_encoder(name, data, stage1, masked):
    run = run_of(name, data, stage1.parent, 'mae.pth')
    state, usual = (read_weights(r / 'weights.pth').state for r in (run, masked))
    assert {n: t.shape for n, t in state.items()} == {n: t.shape for n, t in usual.items()}
    done = extract_student(run / 'epoch_1.pth', run / 'student.pth')
    assert set(read_weights(done.path).state) == set(usual)
    # and a run goes on from it, under the same config
    again = run_of(name, data, stage1.parent, 'mae.pth', str(run / 'epoch_1.pth'))
    assert (again / 'weights.pth').is_file()


def test_stage_1b_goes_on_at_another_resolution(data, stage1, masked):
    cfg = read('g2sd_vits_generic_1b', data)
    assert Path(cfg.load_from) == Path('work_dirs/g2sd_vits_generic/epoch_15.pth')
    cfg.distillation.teacher.checkpoint = str(stage1.parent / 'mae.pth')
    cfg.load_from = str(masked / 'epoch_1.pth')
    cfg.optim_wrapper.optimizer.lr = 0.0
    folder = stage1.parent
    path = configs.write(cfg.to_dict(), folder / 'generic_1b.py')
    runner = train(path, work_dir=str(folder / '1b'), compiled=False)
    own = {n: t for n, t in bare_model(runner).state_dict().items() if 'preprocessor' not in n}
    before = read_weights(masked / 'epoch_1.pth').state
    resized = {'student.pos_embed', 'student.decoder_pos_embed'}
    assert {n for n in own if not torch.equal(own[n], before[n])} == resized
    assert all(own[n].shape[1] == 1 + 16 * 16 for n in resized)
    assert read_weights(folder / '1b/weights.pth').meta['grid'] == '16x16'
    assert runner.message_hub.get_scalar('train/loss_tokens').current() > 0


def test_what_stage_1_leaves_is_timms_own_network(stage1):
    state = read_weights(stage1 / 'weights.pth').state
    network = timm.create_model('convnext_atto', num_classes=0, output_stride=8, **NETWORK)
    network.load_state_dict(state, strict=True)
    assert read_sidecar(stage1 / 'weights.pth')['network'] is None
    trained = bare_weights(stage1)
    assert all(torch.equal(state[name], trained[f'student.network.{name}']) for name in state)


def bare_weights(run: Path) -> dict[str, torch.Tensor]:
    return read_weights(run / 'epoch_2.pth').state


def test_the_student_is_taken_out_of_a_checkpoint_of_stage_1(stage1, tmp_path):
    done = extract_student(stage1 / 'epoch_2.pth', tmp_path / 'student.pth')
    own, exported = (read_weights(p).state for p in (done.path, stage1 / 'weights.pth'))
    assert set(own) == set(exported)
    assert all(torch.equal(own[name], exported[name]) for name in own)
    assert done.left_behind and all('adapters' in name for name in done.left_behind)


@pytest.mark.slow
@pytest.mark.parametrize('task', TASKS)
def test_a_task_from_training_to_a_file_that_runs_alone(task, stage1, data, tmp_path):
    """Train, resume, test, predict, extract, teach, be taught; then ONNX."""
    cfg = read(f'g2sd_convnext_{task}_nosd', data)
    start = stage1 / 'weights.pth'
    cfg.model.backbone.init_cfg.checkpoint = str(start)
    image = next((data / 'cls/val').rglob('*.png'))
    block = config(f'shapes/g2sd_convnext_{task}.py').distillation.to_dict()
    for loss in block['losses'].values():
        loss.pop('warmup', None)

    def distil(cfg: dict[str, Any], teacher: str, weights: str) -> dict[str, Any]:
        heard = block['losses']
        first = next(iter(heard))
        renamed = {'loss_heard': heard[first], **{n: v for n, v in heard.items() if n != first}}
        parts = {**block['teacher'], 'config': teacher, 'checkpoint': weights}
        if task == 'cls':
            parts['forward'] = ('backbone', 'neck', 'head')
        elif task == 'upernet':
            parts['forward'] = ('backbone', 'decode_head')
        return {**cfg, 'distillation': {**block, 'teacher': parts, 'losses': renamed}}

    chain = Chain(cfg.to_dict(), task, tmp_path, image, distil)
    outcomes = chain.run()
    assert outcomes == dict.fromkeys(STEPS, 'yes')
    student = load_student(chain.work_dir)
    student.to('cpu')
    exported = export_student(student, tmp_path / 'student.onnx', size=SIDE)
    assert exported.difference < 1e-4


@pytest.mark.parametrize('task', TASKS)
def test_a_step_of_stage_2_with_the_demos_teacher(task):
    """The maps of student and teacher have the same sizes, level by level."""
    cfg = config(f'shapes/g2sd_convnext_{task}.py')
    if task == 'maskrcnn':
        importlib.import_module('g2sd_mm.models.coordinates')
    model = build(cfg).train()
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        losses = model(**batch(cfg, model), mode='loss')
    distilled = [name for name in losses if name in cfg.distillation.losses]
    assert distilled and all(torch.isfinite(losses[name]) for name in distilled)
    if task != 'maskrcnn':  # whose losses begin at weight 0
        losses[distilled[0]].backward()
        assert model.student.backbone.network.stem[0].weight.grad.abs().sum() > 0


def test_a_file_is_checked_before_the_run(stage1, tmp_path):
    cfg = config('shapes/g2sd_convnext_cls_nosd.py')
    check = roles(cfg, 'x.py')['init_cfg']
    fit = check(str(stage1 / 'weights.pth'))
    assert fit.loaded and not fit.random and not fit.missing
    with pytest.raises(CheckpointError, match=words('mae.pth', 'TimmBackbone')):
        check(str(stage1.parent / 'mae.pth'))


def test_stage_2_starts_from_stage_1(stage1, data, tmp_path):
    cfg = read('g2sd_convnext_cls_nosd', data)
    cfg.model.backbone.init_cfg.checkpoint = str(stage1 / 'weights.pth')
    cfg.optim_wrapper.optimizer.lr = 0.0
    path = configs.write(cfg.to_dict(), tmp_path / 'cls.py')
    runner = train(path, work_dir=str(tmp_path / 'run'), compiled=False)
    own = bare_model(runner).backbone.network.state_dict()
    state = read_weights(stage1 / 'weights.pth').state
    assert own and all(torch.equal(own[name], state[name]) for name in own)
    assert set(state) - set(own) == {'head.norm.weight', 'head.norm.bias'}
