"""The names of the classes that a config predicts."""

from __future__ import annotations

from mmengine.config import Config

from ..agreement.data_names import names_of
from ..config.parts import LOADERS


def class_names(cfg: Config) -> tuple[str, ...]:
    """Names of the classes that a config's test data have; empty if nothing tells them.

    From ``metainfo`` in the config, else from the data set's class, else from the class folders.
    A config without test data has those of validation or training.
    """
    for loader in reversed(LOADERS):
        if found := names_of(cfg, loader):
            return found[0].order
    return ()
