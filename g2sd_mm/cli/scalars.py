"""What a run logs besides losses, and where else it writes it."""

from __future__ import annotations

from importlib.util import find_spec

from mmengine.config import Config

from ..errors import UserError


def log_throughput(cfg: Config) -> None:
    """Images a second in every line of the log, in place."""
    cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), dict(type='ThroughputHook')]


def use_tensorboard(cfg: Config) -> None:
    """Write scalars for TensorBoard too, beside the JSON lines, in place.

    Raises:
        UserError: if TensorBoard is not installed.
    """
    if find_spec('tensorboard') is None:
        raise UserError(
            '--tensorboard needs the tensorboard package: pip install tensorboard. Without it the '
            'same scalars are in vis_data/scalars.json of the work dir, one JSON object a line'
        )
    cfg.setdefault('visualizer', dict(type='Visualizer'))  # mmengine's own
    known = cfg.visualizer.get('vis_backends') or [dict(type='LocalVisBackend')]
    cfg.visualizer.vis_backends = [*known, dict(type='TensorboardVisBackend')]
