"""Try something in the middle of a run, and leave the run as it was, to the last bit."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import Evaluator
from mmengine.logging import MMLogger
from torch import nn

from ..seeding import Generators

#: Attributes of metrics that name files which they write.
_WRITES = ('outfile_prefix', 'output_dir', 'out_file_path', 'out_dir')


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Evaluate without gradients; afterwards generators, modes and buffers are as before.

    Args:
        model: put into eval mode for the block.
    """
    generators = Generators()
    modes = [(module, module.training) for module in model.modules()]
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        model.eval()
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training  # not by train(), which some modules answer in their own way
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
        generators.restore()


@contextmanager
def silent() -> Iterator[None]:
    """Without what libraries log, print and warn of; what is raised still says it."""
    level = logging.root.manager.disable
    logging.disable(logging.ERROR)
    # mmengine's loggers are outside of logging's list, and remember what was enabled before; one
    # that is only made in the block would remember that nothing was
    MMLogger.get_current_instance()
    own = [log for log in MMLogger._instance_dict.values() if not log.disabled]
    for log in own:
        log.disabled = True
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter('ignore')
            yield
    finally:
        logging.disable(level)
        for log in own:
            log.disabled = False


@contextmanager
def single_process() -> Iterator[None]:
    """Let this process believe that it is the only one, so that what it does waits for no other."""
    name = 'is_initialized'
    before = getattr(torch.distributed, name)
    setattr(torch.distributed, name, lambda: False)
    try:
        yield
    finally:
        setattr(torch.distributed, name, before)


@contextmanager
def borrowed(evaluator: Evaluator, folder: Path) -> Iterator[None]:
    """Use an evaluator's own metrics, without results; afterwards each is as before.

    (A copy would not do: some metrics remove their folder when a copy of them goes, and annotations
    of a large data set take long to copy. Those are shared, and only read.)

    Args:
        evaluator: its metrics lose nothing that they hold.
        folder: takes the files that metrics write.
    """
    before = [dict(vars(metric)) for metric in evaluator.metrics]
    try:
        for metric, own in zip(evaluator.metrics, before, strict=True):
            for name, value in own.items():
                if isinstance(value, (list, dict, set, np.ndarray, torch.Tensor)):
                    setattr(metric, name, copy.deepcopy(value))
                if name in _WRITES and isinstance(value, (str, Path)):
                    setattr(metric, name, str(folder / Path(value).name))
            metric.results = []
        yield
    finally:
        for metric, own in zip(evaluator.metrics, before, strict=True):
            attributes: dict[str, Any] = vars(metric)
            attributes.clear()
            attributes.update(own)
