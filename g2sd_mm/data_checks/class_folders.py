"""Images in class folders, in a list of paths and classes, or without classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from ..errors import DataError
from .findings import Finding
from .images import ENDINGS, Picture
from .masks import Labels, Mask


class ClassFolders:
    """``root/<class>/**/<image>``.

    Args:
        root: folder.
        split: name of the split.
        known: classes that training has; None asks nothing.
        labelled: False for pre-training, which reads all images below ``root``.
    """

    def __init__(
        self,
        root: str | Path,
        split: str,
        known: Sequence[str] | None = None,
        labelled: bool = True,
    ) -> None:
        self.root, self.split, self.labelled = Path(root), split, labelled
        self.place = str(root)
        self.known = None if known is None else frozenset(known)
        if not self.root.is_dir():
            raise DataError(f'no image folder {root}')

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Names of the class folders."""
        return tuple(sorted(entry.name for entry in self.root.iterdir() if entry.is_dir()))

    @cached_property
    def _files(self) -> list[Path]:
        return sorted(path for path in self.root.rglob('*') if not path.is_dir())

    def images(self) -> Sequence[str]:
        """Files with an image's ending; below class folders, where there are classes."""
        return [str(path) for path in self._files if self._is_read(path)]

    def masks(self) -> Sequence[tuple[str, Labels]]:
        """None."""
        return ()

    def label(self, path: str) -> str | None:
        """The folder below ``root``."""
        return Path(path).relative_to(self.root).parts[0] if self.labelled else None

    def structure(self) -> Iterable[Finding]:
        """Empty and unknown classes, files that are passed over."""
        yield from (Finding('stray-file', str(p)) for p in self._files if not self._is_read(p))
        if not self.labelled:
            return
        filled = Counter(map(self.label, self.images()))
        for name in self.classes:
            if name not in filled:
                yield Finding('empty-class', str(self.root / name))
            if self.known is not None and name not in self.known:
                yield Finding('unknown-class', str(self.root / name))

    def compare(
        self, pictures: Mapping[str, Picture], masks: Mapping[str, Mask]
    ) -> Iterable[Finding]:
        """Nothing: a class has no size."""
        return ()

    def _is_read(self, path: Path) -> bool:
        deep = path.parent != self.root or not self.labelled
        return deep and path.suffix.lower() in ENDINGS


class ImageList(ClassFolders):
    """A text file of lines ``path label``, paths below ``root``; ``path`` alone without labels."""

    def __init__(self, file: str | Path, root: str | Path, split: str, labelled: bool) -> None:
        super().__init__(root, split, labelled=labelled)
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
        """Nothing: missing files are found when they are looked at."""
        return ()
