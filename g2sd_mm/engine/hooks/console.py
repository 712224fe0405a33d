"""What a terminal shows of a run: a block at the start, then lines of progress; a file has all."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import nn

from ...config.parts import encoder_start, innermost_datasets, named_teachers, task_of_config
from ...progress import duration
from ...tasks import in_units
from ...text import printable
from ...threads import use_threads
from ...whole_files import write_text
from ..position import images_of_iteration, iterations_of_update
from .access import bare_model, frozen_networks

#: In a work dir: how far its run is, as plain values.
PROGRESS = 'progress.json'
#: In a work dir: pictures of what its run predicted at the last validation.
LAST_PREDICTIONS = 'last_predictions'
_SHOWN = 'shown'  # of a log record: it is for the terminal, and not for the file
#: Of warnings that nobody has to read: the second is told of each frozen parameter.
_HARMLESS = re.compile('deprecated|is skipped since its requires_grad=False')
_WINDOW = 50  # steps whose mean counts


def shorten(logger: logging.Logger) -> None:
    """Let the terminal have what is meant for it and what is wrong, and the files all else."""
    for handler in logger.handlers:
        to_file = isinstance(handler, logging.FileHandler)
        handler.addFilter(_for_file if to_file else _for_terminal)


def _for_terminal(record: logging.LogRecord) -> bool:
    wrong = record.levelno >= logging.WARNING and not _HARMLESS.search(record.getMessage())
    return wrong or getattr(record, _SHOWN, False)


def _for_file(record: logging.LogRecord) -> bool:
    return not getattr(record, _SHOWN, False)


@HOOKS.register_module()
class ConsoleHook(Hook):
    """Chooses threads, says at the start what is run, and then how far it is.

    ``progress.json`` in the work dir has the same for programs. On a resumed run torch computes on
    as many threads as before: other numbers of threads add in another order.

    Args:
        every: seconds between two lines of progress, at least.
    """

    priority = 'VERY_LOW'  # behind the logger

    def __init__(self, every: float = 10.0) -> None:
        self.every = every
        self._said = self._started = 0.0
        self._seen = self._told = 0
        self._threads = ''

    def before_run(self, runner: Runner) -> None:
        """Choose the threads, before anything is computed."""
        if next(runner.model.parameters()).device.type == 'cpu':
            networks = [bare_model(runner), *frozen_networks(bare_model(runner))]
            self._threads = use_threads(max(map(_parameters, networks)))
            runner.message_hub.update_info('threads', torch.get_num_threads())

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Compute on the threads of the run that is gone on with."""
        hub = checkpoint.get('message_hub')
        known = hub.get('runtime_info', {}).get('threads') if isinstance(hub, dict) else None
        if isinstance(known, int) and known > 0 and self._threads:
            torch.set_num_threads(known)
            self._threads = f'{known} thread{"s" * (known > 1)}, as before'

    def before_train(self, runner: Runner) -> None:
        """The block."""
        self._started = self._said = time.monotonic()
        self._first = runner.iter
        if is_main_process():
            for name, text in about(runner, self._threads):
                say(runner, f'{name:<9}{text}')

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """A line, if there is something new to say and the last one is some time ago."""
        losses = runner.message_hub.log_scalars.get('train/loss')
        seen = losses._count_history.size if losses is not None else 0
        if seen != self._seen and time.monotonic() - self._said >= self.every:
            self._seen = seen
            self._tell(runner, runner.iter + 1)

    def after_val_epoch(self, runner: Runner, metrics: Mapping[str, float] | None = None) -> None:
        """Figures of a validation, in the units of all tables."""
        if metrics and self._started and is_main_process():
            say(runner, f'validated: {", ".join(in_units(metrics))}')

    def after_train(self, runner: Runner) -> None:
        """The last line."""
        if runner.iter != self._told:
            self._tell(runner, runner.iter)

    def _tell(self, runner: Runner, done: int) -> None:
        self._said, self._told = time.monotonic(), done
        if not is_main_process():
            return
        state = progress(runner, done, self._said - self._started, done - self._first)
        write_text(Path(runner.work_dir) / PROGRESS, json.dumps(state, indent=1))
        say(runner, progress_line(state))


def say(runner: Runner, text: str) -> None:
    """A line for the terminal alone."""
    runner.logger.info(printable(text), extra={_SHOWN: True})


def progress(runner: Runner, done: int, seconds: float, since: int) -> dict[str, Any]:
    """How far a run is.

    Args:
        runner: that trains.
        done: steps.
        seconds: that this process has trained.
        since: steps that it has made in them.
    """
    hub = runner.message_hub

    def mean(name: str) -> float | None:
        known = hub.log_scalars.get(f'train/{name}')
        return float(known.mean(_WINDOW)) if known is not None and known.data[0].size else None

    step, wait = mean('time'), mean('data_time')
    # by a metric that gets no better
    stopped = getattr(runner.train_loop, 'stop_training', False)
    left = 0 if stopped else runner.max_iters - done
    epoch = min(runner.epoch + (not stopped), runner.max_epochs)
    return {
        'step': done,
        'steps': runner.max_iters,
        # of a step of all processes
        'images': images_of_iteration(runner.train_dataloader) * runner.world_size,
        'epoch': epoch if _counts_epochs(runner) else None,
        'epochs': runner.max_epochs if _counts_epochs(runner) else None,
        'loss': mean('loss'),
        'explained': mean('explained_variance'),  # a low loss on features says little
        'images_per_second': mean('images_per_second'),
        'data_wait': wait / step if step and wait is not None else None,
        # of all that has passed, validations too
        'seconds_left': left * seconds / since if since > 0 else None,
        'memory': _memory(),
        'time': time.time(),
    }


def progress_line(state: Mapping[str, Any]) -> str:
    """``epoch 3/60  1,250/3,750  loss 0.412  65 images/s  data wait 2 %  12 min left``."""
    parts = [f'epoch {state["epoch"]}/{state["epochs"]}'] if state.get('epochs') else []
    parts.append(f'{state["step"]:,}/{state["steps"]:,}')
    if state.get('loss') is not None:
        parts.append(f'loss {state["loss"]:.4g}')
    if state.get('explained') is not None:
        parts.append(f'explains {state["explained"]:.0%}')
    if state.get('images_per_second') is not None:
        parts.append(f'{state["images_per_second"]:,.0f} images/s')
    if state.get('data_wait') is not None:
        parts.append(f'data wait {state["data_wait"]:.0%}')
    if state.get('seconds_left'):
        parts.append(f'{duration(state["seconds_left"])} left')
    return '  '.join(parts)


def _counts_epochs(runner: Runner) -> bool:
    return hasattr(runner.train_loop, 'run_epoch')


def _memory() -> int | None:
    """Bytes: of the GPU at most, else of this process now."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    try:
        pages = int(Path('/proc/self/statm').read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * 4096


# The block ---------------------------------------------------------------------------------------


def about(runner: Runner, threads: str) -> Iterator[tuple[str, str]]:
    """What is run, on what, how long, and where it goes: (name, text)."""
    cfg, model = runner.cfg, bare_model(runner)
    student = getattr(model, 'student', model)
    yield 'run', _what(cfg, student)
    images = len(runner.train_dataloader.dataset)
    places = [str(part.get('data_root') or '.') for part in
              innermost_datasets(cfg.train_dataloader.dataset)]  # fmt: skip
    validated = ''
    if runner.val_loop is not None:
        validated = f', {len(runner.val_dataloader.dataset):,} for validation'
    yield 'data', f'{images:,} training images in {", ".join(dict.fromkeys(places))}{validated}'
    teachers = [f'teacher {_parameters(part) / 1e6:.2f} M' for part in frozen_networks(model)]
    yield 'model', ', '.join([
        f'{type(student).__name__}, {_parameters(student) / 1e6:.2f} M parameters', *teachers,
        f'from {_start(cfg)}',
    ])  # fmt: skip
    yield 'schedule', _schedule(runner)
    workers = runner.train_dataloader.num_workers
    device = next(model.parameters()).device
    yield 'machine', f'{device}, {threads + ", " if threads else ""}{workers} reading process' + (
        'es' if workers != 1 else '')  # fmt: skip
    yield 'writes', f'{runner.work_dir}, all of the log in {_log_file(runner)}'


def _what(cfg: Any, student: nn.Module) -> str:
    name = Path(getattr(cfg, 'filename', None) or 'config').stem
    teachers = [
        str(part.get('model') if isinstance(part.get('model'), str) else
            part.get('checkpoint') or part.get('config') or part.get('type'))
        for part in named_teachers(cfg).values()
    ]  # fmt: skip
    beside = f' beside {", ".join(teachers)}' if teachers else ''
    task = task_of_config(cfg)  # stage 1 too has a library, but nothing to predict
    if task and hasattr(student, 'predict'):
        return f'{name}: {"stage 2" if teachers else "fine-tuning"}, {task.name}{beside}'
    return f'{name}: {"stage 1" if teachers else "pre-training"}, without labels{beside}'


def _start(cfg: Any) -> str:
    hooks = [hook.get('type') for hook in cfg.get('custom_hooks') or () if isinstance(hook, dict)]
    if 'SlicedStartHook' in hooks:
        return 'a slice of its teacher'
    return str(encoder_start(cfg) or cfg.get('load_from') or 'random weights')


def _schedule(runner: Runner) -> str:
    accumulated = iterations_of_update(runner)
    batch = images_of_iteration(runner.train_dataloader) * runner.world_size * accumulated
    length = f'{runner.max_epochs} epochs, ' if _counts_epochs(runner) else ''
    rate = base_rate(runner)
    return (
        f'{length}{runner.max_iters // accumulated:,} updates of {batch} images'
        + (f', learning rate {rate:g}' if rate is not None else '')
        + f', seed {runner.seed}'
    )


def base_rate(runner: Runner) -> float | None:
    """The optimizer's learning rate, scaled as the runner scales it; None where it has none."""
    rate = runner.cfg.get('optim_wrapper', {}).get('optimizer', {}).get('lr')
    if not isinstance(rate, (int, float)):
        return None
    scaling = runner.cfg.get('auto_scale_lr') or {}
    if scaling.get('enable'):
        taken = images_of_iteration(runner.train_dataloader) * runner.world_size
        rate *= taken / scaling['base_batch_size']
    return rate


def _log_file(runner: Runner) -> str:
    files = [handler.baseFilename for handler in runner.logger.handlers
             if isinstance(handler, logging.FileHandler)]  # fmt: skip
    return str(Path(files[0]).relative_to(Path(runner.work_dir).absolute())) if files else 'no file'


def _parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
