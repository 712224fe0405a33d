"""Predict pictures with a trained student, into a folder: JSON, tables, masks, drawn pictures."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mmcv
import numpy as np
from mmengine.logging import print_log

import g2sd_mm

from ..devices import usable_device
from ..errors import RunError, UserError
from ..students.batches import predictions
from ..students.load import load_student
from ..students.sources import Item, find
from ..students.student import Student, check_options
from ..students.tiles import tiling_for
from ..text import some
from ..threads import use_threads
from .prediction_files import CocoFiles, CsvFile, Earlier, JsonFile, VideoFiles

#: What can be written beside ``predictions.json``, and what is, if nothing else is asked for.
SAVED = ('csv', 'coco', 'masks', 'drawn')
USUAL = ('masks', 'drawn')


@dataclass(frozen=True)
class Report:
    """What came of it.

    images: how many were predicted.
    failed: what is wrong with the others, a line each.
    """

    images: int
    failed: tuple[str, ...]


def predict_into(
    student: Student,
    source: Any,
    out_dir: str | Path,
    *,
    save: Collection[str] = USUAL,
    threshold: float = 0.3,
    legend: bool = True,
    batch_size: int | None = None,
    tile: int | None = None,
    every: int = 1,
    progress: bool = False,
) -> Report:
    """Predict on many pictures; what cannot be read is reported, and the others are predicted.

    Args:
        student: whose predictions.
        source: see :func:`~g2sd_mm.students.sources.find`; what lies in ``out_dir`` is passed over.
        out_dir: folder to write to. ``predictions.json`` is a list with an entry a picture:
            ``image``, of a frame also ``frame`` and ``seconds``, and what
            :meth:`~g2sd_mm.students.student.Student.predict` gives, or ``error``.
        save: what else, of :data:`SAVED`: ``predictions.csv``; COCO's ``coco_results.json`` with
            ``coco_images.json``; masks as PNG (of depth also ``.npy``); drawn pictures, of a video
            a video.
        threshold: least score of a box.
        legend: beside drawn segmentations and depth.
        batch_size, tile, progress: see :meth:`~g2sd_mm.students.student.Student.predict`.
        every: of a video, each so-many-th frame.

    Raises:
        UserError: before anything is predicted, if a path leads nowhere or an option does not fit;
            if no picture at all can be read.
    """
    folder = Path(out_dir)
    if unknown := set(save).difference(SAVED):
        raise UserError(f'no {", ".join(sorted(unknown))} to save: there are {", ".join(SAVED)}')
    check_options(threshold, batch_size)
    tiling = tiling_for(student, tile)
    found = find(source, every=every, without=folder)
    coco = CocoFiles(folder, student) if 'coco' in save else None
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UserError(f'{folder} cannot be a folder: {error.strerror}; name another') from error

    def finish(number: int, item: Item, sample: Any) -> tuple[dict[str, Any], Any, Any]:
        place = folder / f'{number:04d}_{Path(item.name).stem}'
        entry = student.plain(sample, threshold)
        if 'masks' in save:
            entry.update(student.files(sample, place, threshold))
        drawn = None
        if 'drawn' in save:
            picture = student.picture(item.picture())
            drawn = student.draw(picture, sample, threshold=threshold, legend=legend)
            if item.video is None:
                mmcv.imwrite(mmcv.rgb2bgr(drawn), f'{place}.jpg')
        return entry, drawn if item.video else None, sample.ori_shape

    earlier = Earlier(folder)
    number, failed = 0, []
    with ExitStack() as stack:
        json_file = stack.enter_context(JsonFile(folder / 'predictions.json'))
        csv_file = None
        if 'csv' in save:
            csv_file = stack.enter_context(CsvFile(folder / 'predictions.csv', student.task))
        stack.callback((videos := VideoFiles(folder, every)).close)
        if coco:
            stack.enter_context(coco)
        results = predictions(
            student, found, finish, batch_size=batch_size, tiling=tiling, progress=progress
        )
        for number, (item, result) in enumerate(results, 1):
            entry: dict[str, Any] = {'image': item.name, **item.facts}
            if isinstance(result, UserError):
                failed.append(str(result))
                entry['error'] = str(result)
            else:
                told, frame, size = result
                entry.update(told)
                if coco:
                    coco.add(entry, size)
                if isinstance(frame, np.ndarray) and item.video:
                    first = item.facts.get('frame') == 0
                    videos.add(item.video, number - 1, frame, first)
            json_file.add(entry)
            if csv_file:
                csv_file.add(entry)
    if left := earlier.left():
        print_log(
            f'{folder} has files of an earlier prediction too, which are not in predictions.json: '
            f'{some(left)}',
            logger='current',
            level=logging.WARNING,
        )
    if failed and len(failed) == number:
        raise UserError(f'no picture could be predicted: {some(failed)}')
    return Report(number - len(failed), tuple(failed))


def check(report: Report, out_dir: str | Path) -> None:
    """Say that some pictures could not be predicted, after the others were.

    Raises:
        RunError: if so.
    """
    if report.failed:
        total = report.images + len(report.failed)
        raise RunError(
            f'{len(report.failed):,} of {total:,} pictures could not be predicted; the others are '
            f'in {out_dir}, and the reasons in predictions.json: {some(report.failed)}'
        )


def student_for(
    weights: str,
    config: str | None = None,
    options: dict[str, Any] | None = None,
    device: str | None = None,
) -> Student:
    """A student of a config, or of what stands beside its weights, where it is quickest."""
    g2sd_mm.register_all()
    device = usable_device(device)
    student = load_student(weights, config, options, device)
    if device == 'cpu':
        use_threads(sum(parameter.numel() for parameter in student.parameters()))
    return student


def infer(
    config: str,
    checkpoint: str,
    images: list[str],
    out_dir: str,
    options: dict[str, Any] | None = None,
    threshold: float = 0.3,
    device: str | None = None,
    legend: bool = True,
    files: bool = True,
    progress: bool = False,
) -> list[dict[str, Any]]:
    """Predict on images with the student of a config; the function behind ``tools/infer.py``.

    ``files`` are masks and maps; for the others see :func:`predict_into`.

    Returns:
        the entries of ``predictions.json``.

    Raises:
        UserError: if an image is missing, or none can be read.
        CheckpointError: if the weights do not fit the config.
        RunError: if some cannot be read, after the others were predicted.
    """
    save = USUAL if files else ('drawn',)
    find(list(images))  # a wrong path is told before the work
    student = student_for(checkpoint, config, options, device)
    report = predict_into(
        student, list(images), out_dir, save=save, threshold=threshold, legend=legend,
        progress=progress,
    )  # fmt: skip
    check(report, out_dir)
    entries: list[dict[str, Any]] = json.loads((Path(out_dir) / 'predictions.json').read_bytes())
    return entries
