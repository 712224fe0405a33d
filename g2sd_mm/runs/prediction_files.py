"""Predictions as files, written one after the other: JSON, CSV, COCO's, and drawn videos."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

import cv2
import numpy as np
from torch import nn

from ..errors import UserError
from ..students.sources import open_video
from ..students.student import Student
from ..tasks import class_name

_OURS = re.compile(r'predictions\.csv$|coco_(results|images)\.json$|\d{4,}_').match
_RATE = 25.0  # frames per second of a video that does not say


class Earlier:
    """Files of an earlier prediction in a folder, which could be taken for those of a new one.

    Args:
        folder: before anything is written to it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.before = self._written() if (folder / 'predictions.json').is_file() else {}

    def _written(self) -> dict[str, int]:
        with os.scandir(self.folder) as found:
            ours = (file for file in found if _OURS(file.name) and file.is_file())
            return {file.name: file.stat().st_mtime_ns for file in ours}

    def left(self) -> list[str]:
        """Those that have not been written again."""
        now = self._written() if self.before else {}
        return sorted(name for name, when in self.before.items() if now.get(name) == when)


class JsonFile:
    """A list with an entry a line: whole whenever it ends."""

    def __init__(self, path: Path) -> None:
        self.path, self.first = path, True

    def __enter__(self) -> JsonFile:
        self.file: TextIO = self.path.open('w', encoding='utf-8')
        self.file.write('[')
        return self

    def add(self, entry: Mapping[str, Any]) -> None:
        self.file.write(('\n' if self.first else ',\n') + json.dumps(entry))
        self.first = False

    def __exit__(self, *_: object) -> None:
        self.file.write('\n]\n')
        self.file.close()


_COLUMNS = {
    'classification': ('class', 'score'),
    'detection': ('class', 'score', 'left', 'top', 'right', 'bottom'),
    'segmentation': ('class', 'share'),
    'depth': ('nearest', 'median', 'farthest'),
}


class CsvFile:
    """A table: of classification five rows a picture, of detection one an object, of segmentation
    one a class; a picture in which nothing was found has a row too."""

    def __init__(self, path: Path, task: str) -> None:
        if task not in _COLUMNS:
            raise UserError(f'there is no table for {task}: save other than csv')
        self.path, self.columns = path, ('image', 'frame', *_COLUMNS[task], 'error')

    def __enter__(self) -> CsvFile:
        # a name that is no UTF-8 is written as in the JSON file: the table stays UTF-8
        self.file = self.path.open(
            'w', encoding='utf-8', errors='backslashreplace', newline=''
        )
        self.writer = csv.DictWriter(self.file, self.columns, restval='', extrasaction='ignore')
        self.writer.writeheader()
        return self

    def add(self, entry: Mapping[str, Any]) -> None:
        """The rows of an entry of ``predictions.json``."""
        common = {key: entry[key] for key in ('image', 'frame', 'error') if key in entry}
        for row in list(_rows(entry)) or [{}]:
            self.writer.writerow({**common, **row})

    def __exit__(self, *_: object) -> None:
        self.file.close()


def _rows(entry: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for name, score in entry.get('scores', {}).items():
        yield {'class': name, 'score': score}
    for found in entry.get('instances', ()):
        edges = zip(('left', 'top', 'right', 'bottom'), found['box'], strict=True)
        yield {'class': found['class'], 'score': found['score'], **dict(edges)}
    for name, share in entry.get('classes', {}).items():
        yield {'class': name, 'share': share}
    if 'depth' in entry:
        yield dict(entry['depth'])


class CocoFiles:
    """``coco_results.json``, for COCO's ``loadRes``, and ``coco_images.json`` with its ids.

    Images and categories count from 1, categories in the order of the classes.

    Args:
        folder: where they go.
        student: a detector.

    Raises:
        UserError: if the student is no detector.
    """

    def __init__(self, folder: Path, student: Student) -> None:
        if student.task != 'detection':
            raise UserError(f'COCO results are of detection: this is a student for {student.task}')
        self.folder = folder
        self.images: list[dict[str, Any]] = []
        names = student.classes
        # a detector whose classes nobody named
        numbers = range(len(names) or _classes_of(student))
        self.categories = {class_name(names, i): i + 1 for i in numbers}

    def __enter__(self) -> CocoFiles:
        self.results = JsonFile(self.folder / 'coco_results.json').__enter__()
        return self

    def add(self, entry: Mapping[str, Any], size: tuple[int, int]) -> None:
        """The boxes of an entry of ``predictions.json``; ``size`` is height and width."""
        name = entry['image'] + (f'#{entry["frame"]}' if 'frame' in entry else '')
        number = len(self.images) + 1
        image = {'id': number, 'file_name': name, 'height': size[0], 'width': size[1]}
        self.images.append(image)
        for found in entry['instances']:
            left, top, right, bottom = found['box']
            box = [left, top, round(right - left, 1), round(bottom - top, 1)]
            result = {
                'image_id': number,
                'category_id': self.categories[found['class']],
                'bbox': box,
                'score': found['score'],
            }
            if 'mask' in found:
                result['segmentation'] = found['mask']
            self.results.add(result)

    def __exit__(self, *_: object) -> None:
        self.results.__exit__()
        categories = [{'id': number, 'name': name} for name, number in self.categories.items()]
        content = {'images': self.images, 'categories': categories, 'annotations': []}
        (self.folder / 'coco_images.json').write_text(json.dumps(content), encoding='utf-8')


def _classes_of(student: Student) -> int:
    head = getattr(getattr(student.model, 'roi_head', student.model), 'bbox_head', None)
    last = list(head)[-1] if isinstance(head, nn.ModuleList) else head
    return int(getattr(last, 'num_classes', 0))


class VideoFiles:
    """Drawn frames of videos, each into ``<number>_<name>.mp4``, at the speed of the source."""

    def __init__(self, folder: Path, every: int) -> None:
        self.folder, self.every = folder, every
        self.writer: cv2.VideoWriter | None = None
        self.path: Path | None = None

    def add(self, video: Path, number: int, frame: np.ndarray, first: bool = False) -> None:
        """The next drawn frame of a video, RGB; ``number`` is of its picture.

        ``first``: it begins a video, which may be the one before once more.

        Raises:
            UserError: if OpenCV cannot write it.
        """
        if first or video != self.path:
            self.close()
            capture = open_video(video)
            rate = capture.get(cv2.CAP_PROP_FPS) or _RATE
            capture.release()
            target = self.folder / f'{number:04d}_{video.stem}.mp4'
            code = cv2.VideoWriter.fourcc(*'mp4v')
            size = (frame.shape[1], frame.shape[0])
            name: Any = os.fsencode(target)  # see open_video
            self.writer = cv2.VideoWriter(name, code, rate / self.every, size)
            if not self.writer.isOpened():
                raise UserError(f'OpenCV cannot write {target}: leave drawn out of --save')
            self.path = video
        assert self.writer is not None
        self.writer.write(np.ascontiguousarray(frame[..., ::-1]))

    def close(self) -> None:
        """End the video that is being written, if there is one."""
        if self.writer is not None:
            self.writer.release()
        self.writer = self.path = None
