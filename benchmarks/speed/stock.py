"""The training pipelines that mmpretrain ships, to measure our own against."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mmengine.config import Config

#: task -> config with the same augmentation as ours, among those that mmpretrain installs
_CONFIGS = {
    'generic': 'mae/mae_vit-base-p16_8xb512-amp-coslr-300e_in1k.py',
    'cls': 'mae/benchmarks/vit-base-p16_8xb128-coslr-100e_in1k.py',
}


def stock_pipeline(task: str) -> list[dict[str, Any]] | None:
    """Steps of mmpretrain's pipeline for a task; None where ours are the library's own."""
    if task not in _CONFIGS:
        return None
    spec = find_spec('mmpretrain')
    assert spec is not None and spec.origin is not None  # it is a requirement of this package
    package = Path(spec.origin).parent
    return Config.fromfile(package / '.mim' / 'configs' / _CONFIGS[task]).train_pipeline
