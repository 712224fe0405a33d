"""How folders of data are laid out: one answer for the data checker and the suites."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .errors import DataError
from .image_files import folders_in

LAYOUTS = (
    'classification: {train,val}/<class>/<image>, or <class>/<image>; '
    'detection: train*/ and val*/ with [<folder>/]instances_<train*|val*>.json; '
    'segmentation: {images,annotations}/{train*,val*}/ with masks as PNG of the same names; '
    'depth: {images,depth}/{train*,val*}/ with maps as 16-bit PNG or .npy of the same names'
)
_FILE = 'instances_{}.json'


@dataclass(frozen=True)
class Split:
    """A part of a data set.

    name: of its folder.
    images: folder of its images.
    labels: annotation file, or folder of masks or depth maps; None where class folders are the
        labels.
    """

    name: str
    images: Path
    labels: Path | None = None


@dataclass(frozen=True)
class Layout:
    """A folder of data. task: cls, det, seg or depth."""

    root: Path
    task: str
    splits: tuple[Split, ...]

    def split(self, begins: str) -> Split | None:
        """The split whose name begins so, as ``train2017`` does; None without one.

        Raises:
            DataError: if there are several.
        """
        found = [split for split in self.splits if split.name.startswith(begins)]
        if len(found) > 1:
            raise DataError(
                f'{" and ".join(split.name for split in found)} in {found[0].images.parent} can '
                f'both be {begins}: leave one, for example by links to what is wanted in a folder '
                'of its own'
            )
        return found[0] if found else None


def find_layout(root: str | Path) -> Layout:
    """Recognise how a folder is laid out.

    Raises:
        DataError: if it is none of :data:`LAYOUTS`, or not there, or has two annotation files for
            one split.
    """
    folder = Path(root)
    if not folder.is_dir():
        raise DataError(f'no folder {root}')
    for task, find in _FINDERS.items():
        if splits := find(folder):
            return Layout(folder, task, tuple(splits))
    raise DataError(f'{root} is laid out as none of: {LAYOUTS}')


def _annotated(root: Path) -> list[Split]:
    """Every ``instances_<split>.json``, beside the folders of images or in one of them."""
    before, after = _FILE.split('{}')
    files: dict[str, list[Path]] = {}
    for folder in (root, *folders_in(root)):
        for file in sorted(folder.glob(_FILE.format('*'))):
            name = file.name.removeprefix(before).removesuffix(after)
            files.setdefault(name, []).append(file)
    splits = [Split(n, root / n, f[0]) for n, f in files.items() if (root / n).is_dir()]
    if files and not splits:
        name, (file, *_) = next(iter(files.items()))
        raise DataError(f'{file} has no folder of images: expected {root / name}')
    for split in splits:
        found = files[split.name]
        if len(found) > 1:
            raise DataError(
                f'{" and ".join(map(str, found))} can both be the annotations of {split.name}: '
                'move one elsewhere'
            )
    return sorted(splits, key=lambda split: split.name)


def _masked(root: Path) -> list[Split]:
    return _beside(root / 'images', root / 'annotations')


def _measured(root: Path) -> list[Split]:
    return _beside(root / 'images', root / 'depth')


def _beside(images: Path, masks: Path) -> list[Split]:
    if not images.is_dir() or not masks.is_dir():
        return []
    return [
        Split(folder.name, folder, masks / folder.name)
        for folder in folders_in(images)
        if (masks / folder.name).is_dir()
    ]


def _class_folders(root: Path) -> list[Split]:
    names = {folder.name for folder in folders_in(root)}
    if 'train' not in names:
        return [Split(root.name, root)] if names else []
    return [Split(name, root / name) for name in ('train', 'val', 'test') if name in names]


#: Task -> what finds the splits of a folder that is laid out for it; what is most particular first.
_FINDERS: dict[str, Callable[[Path], list[Split]]] = {
    'det': _annotated, 'seg': _masked, 'depth': _measured, 'cls': _class_folders,
}
