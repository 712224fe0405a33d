"""Save training checkpoints, each whole or not there: when it is time, and when a run is ended."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import is_distributed, is_main_process
from mmengine.fileio.backends import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook, EMAHook, Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ...checkpoints.integrity import POINTER
from ...config.parts import peer_timeout, students_in
from ...errors import ConfigError, Preempted
from ...preemption import request
from ...whole_files import remove_leftovers, whole_or_not, write_text
from ..position import images_of_iteration
from ..running_statistics import share_statistics
from .access import VALIDATED, between_updates, updates_so_far


class WholeFileBackend(LocalBackend):
    """mmengine's files on a disk, written by temporary file, fsync and rename.

    Chosen by ``backend_args=dict(backend='whole_file')``.
    """

    def __init__(self) -> None:
        self._spared: set[str] | None = None
        self._doomed: list[str] = []

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write bytes; the folder is made.

        Raises:
            OSError: if the disk is full or the folder cannot be written; the old file stays.
        """
        Path(filepath).parent.mkdir(parents=True, exist_ok=True)
        with whole_or_not(filepath) as temporary:
            temporary.write_bytes(obj)
        if self._spared is not None:
            self._spared.add(str(filepath))

    def remove(self, filepath: str | Path) -> None:
        """Remove a file, at the end of :meth:`removing_last` if inside of it."""
        if self._spared is None:
            super().remove(filepath)
        else:
            self._doomed.append(str(filepath))

    @contextmanager
    def removing_last(self) -> Iterator[None]:
        """Files removed in this block go when it has ended well, unless it wrote them anew."""
        self._spared, self._doomed = set(), []
        try:
            yield
        except BaseException:
            self._doomed = []
            raise
        finally:
            spared, self._spared = self._spared, None
            for path in self._doomed:
                if path not in spared and self.isfile(path):
                    self.remove(path)


register_backend('whole_file', WholeFileBackend)


@HOOKS.register_module()
class WholeCheckpointHook(CheckpointHook):
    """mmengine's ``CheckpointHook``, with its arguments, safe against the end of the process.

    * Files are written by temporary file, fsync and rename; ``last_checkpoint`` too.
    * What ``max_keep_ckpts`` and a better best file make superfluous is removed after the new file
      is there, not before.
    * Inside a window of gradient accumulation nothing is saved, since gradients are in no
      checkpoint: a save that falls there is made at the window's end, under the same name.
    """

    backend_args: dict[str, Any] | None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if strange := self.args.keys() - inspect.signature(Runner.save_checkpoint).parameters:
            *known, _ = inspect.signature(CheckpointHook).parameters
            raise ConfigError(  # that call would be the first to say so, after an epoch
                f'default_hooks.checkpoint has {", ".join(sorted(strange))}, which nothing reads; '
                f'it takes {", ".join(known)}'
            )
        if self.backend_args is None and '://' not in str(self.out_dir or ''):
            self.backend_args = dict(backend='whole_file')
        self._due: int | str | None = None

    def before_train(self, runner: Runner) -> None:
        """Find out where files go; remove what killed processes left half written."""
        super().before_train(runner)
        self._due = None
        self.keep_ckpt_ids = list(getattr(self, 'keep_ckpt_ids', ()))
        work_dir = Path(runner.work_dir)
        students = (work_dir / name for name in students_in(runner.cfg))
        for folder in {Path(self.out_dir), work_dir, *students} if is_main_process() else ():
            for file in remove_leftovers(folder):
                runner.logger.info('removed %s, left by a process that was killed', file)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Save if it is time, or was in the window of accumulation that ends here."""
        if self._due is not None and between_updates(runner):
            meta = dict(epoch=runner.epoch, iter=runner.iter + 1)
            self._save_checkpoint_with_step(runner, self._due, meta)
        super().after_train_iter(runner, batch_idx, data_batch, outputs)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Save a better best, and with it the newest checkpoint anew, which is validated then."""
        runner.message_hub.update_info(VALIDATED, updates_so_far(runner))
        super().after_val_epoch(runner, metrics)

    def save_now(self, runner: Runner, epoch: int, step: int) -> Path:
        """Save at once, between two updates.

        Args:
            runner: of this run.
            epoch: whole epochs done.
            step: iterations done.

        Returns:
            the file. In the middle of an epoch its name has the iteration too.
        """
        number: int | str = step
        if self.by_epoch:
            length = len(runner.train_dataloader)
            number = epoch if step == epoch * length else f'{epoch}_iter_{step}'
        self._save_checkpoint_with_step(runner, number, dict(epoch=epoch, iter=step))
        return Path(self.last_ckpt)

    def _save_checkpoint_with_step(
        self, runner: Runner, step: int | str, meta: dict[str, Any]
    ) -> None:
        if not between_updates(runner):
            self._due = step
            return
        share_statistics(runner)
        self._due, kept = None, self.keep_ckpt_ids
        if step not in kept:
            kept.append(step)
        # with those that go below: if this process ends before, the next one takes them away
        runner.message_hub.update_info('keep_ckpt_ids', list(kept))
        self.last_ckpt = self._path(step)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir,
            os.path.basename(self.last_ckpt),
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        if is_main_process():
            write_text(Path(runner.work_dir) / POINTER, self.last_ckpt)
        while 0 < self.max_keep_ckpts < len(kept):
            path = self._path(kept.pop(0))
            if is_main_process() and self.file_backend.isfile(path):
                self.file_backend.remove(path)

    def _path(self, step: int | str) -> str:
        return self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(step))

    def _save_best_checkpoint(self, runner: Runner, metrics: dict[str, float]) -> None:
        with getattr(self.file_backend, 'removing_last', nullcontext)():
            super()._save_best_checkpoint(runner, metrics)


class Agreement:
    """Asks all ranks over a group of its own, on the CPU: a GPU's queue of work is not waited for.

    To be made by all ranks at the same place of the program, and asked likewise.

    Args:
        timeout: how long the others are waited for.
    """

    def __init__(self, timeout: timedelta) -> None:
        self._group: Any = None
        if is_distributed():
            self._group = torch.distributed.new_group(backend='gloo', timeout=timeout)

    def any(self, flag: bool) -> bool:
        """Whether it is so on any rank."""
        if self._group is None:
            return flag
        votes = torch.tensor([int(flag)])
        torch.distributed.all_reduce(votes, torch.distributed.ReduceOp.MAX, group=self._group)
        return bool(votes.item())


@HOOKS.register_module()
class PreemptionHook(Hook):
    """After SIGTERM or SIGUSR1: finish the update, save, and raise :class:`Preempted`.

    All ranks end after the same step, whichever of them got the signal. It is answered during a
    validation too, which the resumed run then repeats from its beginning.
    """

    priority = 'LOWEST'  # after schedules have stepped, and after a checkpoint that was due anyway

    def before_train(self, runner: Runner) -> None:
        """Get ready to agree."""
        self._agreement = Agreement(peer_timeout(runner.cfg))

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """End if any rank was asked to."""
        if between_updates(runner) and self._agreement.any(bool(request())):
            self._end(runner, runner.epoch, runner.iter + 1)

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """The same, where all ranks still have batches; inside accumulation it has to wait."""
        averaging = [hook for hook in runner.hooks if isinstance(hook, EMAHook)]
        # mmpretrain's has its weights in the network for the first pass alone
        twice = any(getattr(hook, 'evaluate_on_origin', False) for hook in averaging)
        if twice or not between_updates(runner) or not hasattr(self, '_agreement'):
            return
        loader = runner.val_dataloader
        in_step = len(loader.dataset) // (runner.world_size * (images_of_iteration(loader) or 1))
        if batch_idx < in_step and self._agreement.any(bool(request())):
            for hook in averaging:  # which have put their weights in the place of the trained ones
                hook._swap_ema_parameters()
            self._end(runner, runner.epoch, runner.iter)

    def _end(self, runner: Runner, epoch: int, step: int) -> None:
        why = request() or 'a signal to another process'
        saving = next((h for h in runner.hooks if isinstance(h, WholeCheckpointHook)), None)
        if saving is None:
            raise Preempted(f'ended by {why} after step {step}; this run saves no checkpoints')
        path = saving.save_now(runner, epoch, step)
        runner.logger.warning('ended by %s after step %d, saved %s', why, step, path)
        raise Preempted(f'ended by {why} after step {step}, saved {path}')
