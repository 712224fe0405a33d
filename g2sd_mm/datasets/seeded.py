"""Counter-based data randomness: a sample's augmentation depends on (seed, epoch, number) alone.

The sampler yields keys instead of numbers; the data set wrapper seeds the generators from the key
before it lets the pipeline run. So it does not matter which worker of which process reads a sample,
or whether the run was resumed in between.
"""

from __future__ import annotations

import itertools
import os
import sys
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from mmengine.dataset import DefaultSampler
from mmengine.dataset.utils import worker_init_fn
from mmengine.dist import get_rank
from mmengine.registry import DATA_SAMPLERS, DATASETS, FUNCTIONS
from torch.utils.data import Dataset, get_worker_info

from ..errors import DataError
from ..preemption import end_with_parent
from ..seeding import seed_everything
from ..text import one_line

#: What a sample raises that cannot be read: a file (a DataError is a ValueError), or annotations
#: that the libraries assert something about.
_UNREADABLE = (OSError, AssertionError, ValueError, SyntaxError, cv2.error)
_TRIES = 10
_COPIES = 1 << 40  # from the seed of an image to that of its next copy in a pass: no run's own


class SampleKey(NamedTuple):
    """Which sample, in which pass over the data, of which run."""

    index: int  # type: ignore[assignment]  # in the place of a tuple's method of that name
    epoch: int
    seed: int

    def sample_seed(self) -> int:
        """63-bit number that stands for this key."""
        state = np.random.SeedSequence((self.seed, self.epoch, self.index)).generate_state(1, 'u8')
        return int(state[0] >> 1)


@DATA_SAMPLERS.register_module()
class SeededSampler(DefaultSampler):
    """mmengine's ``DefaultSampler``, yielding :class:`SampleKey` s.

    With a global batch of B, step s sees the same B samples on any number of processes.

    Args:
        infinite: go on with the next pass for ever, for iteration-based training.
        repeats: times that an image is in a pass, each time augmented anew (repeated augmentation,
            as DeiT has it). A pass is as long as without: it has fewer images.
    """

    def __init__(
        self, *args: Any, infinite: bool = False, repeats: int = 1, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.infinite, self.repeats = infinite, repeats
        self._skipped = 0

    def skip(self, num_samples: int) -> None:
        """Start the next iteration after this many keys of this rank, to resume without loading."""
        self._skipped = num_samples

    def __iter__(self) -> Iterator[SampleKey]:
        """Keys of this rank, pass by pass."""
        whole, rest = divmod(self._skipped, self.num_samples) if self.num_samples else (0, 0)
        self._skipped = 0
        passes = itertools.count(self.epoch + whole) if self.infinite else (self.epoch,)
        for epoch in passes:
            order = list(range(len(self.dataset)))
            if self.shuffle:
                generator = torch.Generator().manual_seed(self.seed + epoch)
                order = torch.randperm(len(order), generator=generator).tolist()
            # one beside the other, so that several ranks, and a batch, have one image
            copies = ((index, copy) for index in order for copy in range(self.repeats))
            places = list(itertools.islice(copies, len(order)))
            if self.round_up and places:
                # repeat from the front until every rank has as many
                places = list(itertools.islice(itertools.cycle(places), self.total_size))
            for index, copy in places[self.rank : self.total_size : self.world_size][rest:]:
                yield SampleKey(index, epoch, self.seed + copy * _COPIES)
            rest = 0


@DATASETS.register_module()
class SeededDataset(Dataset):
    """Any mm data set, read with the generators seeded by the sample's key.

    A sample that cannot be read is replaced by another one that follows from the key, and says so
    in ``unreadable`` for :class:`~g2sd_mm.engine.hooks.reporting.SampleErrorHook`.

    Args:
        dataset: config of the data set.
        on_error: ``skip`` replaces unreadable samples, ``raise`` stops at the first.
        every: only each ``every``-th sample is used; of data in the order of their classes, as
            folders of classes are, the same share of every class.
        samples: of those, at most so many are used, taken evenly (None: all).
        views: in how many ways each image is augmented, over and over; None for anew in each pass.
    """

    def __init__(
        self,
        dataset: dict,
        on_error: str = 'skip',
        every: int = 1,
        samples: int | None = None,
        views: int | None = None,
    ) -> None:
        if views is not None and views < 1:
            raise ValueError(f'views={views}: at least 1 is needed, or None')
        if on_error not in ('skip', 'raise'):
            raise ValueError(f"on_error={on_error!r} is neither 'skip' nor 'raise'")
        self.dataset = DATASETS.build(dataset)
        self.on_error, self.views = on_error, views
        self._chosen: list[int] | None = None
        if every > 1 or samples is not None:
            used = range(0, len(self.dataset), every)
            number = len(used) if samples is None else min(samples, len(used))
            self._take([used[i * len(used) // number] for i in range(number)])

    def _take(self, chosen: list[int]) -> None:
        """Use these samples alone; what repeats, joins or mixes data sets cannot do so itself."""
        try:
            self.dataset.get_subset_(chosen)
        except (NotImplementedError, AttributeError):
            self._chosen = chosen

    def _place(self, index: int) -> int:
        """Number in the data set of sample ``index``."""
        return index if self._chosen is None else self._chosen[index]

    def __len__(self) -> int:
        return len(self.dataset if self._chosen is None else self._chosen)

    def __getattr__(self, name: str) -> Any:
        # metainfo, CLASSES, get_cat_ids, ...: what the runner and hooks ask of a data set
        if name == 'dataset':  # not there yet while a worker unpickles this object
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def get_data_info(self, key: SampleKey | int) -> dict:
        """The sample's entry without its pixels (aspect-ratio samplers ask for it)."""
        index = key.index if isinstance(key, SampleKey) else key
        return self.dataset.get_data_info(self._place(index))

    def get_cat_ids(self, index: int) -> list[int]:
        """Labels of a sample (what balances classes asks for them)."""
        return self.dataset.get_cat_ids(self._place(index))

    def __getitem__(self, key: SampleKey | int) -> dict:
        """The sample behind a key; a plain number reads pass 0 of seed 0.

        Raises:
            DataError: for an unreadable sample with ``on_error='raise'``, or when ten in a row
                cannot be read.
        """
        key = key if isinstance(key, SampleKey) else SampleKey(key, 0, 0)
        if self.views is not None:
            key = key._replace(epoch=key.epoch % self.views)
        sample_seed = key.sample_seed()
        problems: list[str] = []
        candidates = None
        index = key.index
        for _ in range(_TRIES):
            seed_everything(sample_seed, index)
            try:
                sample = self.dataset[self._place(index)]
            except _UNREADABLE as error:
                problems.append(self._describe(index, error))
                if self.on_error == 'raise':
                    raise DataError(f'unreadable sample {problems[0]}') from error
                candidates = candidates or np.random.default_rng(sample_seed)
                index = int(candidates.integers(len(self)))
                continue
            samples = sample.get('data_samples')
            if samples is not None:
                samples.set_metainfo({'sample_seed': sample_seed})
                if problems:
                    samples.set_metainfo({'unreadable': tuple(problems)})
            return sample
        raise DataError(
            f'{_TRIES} samples in a row could not be read, the last {problems[-1]}: check the '
            "data set's paths and files"
        )

    def _describe(self, index: int, error: Exception) -> str:
        """What is wrong, in one line that begins with the image's file."""
        info = self.dataset.get_data_info(self._place(index))
        name = str(info.get('img_path', f'sample {index}'))
        problem = one_line(error)
        return problem if problem.startswith(name) else f'{name}: {problem}'


_DYING = 1.0  # seconds from the end of a process's connections to the end of the process, at most


@FUNCTIONS.register_module()
def patient_worker(
    worker_id: int, seed: int | None = None, disable_subprocess_warning: bool = False
) -> None:
    """Start a worker that does not die of the signals by which clusters announce the end.

    Args:
        worker_id: number of the worker.
        seed: of the run; the worker's generators start where mmengine would have them start.
        disable_subprocess_warning: as mmengine has it.
    """
    end_with_parent()  # here too: it may have been started anew, and not forked
    sys.excepthook = _Orphan(os.getppid())
    if seed is not None:
        worker: Any = get_worker_info()
        worker_init_fn(worker_id, worker.num_workers, get_rank(), seed, disable_subprocess_warning)


class _Orphan:
    """Says nothing where a connection broke because the process at its other end is gone.

    A batch is fetched from a thread of the worker, which would print a traceback where a training
    process is killed in the midst of it, below the line that names the cause.
    """

    def __init__(self, parent: int) -> None:
        self.parent = parent

    def __call__(
        self, kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        """Stands for ``sys.excepthook``."""
        if issubclass(kind, (EOFError, ConnectionError)) and self._is_gone():
            os._exit(0)
        sys.__excepthook__(kind, error, trace)

    def _is_gone(self) -> bool:
        """A process closes its connections some time before others hear of its end."""
        end = time.monotonic() + _DYING
        while os.getppid() == self.parent and time.monotonic() < end:
            time.sleep(0.01)
        return os.getppid() != self.parent
