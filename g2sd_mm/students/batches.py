"""Many pictures in batches, several at a time, in order, with memory that does not grow."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

import cv2
import numpy as np
import torch

from ..errors import UserError
from ..progress import Bars
from ..text import one_line
from ..threads import cores, said_by
from .sources import Item, Source
from .tiles import Tiling, tiled_sample

if TYPE_CHECKING:
    from .student import Student

T = TypeVar('T')

_PIXELS = 2**21  # of a batch, whose activations grow with them
_MOST = 64  # images of a batch
_CACHED = (16, 32 * 56**2)  # of a CPU, whose caches larger ones leave: images, or pixels if more
_CHUNK = 4  # batches that are prepared together, so that images of one size meet
_HELD = 2**28  # bytes of prepared images that wait for others of their size, in a lane
_MEMORY = 2**26  # bytes of frames in a chunk
_LANES = 4
_MOST_KEPT = 31 * 2**20  # bytes; blocks of 32 MiB and more are always given back
#: What layers and steps raise of an image that is too small for them, or too narrow.
_UNFIT = (RuntimeError, ValueError, AssertionError, IndexError, cv2.error)


def predictions(
    student: Student,
    source: Source,
    finish: Callable[[int, Item, Any], T],
    *,
    batch_size: int | None = None,
    tiling: Tiling | None = None,
    progress: bool = False,
) -> Iterator[tuple[Item, T | UserError]]:
    """Predict on all pictures of a source, and give what ``finish`` makes of each, in order.

    Images that the test pipeline leaves at one size share a batch; nothing is padded, so that a
    picture's prediction does not depend on its neighbours. On a CPU a thread for each core (at most
    four, and what ``OMP_NUM_THREADS`` says) reads, predicts and finishes pictures of its own; they
    share torch's threads.

    Args:
        student: whose.
        source: see :func:`~g2sd_mm.students.sources.find`.
        finish: (number of the picture, picture, data sample) -> result; called in a thread.
        batch_size: images at a time (by their size: at most 64, or about two million pixels; on a
            CPU 16, or as many as have a hundred thousand pixels).
        tiling: how large images are cut.
        progress: show a bar, and say at the end how many images per second were predicted.

    Yields:
        the picture, and the result, or what is wrong where it cannot be read, or is of a size that
        the network cannot take.
    """
    device = next(student.parameters()).device.type
    lanes = lanes_of(device)
    chunk = _CHUNK * (batch_size or _MOST)
    if source.total is not None:  # few pictures are shared out too
        chunk = max(1, min(chunk, -(-source.total // lanes)))
    waiting: deque[Future[list[tuple[Item, T | UserError]]]] = deque()
    with (
        _metered(source.total, progress) as advance,
        _shared_threads(lanes if device == 'cpu' else 1),
        ThreadPoolExecutor(lanes) as pool,
    ):
        student.ready()
        _keep_freed_memory()
        lane = _Lane(student, finish, batch_size, device, tiling, advance)
        try:
            for pictures in _chunks(source.items, chunk):
                waiting.append(pool.submit(lane.predict, pictures))
                if len(waiting) > lanes:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def lanes_of(device: str) -> int:
    """How many threads predict: on a CPU one a core; on a GPU one reads while the other runs."""
    if device != 'cpu':
        return 2
    return max(1, min(_LANES, torch.get_num_threads() if said_by() else cores()))


@contextmanager
def _metered(total: int | None, shown: bool) -> Iterator[Callable[[], None]]:
    """Gives what threads call after each picture: it moves a bar, and a line comes at the end."""
    if not shown:
        yield lambda: None
        return
    lock = Lock()
    with Bars() as bars:
        bar, started = bars.add('predict', total), time.perf_counter()

        def advance() -> None:
            with lock:
                bar.advance()

        yield advance
    if bar.done:
        seconds = time.perf_counter() - started
        rate = bar.done / max(seconds, 1e-9)
        per_second = f'{rate:,.0f}' if rate >= 10 else f'{rate:.2g}'
        images = 'image' if bar.done == 1 else 'images'
        line = f'{bar.done:,} {images} in {seconds:.3g} s: {per_second} images per second'
        print(line, flush=True)


@dataclass
class _Lane:
    """What one thread does with a chunk of pictures."""

    student: Student
    finish: Callable[[int, Item, Any], Any]
    batch_size: int | None
    device: str
    tiling: Tiling | None
    done: Callable[[], None]

    def __post_init__(self) -> None:
        # what holds in the caller's thread is unknown in others
        self.precision = (
            torch.get_autocast_dtype(self.device), torch.is_autocast_enabled(self.device)
        )

    def predict(self, pictures: list[tuple[int, Item]]) -> list[tuple[Item, Any]]:
        with torch.no_grad(), torch.autocast(self.device, *self.precision):
            return self._predict(pictures)

    def _predict(self, pictures: list[tuple[int, Item]]) -> list[tuple[Item, Any]]:
        results: list[tuple[Item, Any]] = []
        groups: dict[tuple, list[tuple[int, dict]]] = {}
        held = 0

        def run(group: list[tuple[int, dict]]) -> None:
            places = [place for place, _ in group]  # all are of one size
            keep(places, lambda: self.student.run([given for _, given in group]))

        def keep(places: list[int], predict: Callable[[], list[Any]]) -> None:
            try:
                samples = predict()
            except _UNFIT as error:
                if _is_of_machine(error):
                    raise
                for place in places:
                    item = pictures[place][1]
                    results[place] = (item, _as_user_error(item.name, error))
                    self.done()
                return
            for place, sample in zip(places, samples, strict=True):
                number, item = pictures[place]
                results[place] = (item, self.finish(number, item, sample))
                self.done()

        for place, (_, item) in enumerate(pictures):
            try:
                given = self.student.load(item.picture())
                height, width = given['ori_shape']
                tiled = self.tiling is not None and max(height, width) > self.tiling.size
                prepared = None if tiled else self.student.prepare(given)
            except MemoryError:
                raise  # says something about the machine, not about the picture
            except Exception as error:  # damaged pictures can make a library raise anything
                results.append((item, _as_user_error(item.name, error)))
                self.done()
                continue
            results.append((item, None))
            if prepared is None:
                keep([place], partial(self._tiled, given))
                continue
            shape = tuple(prepared['inputs'].shape)
            # mmseg resizes the maps of a batch together
            key = (shape, () if self.student.task == 'classification' else given['ori_shape'])
            groups.setdefault(key, []).append((place, prepared))
            held += prepared['inputs'].nbytes
            if len(groups[key]) >= self.size_of(shape):
                held -= sum(p['inputs'].nbytes for _, p in groups[key])
                run(groups.pop(key))
            elif held > _HELD:
                while groups:
                    run(groups.popitem()[1])
                held = 0
        while groups:
            run(groups.popitem()[1])
        return results

    def _tiled(self, given: dict[str, Any]) -> list[Any]:
        assert self.tiling is not None
        return [tiled_sample(self.student, given, self.tiling, self.size_of)]

    def size_of(self, shape: tuple[int, ...]) -> int:
        """Images of a batch [channels, height, width] each."""
        if self.batch_size:
            return self.batch_size
        pixels = shape[-2] * shape[-1]
        most = _MOST
        if self.device == 'cpu':
            images, cached = _CACHED
            most = min(most, max(images, cached // pixels))
        return max(1, min(most, _PIXELS // pixels))


@contextmanager
def unfit_told(name: str) -> Iterator[None]:
    """What layers raise of a picture that they cannot take, as an error with the picture's name.

    Raises:
        UserError: for it.
    """
    try:
        yield
    except _UNFIT as error:
        if _is_of_machine(error):
            raise
        raise _as_user_error(name, error) from error


def _is_of_machine(error: Exception) -> bool:
    """Whether an error says something about the machine, or the size of the batch."""
    return isinstance(error, torch.OutOfMemoryError) or 'allocate memory' in str(error)


def _as_user_error(name: str, error: Exception) -> UserError:
    text = one_line(error)
    if isinstance(error, cv2.error):  # a side that is scaled to nothing; it names its source files
        text = f'cannot be predicted: too narrow for the test pipeline (OpenCV: {error.err})'
    elif not isinstance(error, UserError):
        text = f'cannot be predicted ({type(error).__name__}: {text})'
    return UserError(text if name in text else f'{name}: {text}')


def _chunks(items: Iterable[Item], most: int) -> Iterator[list[tuple[int, Item]]]:
    """Numbered pictures in lists of at most ``most``, and of few frames of a large video."""
    numbered = iter(enumerate(items))
    while chunk := list(islice(numbered, 1)):
        held = 0
        while len(chunk) < most and held < _MEMORY:
            picture = next(numbered, None)
            if picture is None:
                break
            chunk.append(picture)
            image = picture[1].image
            held += image.nbytes if isinstance(image, np.ndarray) else 0
        yield chunk


def _keep_freed_memory() -> None:
    """Let memory that one batch frees serve the next.

    glibc gives what a thread frees back to the system, up to twice the largest block that was ever
    given back; so the activations of each batch would be mapped anew, a tenth of the time of small
    networks. A block of about the most that counts, never written to, is freed once.
    """
    # of the CPU, whatever device is the default of who calls
    torch.empty(_MOST_KEPT, dtype=torch.uint8, device='cpu')


@contextmanager
def _shared_threads(lanes: int) -> Iterator[None]:
    """torch's threads, shared out among so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, before // lanes))
    try:
        yield
    finally:
        torch.set_num_threads(before)
