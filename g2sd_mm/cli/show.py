"""Let a test draw its predictions, in the way of the config's library."""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config, ConfigDict

from ..errors import UserError


def draw_predictions(cfg: Config, folder: str) -> None:
    """Switch on the library's drawing hook, in place; pictures go to ``folder``.

    Raises:
        UserError: if the config is of no library that draws.
    """
    folder = str(Path(folder).resolve())
    hooks = {
        'mmpretrain': ConfigDict(type='VisualizationHook', enable=True, interval=1, out_dir=folder),
        'mmdet': ConfigDict(
            type='DetVisualizationHook', draw=True, interval=1, test_out_dir=folder
        ),
        'mmseg': ConfigDict(type='SegVisualizationHook', draw=True, interval=1),
    }
    visualizers = {
        'mmpretrain': 'UniversalVisualizer',
        'mmdet': 'DetLocalVisualizer',
        'mmseg': 'SegLocalVisualizer',
    }
    scope = cfg.get('default_scope')
    if scope not in hooks:
        raise UserError(f'--show-dir knows mmpretrain, mmdet and mmseg configs, not {scope}')
    cfg.default_hooks.visualization = hooks[scope]
    cfg.visualizer = dict(
        type=visualizers[scope], vis_backends=[dict(type='LocalVisBackend')], save_dir=folder
    )
