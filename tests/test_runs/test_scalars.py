"""What runs log besides losses."""

from __future__ import annotations

import json
import sys
from types import ModuleType

import pytest
from mmengine.config import Config

from g2sd_mm.errors import UserError
from g2sd_mm.runs import prepare as scalars
from g2sd_mm.runs.train import train

from ..helpers import toys


def config() -> Config:
    return Config(dict(visualizer=dict(type='Visualizer', vis_backends=[dict(type='A')])))


def test_tensorboard_is_written_beside_the_json_lines(monkeypatch):
    monkeypatch.setattr(scalars, 'find_spec', lambda name: object())
    cfg = config()
    scalars.use_tensorboard(cfg)
    assert [b['type'] for b in cfg.visualizer.vis_backends] == ['A', 'TensorboardVisBackend']
    stock = Config(dict())
    scalars.use_tensorboard(stock)
    kept = [backend['type'] for backend in stock.visualizer.vis_backends]
    assert kept == ['LocalVisBackend', 'TensorboardVisBackend']


def test_without_tensorboard_one_line_says_what_to_do(monkeypatch):
    monkeypatch.setattr(scalars, 'find_spec', lambda name: None)
    with pytest.raises(UserError, match=toys.words('pip install tensorboard', 'scalars.json')):
        scalars.use_tensorboard(config())


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
    monkeypatch.setattr(scalars, 'find_spec', lambda name: object())
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
