"""What is to be predicted: files, folders, globs, videos, pictures in memory, and lists of them."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from stat import S_IFDIR, S_IFREG
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image as pillow

from ..errors import UserError
from ..image_files import ENDINGS, files_below, is_image
from .images import Image, Stack, check_image, kind_of

#: Endings of the videos that are taken from folders, whatever their case.
VIDEOS = (
    '.mp4', '.avi', '.mov', '.mkv', '.webm', '.m4v', '.mpg', '.mpeg', '.wmv', '.ogv', '.mjpg',
)  # fmt: skip
#: Of the frames that a video says it has, as many can be read of a whole one; counts are rough.
_WHOLE = 0.9


@dataclass(frozen=True)
class Item:
    """One picture to predict.

    name: a path, or ``image 3`` of pictures in memory.
    image: the picture, or what is wrong with it.
    video: the file that it is a frame of.
    facts: of a frame: ``frame``, from 0, and ``seconds``, from the start.
    """

    name: str
    image: Image | UserError
    video: Path | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    def picture(self) -> Image:
        """The picture.

        Raises:
            UserError: if there is none.
        """
        if isinstance(self.image, UserError):
            raise self.image
        return self.image


@dataclass(frozen=True)
class Source:
    """Pictures to predict, one after the other.

    items: can be iterated once where the source can.
    total: how many, as far as it is known before.
    single: one picture was given, and no list, folder or video.
    """

    items: Iterable[Item]
    total: int | None
    single: bool = False


def find(source: Any, *, every: int = 1, without: Path | None = None) -> Source:
    """The pictures that are meant.

    Args:
        source: a picture (:data:`~g2sd_mm.students.images.Image`, or an open file), a folder (with
            all below it), a glob, a video, arrays [N, height, width, C] or tensors
            [N, C, height, width], or a list or iterator of any of them.
        every: of a video, each so-many-th frame, beginning with the first.
        without: a folder whose files are passed over, where results go.

    Raises:
        UserError: if a path leads nowhere, or to no picture.
    """
    if every < 1:
        raise UserError(f'every is {every}: give 1 for each frame of a video, 2 for every other')
    if isinstance(source, (list, tuple)):
        found = [_one(part, f'image {i}', every, without) for i, part in enumerate(source)]
        totals = [part.total for part in found]
        total = None if None in totals else sum(t or 0 for t in totals)
        return Source(chain.from_iterable(part.items for part in found), total)
    if isinstance(source, Iterator) and not _is_open(source):  # a file would give its lines
        parts = (_one(part, f'image {i}', every, without) for i, part in enumerate(source))
        return Source((item for part in parts for item in part.items), None)
    return _one(source, 'image 0', every, without)


def _one(source: Any, name: str, every: int, without: Path | None) -> Source:
    if isinstance(source, (str, Path)):
        return _at(str(source), every, without)
    if isinstance(source, pillow.Image):
        return Source([Item(getattr(source, 'filename', '') or name, source)], 1, True)
    if _is_open(source):
        name, source = str(getattr(source, 'name', name)), source.read()
        if isinstance(source, str):
            raise UserError(f'{name} is open as text: open it with mode "rb", or give its path')
    if isinstance(source, (bytes, bytearray, memoryview)):
        return Source([Item(name, bytes(source))], 1, True)
    if isinstance(source, (np.ndarray, torch.Tensor)):
        if source.ndim != 4:
            return Source([Item(name, source)], 1, True)
        stack = Stack(source)
        return Source([Item(f'{name}, {i}', one) for i, one in enumerate(stack)], len(stack))
    raise UserError(
        f'no picture: a {type(source).__name__}; give a file, folder, glob, bytes, array, tensor, '
        'pillow image, or a list of them'
    )


def _is_open(source: Any) -> bool:
    """Whether it is an open file, or what stands for one: ``BytesIO``, an upload."""
    return callable(getattr(source, 'read', None))


def _at(text: str, every: int, without: Path | None) -> Source:
    if '://' in text:
        raise UserError(f'{text} is an address: download it, and give the file')
    place = os.path.expanduser(text)
    kind = kind_of(place)
    if kind == S_IFREG and not place.lower().endswith(VIDEOS):
        return Source([Item(text, place)], 1, True)
    path = Path(place)
    if kind == S_IFDIR:
        return _files(files_below(path), f'in {text}', every, without)
    if kind == S_IFREG:
        return _files([path], text, every)
    if not glob.has_magic(text):
        check_image(path)
    found = sorted(map(Path, glob.glob(str(path), recursive=True)))
    return _files(filter(Path.is_file, found), f'fits {text}', every, without)


def _files(
    found: Iterable[Path], where: str, every: int, without: Path | None = None
) -> Source:
    files = [path for path in found if is_image(path.name, ENDINGS + VIDEOS)]
    if without is not None:
        place = without.resolve()
        files = [file for file in files if place not in file.resolve().parents]
    if not files:
        raise UserError(
            f'no picture {where}: there are files of the endings {" ".join(ENDINGS + VIDEOS)} '
            'wanted, in any case'
        )
    videos = [path for path in files if _is_video(path)]
    total = len(files) - len(videos) + sum(_frames(path, every) for path in videos)

    def items() -> Iterator[Item]:
        for path in files:
            if _is_video(path):
                yield from _frames_of(path, every)
            else:
                yield Item(str(path), path)

    return Source(items(), total)


def _is_video(path: Path) -> bool:
    return is_image(path.name, VIDEOS)


def open_video(path: Path) -> cv2.VideoCapture:
    """A video; as bytes, since OpenCV crashes at a name that is no UTF-8."""
    name: Any = os.fsencode(path)
    return cv2.VideoCapture(name)


def _frames(path: Path, every: int) -> int:
    """How many frames a video says that it has, of those that are wanted; 1 of what is none."""
    capture = open_video(path)
    said = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 0
    capture.release()
    return max(1, -(-said // every))


def _frames_of(path: Path, every: int) -> Iterator[Item]:
    """RGB frames, and at the end what is wrong, if the video ends before it should."""
    capture = open_video(path)
    said, rate = (capture.get(p) for p in (cv2.CAP_PROP_FRAME_COUNT, cv2.CAP_PROP_FPS))
    number = 0
    try:
        while capture.grab():
            if number % every == 0:
                good, frame = capture.retrieve()
                if not good:
                    break
                facts: dict[str, Any] = {'frame': number}
                # as the video says: phones record frames of unequal length
                seconds = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
                if seconds <= 0 and rate > 0:  # it says nothing
                    seconds = number / rate
                if seconds > 0 or number == 0:
                    facts['seconds'] = round(seconds, 3)
                yield Item(str(path), np.ascontiguousarray(frame[..., ::-1]), path, facts)
            number += 1
    finally:
        capture.release()
    if number < max(1, _WHOLE * said):
        told = f'{number} of {said:.0f} frames' if said > 0 else 'no frame'
        yield Item(str(path), UserError(f'{path}: {told} of this video can be read'), path)
