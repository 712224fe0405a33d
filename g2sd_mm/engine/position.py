"""Where a run is, in units that outlive a change of its batch, processes, data or length.

A checkpoint's ``epoch`` and ``iter`` mean something only together with the loader that counted
them. A :class:`Position` holds both, and :func:`translate` finds the same place in a run that
counts in other units. Runs by epochs keep their whole epochs, and the images of the epoch that was
begun; runs by iterations keep their optimizer updates, and the images that were seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from ..compat.safe_load import CheckpointError
from ..errors import UserError

#: Entry of a checkpoint's ``meta``.
KEY = 'position'


def iterations_of_update(runner: Any) -> int:
    """Iterations that gradients are accumulated over before they are used."""
    return int(getattr(runner.optim_wrapper, '_accumulative_counts', 1))


def images_of_iteration(loader: Any) -> int:
    """Images of an iteration of one process, also where a batch sampler makes the batches (of
    images of alike shape, as mmdet's configs have it); 0 if nothing says it."""
    return int(loader.batch_size or getattr(loader.batch_sampler, 'batch_size', None) or 0)


@dataclass(frozen=True)
class Units:
    """What a run counts in.

    Attributes:
        by_epoch: whether its length is in epochs; else it is in iterations.
        end: its length, in these.
        epoch_length: iterations of an epoch.
        dataset: images of the training data.
        batch: images of an iteration of one process; 0 if its sampler decides that.
        processes: that share an iteration.
        accumulation: iterations of an optimizer update.
    """

    by_epoch: bool
    end: int
    epoch_length: int
    dataset: int
    batch: int
    processes: int
    accumulation: int

    @property
    def step(self) -> int:
        """Images of an iteration of all processes."""
        return self.batch * self.processes

    @property
    def update(self) -> int:
        """Images of an optimizer update."""
        return self.step * self.accumulation


@dataclass(frozen=True)
class Position:
    """A place in a run.

    Attributes:
        units: that ``epoch`` and ``iteration`` are counted in.
        epoch: whole epochs done (0 in a run by iterations).
        iteration: iterations since the start, as if the run had always counted in ``units``.
        updates: optimizer updates that were really made.
        images: images that were really seen, of all processes.
    """

    units: Units
    epoch: int
    iteration: int
    updates: int
    images: int

    def after(self, epoch: int, iteration: int) -> Position:
        """The place where a run is that went on from here.

        Args:
            epoch: whole epochs done by now.
            iteration: iterations done by now.
        """
        made = iteration - self.iteration
        return replace(
            self,
            epoch=epoch,
            iteration=iteration,
            updates=self.updates + made // self.units.accumulation,
            images=self.images + made * self.units.step,
        )

    def is_possible(self) -> bool:
        """Whether the iteration lies in the epoch, or in the run."""
        if not self.units.by_epoch:
            return self.iteration <= self.units.end
        length = self.units.epoch_length
        return self.epoch * length <= self.iteration <= (self.epoch + 1) * length

    @property
    def done(self) -> int:
        """In epochs or iterations, as the run's length is."""
        return self.epoch if self.units.by_epoch else self.iteration

    def plain(self) -> dict[str, Any]:
        """What a checkpoint holds of it: numbers and flags by name."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != 'units'}
        return {**asdict(self.units), **own}


def read_position(meta: Mapping[str, Any], now: Units) -> Position:
    """The position in a checkpoint, by its record or, in one without, by what its counts say.

    Args:
        meta: the checkpoint's, with its counts.
        now: units of the run that goes on; a checkpoint without a record is taken to have counted
            in them as far as its counts allow.

    Raises:
        CheckpointError: if the record is damaged, or there is none and the counts do not fit.
    """
    if isinstance(record := meta.get(KEY), Mapping):
        names = [f.name for kind in (Units, Position) for f in fields(kind) if f.name != 'units']
        values: dict[str, Any] = {name: record.get(name) for name in names}
        sane = all(isinstance(value, int) and value >= 0 for value in values.values())
        if not sane or not values['epoch_length'] or not values['accumulation']:
            raise CheckpointError(f'cannot resume: the record meta.{KEY} of the file is damaged')
        units = Units(**{f.name: values.pop(f.name) for f in fields(Units)})
        position = Position(units, **values)
        if not position.is_possible():
            raise CheckpointError(f'cannot resume: the record meta.{KEY} of the file is damaged')
        return position
    epoch, iteration = meta['epoch'], meta['iter']
    units = replace(now, epoch_length=_old_length(epoch, iteration, now))
    updates = iteration // units.accumulation
    return Position(units, epoch, iteration, updates, iteration * units.step)


def _old_length(epoch: int, iteration: int, now: Units) -> int:
    """Iterations of an epoch of a run that did not record them."""
    length = now.epoch_length
    if not now.by_epoch or epoch * length <= iteration <= (epoch + 1) * length:
        return length
    if epoch and iteration % epoch == 0:
        return iteration // epoch
    raise CheckpointError(
        f'cannot resume: epoch {epoch} and iteration {iteration} do not fit a loader of {length} '
        'iterations an epoch, and a checkpoint of before 0.2 does not say what its loader had. '
        'Resume with the batch size, processes and images of then, or from a checkpoint of the '
        'end of an epoch'
    )


def translate(old: Position, now: Units) -> Position:
    """The same place in a run that counts in other units; unchanged ones change nothing.

    The place is rounded down to a whole update, so that no gradient is of a part of one: up to one
    update's images are seen twice.

    Raises:
        CheckpointError: if a run by epochs is to go on by iterations, or the other way round.
        UserError: if nothing would be left to train, although the run was not at its end.
    """
    was = old.units
    if was.by_epoch != now.by_epoch:
        kinds = ['by iterations (max_iters)', 'by epochs (max_epochs)']
        raise CheckpointError(
            f'cannot resume: the checkpoint counts {kinds[was.by_epoch]} and the config '
            f'{kinds[now.by_epoch]}; give train_cfg as it was, or start anew from its weights'
        )
    if was == now and old.done <= now.end:
        return old
    epoch, iteration = old.epoch, old.iteration
    if now.by_epoch:
        iteration = epoch * now.epoch_length + _begun(old, now)
    elif was.accumulation != now.accumulation:
        iteration = iteration // was.accumulation * now.accumulation
    found = Position(now, epoch, iteration, old.updates, old.images)
    if found.done >= now.end:
        if old.done >= was.end and found.done == now.end:
            return found
        raise UserError(_nothing_left(old, found))
    iteration -= iteration % now.accumulation
    if iteration < epoch * now.epoch_length:
        epoch = iteration // now.epoch_length
    return replace(found, epoch=epoch, iteration=iteration)


def _begun(old: Position, now: Units) -> int:
    """Iterations of the epoch that was begun: by its images, or of other data its share."""
    was = old.units
    begun = min(max(old.iteration - old.epoch * was.epoch_length, 0), was.epoch_length)
    same_data = was.dataset == now.dataset and was.step and now.step
    if begun == was.epoch_length or not same_data:
        return begun * now.epoch_length // was.epoch_length
    return min(begun * was.step // now.step, now.epoch_length)


def _nothing_left(old: Position, found: Position) -> str:
    was, now = old.units, found.units
    option = 'train_cfg.max_epochs' if now.by_epoch else 'train_cfg.max_iters'
    at = f'{"epoch" if now.by_epoch else "iteration"} {found.done}'
    if found.done != old.done:
        at += f' (iteration {old.done} of the checkpoint, counted with its accumulation)'
    # as many epochs or updates as before
    length = was.end if now.by_epoch else was.end // was.accumulation * now.accumulation
    length = max(length, found.done + now.accumulation)
    return (
        f'nothing is left to train: the checkpoint is at {at}, and {option} is {now.end} (it was '
        f'{was.end}). Give more, for example --cfg-options {option}={length}, or take the weights '
        'as they are: g2sd checkpoint extract'
    )


def changes(old: Position, found: Position) -> list[str]:
    """What changed between a checkpoint and the run that goes on from it, a line each."""
    was, now = old.units, found.units
    return [*_differences(was, now), *_meaning(old, found)] if was != now else []


_WORDS = {
    'dataset': 'training images',
    'batch': 'images of a batch (train_dataloader.batch_size)',
    'processes': 'processes',
    'accumulation': 'batches of an update (optim_wrapper.accumulative_counts)',
    'epoch_length': 'iterations of an epoch',
}


def _differences(was: Units, now: Units) -> list[str]:
    names = {**_WORDS, 'end': f'train_cfg.{"max_epochs" if now.by_epoch else "max_iters"}'}
    if not now.by_epoch:
        names.pop('epoch_length')
    pairs = {name: (getattr(was, name), getattr(now, name)) for name in names}
    return [
        f'changed since the checkpoint: {names[name]}: {before}, now {after}'
        for name, (before, after) in pairs.items()
        if before != after
    ]


def _meaning(old: Position, found: Position) -> list[str]:
    was, now = old.units, found.units
    lines = []
    if found.iteration != old.iteration or found.epoch != old.epoch:
        lines.append(
            f'the checkpoint is at epoch {old.epoch}, iteration {old.iteration}: this is '
            f'iteration {found.iteration} now, in epoch {found.epoch + 1}'
            if now.by_epoch
            else f'the checkpoint is at iteration {old.iteration}, after {old.updates} updates: '
            f'this is iteration {found.iteration} now'
        )
    if was.dataset != now.dataset:
        lines.append('other training images: from here on they come in another order')
    if was.update != now.update:
        lines.append(
            f'an update takes {now.update} images, and took {was.update}: learning rate and '
            'schedule are those of the config; --auto-scale-lr fits the rate to the batch'
        )
    left = now.end - found.done
    unit = 'epochs' if now.by_epoch else 'iterations'
    lines.append(f'{left} of {now.end} {unit} are left, and the schedule ends with the last')
    return lines
