"""Images in class folders, in a list of paths and classes, or without classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..image_files import ENDINGS, UNREAD_ENDINGS, files_below, folders_in, is_image
from .contents import Contents, problems
from .findings import Finding
from .images import Picture
from .masks import Mask
from .source import TRAINING, Source, say_passed_over

#: Cuts that leave a smaller image as small as it is, and what makes each pad it.
_CROPS = {'RandomCrop': 'pad_if_needed', 'CenterCrop': 'auto_pad'}
#: Steps that look at an image, or turn it, and leave its size.
_KEEP_SIZE = ('Load', 'RandomFlip', 'Check', 'ColorJitter', 'PhotoMetric', 'Normalize')
#: Height and width in pixels.
Crop = tuple[int, int]


def crop_of_whole_image(pipeline: Sequence[Mapping[str, Any]]) -> Crop | None:
    """The crop that a pipeline takes from an image as it is in the file.

    None if it resizes or pads before, or pads what is too small.
    """
    for step in pipeline:
        name = str(step.get('type', '')).rpartition('.')[2]
        if name in _CROPS:
            size = step.get('crop_size')
            if step.get(_CROPS[name]) or step.get('padding') or step.get('crop_type'):
                return None
            height, width = (size, size) if isinstance(size, int) else tuple(size or (0, 0))
            return int(height), int(width)
        if not name.startswith(_KEEP_SIZE):
            return None
    return None


class ClassFolders(Source):
    """``root/<class>/**/<image>``, links to folders followed.

    Args:
        root: folder.
        split: name of the split.
        known: classes that training has; None asks nothing.
        labelled: False for pre-training, which reads all images below ``root``.
        endings: of the images that are read.
        crop: what the pipeline cuts out of an image as it is; None asks nothing.
    """

    def __init__(
        self,
        root: str | Path,
        split: str,
        known: Sequence[str] | None = None,
        labelled: bool = True,
        endings: Sequence[str] = ENDINGS,
        crop: Crop | None = None,
    ) -> None:
        self.root, self.split, self.labelled = Path(root), split, labelled
        self.place = str(root)
        self.known = None if known is None else frozenset(known)
        self.endings, self.crop = tuple(endings), crop
        if not self.root.is_dir():
            raise DataError(f'no image folder {root}')

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Names of the class folders."""
        return tuple(path.name for path in folders_in(self.root))

    @cached_property
    def _listing(self) -> tuple[list[Path], list[Path]]:
        passed_over: list[Path] = []
        return sorted(files_below(self.root, passed_over)), passed_over

    @property
    def _files(self) -> list[Path]:
        return self._listing[0]

    def images(self) -> Sequence[str]:
        """Files with an image's ending; below class folders, where there are classes."""
        return [str(path) for path in self._files if self._is_read(path)]

    def label(self, path: str) -> str | None:
        """The folder below ``root``."""
        return Path(path).relative_to(self.root).parts[0] if self.labelled else None

    def structure(self) -> Iterable[Finding]:
        """Empty and unknown classes, files that are passed over."""
        for path in self._files:
            if not self._is_read(path):
                yield Finding(self._kind_of_stray(path), str(path))
        yield from say_passed_over(self.root, self._listing[1])
        if not self.labelled:
            return
        filled = Counter(map(self.label, self.images()))
        for name in self.classes:
            if name not in filled:
                yield Finding('empty-class', str(self.root / name))
            if self.known is not None and name not in self.known:
                yield Finding('unknown-class', str(self.root / name))
        counts = {i: filled[name] for i, name in enumerate(self.classes)}
        contents = Contents(self.place, 'images', self.classes, counts, sum(counts.values()))
        for finding in problems(contents, self.split.startswith(TRAINING)):
            if finding.harmful:  # empty folders are named above
                yield finding

    def compare(
        self, pictures: Mapping[str, Picture], masks: Mapping[str, Mask]
    ) -> Iterable[Finding]:
        """Images that are smaller than the crop in one direction."""
        for path in self.images() if self.crop else ():
            size = pictures[path].size
            if self.crop and size and (size[1] < self.crop[0] or size[0] < self.crop[1]):
                detail = f'{size[0]}x{size[1]} px, the crop is {self.crop[1]}x{self.crop[0]}'
                yield Finding('smaller-than-crop', path, detail)

    def _is_read(self, path: Path) -> bool:
        deep = path.parent != self.root or not self.labelled
        return deep and is_image(path.name, self.endings)

    def _kind_of_stray(self, path: Path) -> str:
        if is_image(path.name, self.endings):
            return 'loose-image'
        known = is_image(path.name, (*ENDINGS, *UNREAD_ENDINGS))
        return 'unread-format' if known else 'stray-file'


class ImageList(ClassFolders):
    """A text file of lines ``path label``, paths below ``root``; ``path`` alone without labels."""

    def __init__(
        self,
        file: str | Path,
        root: str | Path,
        split: str,
        labelled: bool,
        crop: Crop | None = None,
    ) -> None:
        super().__init__(root, split, labelled=labelled, crop=crop)
        self.place = str(file)
        self._labels = dict(self._entries(file))

    def _entries(self, file: str | Path) -> Iterator[tuple[str, str | None]]:
        try:
            lines = Path(file).read_text(encoding='utf-8').splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f'{file}: cannot be read as a list of images ({error})') from error
        for number, line in enumerate(filter(str.strip, lines), start=1):
            name, label = line.strip(), None
            if self.labelled:
                name, _, label = name.rpartition(' ')
            if not name:
                raise DataError(f'{file}, line {number}: expected a path and a label')
            yield str(self.root / name), label

    def images(self) -> Sequence[str]:
        """The files of the list."""
        return list(self._labels)

    def label(self, path: str) -> str | None:
        """The number in the list."""
        return self._labels[path]

    def structure(self) -> Iterable[Finding]:
        """Labels as a whole; missing files are found when they are looked at."""
        if not self.labelled:
            return
        contents = count_labels(self.place, list(self._labels.values()))
        yield from problems(contents, self.split.startswith(TRAINING))


def count_labels(place: str, labels: Sequence[str | None]) -> Contents:
    """What a list of images holds: one class for every number or name that occurs."""
    found = Counter(labels)
    names = tuple(sorted(f'class {label}' for label in found))
    number = {name: i for i, name in enumerate(names)}
    counts = {number[f'class {label}']: times for label, times in found.items()}
    return Contents(place, 'images', names, counts, len(labels))
