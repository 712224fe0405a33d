"""The names of the classes that a config predicts."""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config
from mmengine.registry import DATASETS


def class_names(cfg: Config) -> tuple[str, ...]:
    """Names of the classes that a config's test data have; empty if nothing tells them.

    From ``metainfo`` in the config, else from the data set's class, else from the class folders.
    """
    dataset = cfg.test_dataloader.dataset
    metainfo = dataset.get('metainfo') or {}
    if metainfo.get('classes'):
        return tuple(metainfo['classes'])
    kind = DATASETS.switch_scope_and_registry(cfg.default_scope)
    with kind as registry:
        known = getattr(registry.get(dataset.type), 'METAINFO', {}).get('classes')
    if known:
        return tuple(known)
    root = Path(dataset.get('data_root') or '.') / (dataset.get('data_prefix') or '')
    folders = (
        sorted(entry.name for entry in root.iterdir() if entry.is_dir()) if root.is_dir() else []
    )
    return tuple(folders)
