"""Training and prediction leave nothing on the CPU that a GPU asks for."""

import numpy as np
import pytest
import torch

import g2sd_mm
from benchmarks.speed.batches import random_batch
from benchmarks.speed.build import build_model, stage_config
from benchmarks.speed.stages import STAGES
from g2sd_mm.checkpoints import read_weights
from g2sd_mm.config.load import load_config
from g2sd_mm.runs.train import train
from g2sd_mm.seeding import seed_everything
from tests.helpers.pretended_gpu import (
    GPU,
    MixedDevices,
    Pretended,
    moved,
    pretended_gpu,
    pretended_machine,
)
from tests.helpers.students import student_folder
from tests.helpers.toys import ROOT


def test_a_pretended_tensor_is_refused_where_a_real_one_is():
    with pretended_gpu():
        there = torch.ones(2, 3, device='cuda')
        assert there.device == there.new_zeros(1).device == (2 * there).device == GPU
        assert there.cpu().device.type == 'cpu' and there.sum().item() == 6
        with pytest.raises(MixedDevices):
            there + torch.ones(2, 3)
        with pytest.raises(TypeError):
            there.numpy()


def _step(model, batch):
    """Losses by name, after the backward pass."""
    seed_everything(0)
    losses = model._run_forward(model.data_preprocessor(batch, True), mode='loss')
    loss, logged = model.parse_losses(losses)
    loss.backward()
    return logged


@pytest.mark.parametrize('name', ['generic_vits', 'cls_vits', 'det_vits', 'seg_vits'])
def test_a_training_step_stays_on_the_gpu(name):
    stage = STAGES[name]
    model, batch = build_model(stage_config(stage, 'toy'), 'cpu'), random_batch(stage, 2, 'toy')
    here = {key: value.item() for key, value in _step(model, batch).items()}
    model.zero_grad()
    with pretended_gpu():
        there = _step(moved(model), batch)
        assert {key: value.item() for key, value in there.items()} == pytest.approx(here)
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        assert gradients and all(isinstance(gradient, Pretended) for gradient in gradients)


@pytest.mark.parametrize('task', ['classification', 'detection', 'segmentation', 'depth'])
def test_a_prediction_is_that_of_the_cpu(task, tmp_path):
    folder = student_folder(tmp_path, task)
    image = np.random.default_rng(0).integers(0, 256, (96, 80, 3), np.uint8)
    here = g2sd_mm.load_student(folder, device='cpu').predict(image)
    with pretended_gpu():
        student = g2sd_mm.load_student(folder, device='cpu')
        moved(student.model)
        there = student.predict(image)
    assert str(there) == str(here)


@pytest.fixture(scope='module')
def data_root(tmp_path_factory):
    return tmp_path_factory.mktemp('data')


@pytest.mark.slow
@pytest.mark.parametrize(
    'name', ['vitb_mae', 'vits_scratch_cls', 'vits_scratch_maskrcnn', 'vits_scratch_upernet',
             'vits_scratch_depth'],
)  # fmt: skip
def test_a_run_trains_validates_and_saves_on_the_gpu(name, tmp_path, data_root, monkeypatch):
    """Hooks, optimizer, metrics and files, too."""
    monkeypatch.setenv('G2SD_DATA', str(data_root))
    config = str(ROOT / 'configs' / 'shapes' / f'{name}.py')
    loaders = ['train'] if name == 'vitb_mae' else ['train', 'val']
    here = {'num_workers': 0, 'persistent_workers': False, 'pin_memory': False, 'batch_size': 2}
    options = {f'{loader}_dataloader.{key}': here[key] for loader in loaders for key in here}
    options |= {f'optim_wrapper.optimizer.{kernel}': False for kernel in ('fused', 'foreach')}
    if load_config(config).train_cfg.get('by_epoch'):
        options |= {'train_dataloader.dataset.every': 1000, 'train_cfg.max_epochs': 1}
    else:
        options |= {'train_cfg.max_iters': 3, 'train_cfg.val_interval': 3}
    options |= {'val_dataloader.dataset.indices': 4} if len(loaders) == 2 else {}
    options['param_scheduler.0.warmup'] = 0
    with pretended_machine():
        runner = train(config, options, str(tmp_path / 'run'), compiled=False)
        assert all(isinstance(parameter, Pretended) for parameter in runner.model.parameters())
    weights = read_weights(tmp_path / 'run' / 'weights.pth').state
    assert weights and not any(isinstance(tensor, Pretended) for tensor in weights.values())
