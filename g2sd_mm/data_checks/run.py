"""Look at all files of all sources, on several processes."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool

from .duplicates import find_duplicates
from .findings import KINDS, Finding
from .images import Picture, look_at_image
from .masks import Labels, Mask, look_at_mask
from .report import Report
from .source import Source

_CHUNK = 32  # files a process is given at once

Job = tuple[str, Labels | None]  # a mask has labels, an image has none
Progress = Callable[[int, int], None]


def check(
    sources: Sequence[Source], workers: int = 1, progress: Progress = lambda done, total: None
) -> Report:
    """Everything that is wrong with some splits of a data set.

    Args:
        sources: the splits.
        workers: processes that decode files; with 0 it is done in this one, which a file that
            crashes the decoder would end.
        progress: told how many files of how many are done, now and then.
    """
    started = time.perf_counter()
    findings = [finding for source in sources for finding in source.structure()]
    images = dict.fromkeys(path for source in sources for path in source.images())
    masks = dict.fromkeys(job for source in sources for job in source.masks())
    jobs: list[Job] = [(path, None) for path in images] + list(masks)
    looks = list(_look_at_all(jobs, workers, progress))
    findings += [finding for look in looks for finding in look.findings]
    pictures = {look.path: look for look in looks if isinstance(look, Picture)}
    seen = {look.path: look for look in looks if isinstance(look, Mask)}
    findings += [f for source in sources for f in source.compare(pictures, seen)]
    findings += find_duplicates(sources, pictures)
    order = list(KINDS)
    findings.sort(key=lambda f: (order.index(f.kind), f.path, f.detail))
    return Report(
        places=tuple(f'{source.split}: {source.place}' for source in sources),
        images=len(images),
        masks=len(masks),
        findings=tuple(dict.fromkeys(findings)),
        seconds=time.perf_counter() - started,
        workers=workers,
    )


def _look_at_all(
    jobs: Sequence[Job], workers: int, progress: Progress
) -> Iterator[Picture | Mask]:
    if not workers:
        yield from _look_at_some(jobs)
        return
    chunks = [jobs[i : i + _CHUNK] for i in range(0, len(jobs), _CHUNK)]
    # a new interpreter each: the parent may have threads that a fork would cut off
    context = multiprocessing.get_context('spawn')
    suspects: list[Job] = []
    done = 0
    with ProcessPoolExecutor(max(1, min(workers, len(chunks))), context) as pool:
        running = {pool.submit(_look_at_some, chunk): chunk for chunk in chunks}
        for future in as_completed(running):
            try:
                yield from future.result()
            except BrokenProcessPool:  # one of the files ended its process, and so all others
                suspects += running[future]
                continue
            done += len(running[future])
            progress(done, len(jobs))
    for job in suspects:
        yield _look_alone(job, context)
        done += 1
        progress(done, len(jobs))


def _look_alone(job: Job, context: multiprocessing.context.BaseContext) -> Picture | Mask:
    with ProcessPoolExecutor(1, context) as pool:
        try:
            return pool.submit(_look, job).result()
        except BrokenProcessPool:
            path, labels = job
            kind = Picture if labels is None else Mask
            return kind(path, findings=(Finding('crashes-decoder', path),))


def _look_at_some(jobs: Sequence[Job]) -> list[Picture | Mask]:
    return [_look(job) for job in jobs]


def _look(job: Job) -> Picture | Mask:
    path, labels = job
    return look_at_image(path) if labels is None else look_at_mask(path, labels)
