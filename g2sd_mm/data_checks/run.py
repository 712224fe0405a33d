"""Look at all files of all sources, on several processes, and report what was found."""

from __future__ import annotations

import json
import multiprocessing
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..data_layouts import Choices, Layout, Split, find_layout, find_trainable
from ..data_layouts.copies import original
from ..text import printable
from .class_folders import ClassFolders
from .coco import CocoSplit
from .depth import ImageDepths
from .findings import KINDS, Finding
from .image_masks import ImageMasks
from .images import Picture, look_at_image
from .masks import Labels, Mask, Reading
from .overview import Overview, overview_of, suggestions
from .source import TRAINING, Source, find_duplicates

_CHUNK = 32  # files a process is given at once

Job = tuple[str, Reading | None]  # a mask has a reading, an image has none
Progress = Callable[[int, int], None]


def check(
    sources: Sequence[Source],
    workers: int = 1,
    progress: Progress = lambda done, total: None,
    notes: Sequence[str] = (),
) -> Report:
    """Everything that is wrong with some splits of a data set.

    Args:
        sources: the splits.
        workers: processes that decode files; with 0 it is done in this one, which a file that
            crashes the decoder would end.
        progress: told how many files of how many are done, now and then.
        notes: on how the folder is read, for the report.
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
    # a copy has links: what is to be mended are the files that they lead to
    findings = [replace(finding, path=original(finding.path)) for finding in findings]
    order = list(KINDS)
    findings.sort(key=lambda f: (order.index(f.kind), f.path, f.detail))
    return Report(
        places=tuple(f'{source.split}: {source.place}' for source in sources),
        images=len(images),
        masks=len(masks),
        findings=tuple(dict.fromkeys(findings)),
        seconds=time.perf_counter() - started,
        workers=workers,
        overviews=(overviews := tuple(overview_of(s, pictures, seen) for s in sources)),
        hints=tuple(suggestions(overviews)),
        notes=tuple(notes),
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
            path, reading = job
            kind = Picture if reading is None else Mask
            return kind(path, findings=(Finding('crashes-decoder', path),))


def _look_at_some(jobs: Sequence[Job]) -> list[Picture | Mask]:
    return [_look(job) for job in jobs]


def _look(job: Job) -> Picture | Mask:
    path, reading = job
    return look_at_image(path) if reading is None else reading.look(path)


DIGEST = 'BLAKE2b-128 of the decoded pixels'


@dataclass(frozen=True)
class Report:
    """The outcome of a check.

    places: what was looked at, ``split: folder or file``.
    images, masks: how many files.
    findings: what is wrong, the worst first.
    seconds, workers: how long it took, on how many processes.
    overviews: what is there, of each split.
    hints: what to set for such data.
    notes: how the folder is read.
    """

    places: tuple[str, ...]
    images: int
    masks: int
    findings: tuple[Finding, ...]
    seconds: float
    workers: int
    overviews: tuple[Overview, ...] = ()
    hints: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def harmful(self) -> int:
        """Number of findings that make the check fail."""
        return sum(finding.harmful for finding in self.findings)

    @property
    def rate(self) -> float:
        """Files a second."""
        return (self.images + self.masks) / max(self.seconds, 1e-9)

    def by_kind(self) -> dict[str, list[Finding]]:
        """Findings of each kind that there are any of."""
        groups: dict[str, list[Finding]] = defaultdict(list)
        for finding in self.findings:
            groups[finding.kind].append(finding)
        return dict(groups)

    def text(self, examples: int = 3) -> str:
        """Grouped, with counts, the first examples and what to do."""
        lines = [printable(f'looked at {place}') for place in self.places]
        lines += [printable(note) for note in self.notes]
        lines += ['', *(line for overview in self.overviews for line in overview.lines())]
        lines += [f'suggested: {hint}' for hint in self.hints]
        for kind, group in self.by_kind().items():
            mark = 'HARM' if KINDS[kind].harmful else 'note'
            lines += ['', f'{mark}  {len(group)}  {KINDS[kind].title}  [{kind}]']
            for finding in group[:examples]:
                said = f'{finding.path}: {finding.detail}'.removesuffix(': ')
                lines.append(f'      {printable(said)}')
            if len(group) > examples:
                lines.append(f'      and {len(group) - examples} more')
            lines.append(f'      to do: {KINDS[kind].remedy}')
        return '\n'.join([*lines, '', self.count_line()])

    def count_line(self) -> str:
        """How many files in which time, and how many findings."""
        notes = len(self.findings) - self.harmful
        files = f'{self.images} images' + (f' and {self.masks} masks' if self.masks else '')
        return (
            f'{files} in {self.seconds:.1f} s ({self.rate:.0f} files/s on {self.workers} '
            f'process(es)): {self.harmful} harmful, {notes} worth knowing'
        )

    def plain(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            'places': list(self.places),
            'images': self.images,
            'masks': self.masks,
            'notes': list(self.notes),
            'splits': [overview.plain() for overview in self.overviews],
            'suggested': list(self.hints),
            'harmful': self.harmful,
            'counts': {kind: len(group) for kind, group in self.by_kind().items()},
            'same_pixels_by': DIGEST,
            'seconds': round(self.seconds, 2),
            'files_per_second': round(self.rate, 1),
            'workers': self.workers,
            'findings': [
                {'kind': f.kind, 'harmful': f.harmful, 'path': f.path, 'detail': f.detail}
                for f in self.findings
            ],
        }

    def fix_list(self) -> str:
        """One JSON object a line for every file: what is wrong with it and what to do.

        ``{"path": ..., "problems": [...], "to_do": [...]}``, files with a harmful finding only.
        """
        files: dict[str, list[Finding]] = defaultdict(list)
        for finding in self.findings:
            if finding.harmful:
                files[finding.path].append(finding)
        return ''.join(
            json.dumps(
                {
                    'path': path,
                    'problems': [f'{f.kind}: {f.detail}'.removesuffix(': ') for f in group],
                    'to_do': list(dict.fromkeys(KINDS[f.kind].remedy for f in group)),
                }
            )
            + '\n'
            for path, group in files.items()
        )


def recognise(
    root: str | Path,
    labels: Labels | None = None,
    choices: Choices | None = None,
    notes: list[str] | None = None,
) -> list[Source]:
    """The splits of a folder.

    Args:
        root: folder laid out as one of :data:`~g2sd_mm.data_layouts.LAYOUTS`.
        labels: how masks are read.
        choices: where the folder can be read in two ways; with a share to hold out, the splits are
            those of training.
        notes: is given what was found and decided, a line each.

    Raises:
        DataError: if it is laid out as none of them, or there is no such folder.
    """
    held_out = choices is not None and choices.val_share is not None
    layout = (find_trainable if held_out else find_layout)(root, choices)
    if notes is not None:
        notes += layout.notes
    return sources_of_layout(layout, labels)


def sources_of_layout(layout: Layout, labels: Labels | None = None) -> list[Source]:
    """The splits of a folder that has been looked at."""
    known = None
    sources: list[Source] = []
    for split in layout.splits:
        if not split.labelled:
            sources.append(ClassFolders(split.images, split.name, labelled=False))
        elif split.labels is None:
            folders = ClassFolders(split.images, split.name, known)
            known = folders.classes if split.name == TRAINING else known
            sources.append(folders)
        else:
            sources.append(_annotated(split, layout, labels or Labels()))
    objects = {s.split[:3]: s for s in sources if isinstance(s, CocoSplit)}
    if {'tra', 'val'} <= set(objects) and (names := objects['val'].names()):
        # a run reads both with the categories of training
        val, trained = objects['val'], set(objects['tra'].names().values())
        used = {name for things in val.objects().values() for name, _ in things}
        kinds = {'lacking-category': trained - set(names.values()), 'unknown-class': used - trained}
        val.known += [Finding(kind, val.file, repr(n)) for kind in kinds for n in kinds[kind]]
    return sources


def _annotated(split: Split, layout: Layout, labels: Labels) -> Source:
    assert split.labels is not None
    if layout.task == 'det':
        return CocoSplit(split.labels, split.images, split.name)
    if layout.task == 'depth':
        return ImageDepths(split.images, split.labels, split.name)
    if layout.classes and labels.classes is None:
        labels = replace(labels, classes=len(layout.classes))
    return ImageMasks(
        split.images, split.labels, split.name, labels, names=layout.classes or None
    )
