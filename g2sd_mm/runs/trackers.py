"""Where else a run's scalars go: TensorBoard, MLflow, Weights & Biases."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..errors import UserError

#: Option of ``tools/train.py``, and package that it needs -> mmengine's backend.
_BACKENDS = {
    'tensorboard': 'TensorboardVisBackend',
    'mlflow': 'MLflowVisBackend',
    'wandb': 'WandbVisBackend',
}


def use_tracker(cfg: Config, name: str) -> None:
    """Write scalars for TensorBoard, MLflow or Weights & Biases too, in place.

    They go below the work dir unless the tracker's own variables (``MLFLOW_TRACKING_URI``,
    ``WANDB_MODE``, ...) say otherwise; Weights & Biases is offline unless they do.

    Raises:
        UserError: if its package is not installed.
    """
    if find_spec(name) is None:
        raise UserError(
            f'--{name} needs the {name} package: pip install {name}. Without it the same scalars '
            'are in vis_data/scalars.json of the work dir, one JSON object a line, and '
            'tools/watch.py draws them'
        )
    settings: dict[str, Any] = {}
    if name == 'mlflow' and not os.environ.get('MLFLOW_TRACKING_URI'):
        settings['tracking_uri'] = (Path(cfg.work_dir).absolute() / 'mlruns').as_uri()
        # MLflow 3 wants to be told that files will do
        os.environ.setdefault('MLFLOW_ALLOW_FILE_STORE', 'true')
    if name == 'mlflow':
        settings['exp_name'] = Path(cfg.work_dir).name
        # a pipeline is longer than a parameter may be; the whole config is kept as a file
        settings['tracked_config_keys'] = ('train_cfg', 'randomness')
    if name == 'wandb' and not os.environ.get('WANDB_MODE'):
        mode = 'online' if os.environ.get('WANDB_API_KEY') else 'offline'
        settings['init_kwargs'] = dict(mode=mode, name=Path(cfg.work_dir).name)
    cfg.setdefault('visualizer', dict(type='Visualizer'))  # mmengine's own
    known = cfg.visualizer.get('vis_backends') or [dict(type='LocalVisBackend')]
    cfg.visualizer.vis_backends = [*known, dict(type=_BACKENDS[name], **settings)]
