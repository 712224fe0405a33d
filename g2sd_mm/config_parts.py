"""Where a config has what several parts of the project look for in it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from mmengine.config import Config, ConfigDict

#: What the path of packed data begins with, see :mod:`g2sd_mm.datasets.packed`.
PACKED = 'packed://'


def data_folder() -> str:
    """What ``data/`` in a config stands for: the variable ``G2SD_DATA``, else itself."""
    return os.environ.get('G2SD_DATA', 'data')


def innermost_dataset(dataset: Mapping[str, Any]) -> Any:
    """The data set itself, inside of what seeds, repeats or balances it."""
    while isinstance(dataset.get('dataset'), Mapping):
        dataset = dataset['dataset']
    return dataset


def plain_model(cfg: Config) -> ConfigDict:
    """A config's model (of a distilled config, the student) as any registry can build it.

    With the scope of its library, and with the preprocessor that classification configs keep beside
    the model. The config stays as it is.
    """
    model = ConfigDict(cfg.model)
    model.setdefault('_scope_', cfg.get('default_scope') or 'mmengine')
    if cfg.get('data_preprocessor'):
        model.setdefault('data_preprocessor', cfg.data_preprocessor)
    return model
