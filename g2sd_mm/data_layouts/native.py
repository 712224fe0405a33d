"""Folders that are read as they are: nothing has to be converted."""

from __future__ import annotations

from pathlib import Path

from ..errors import DataError
from ..image_files import folders_in, is_image
from .layout import Split, split_named

_FILE = 'instances_{}.json'


def annotated(root: Path) -> list[Split]:
    """Every ``instances_<split>.json``, beside the folders of images or in one of them.

    Raises:
        DataError: if none of them has a folder of images, or one split has two.
    """
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


def masked(root: Path) -> list[Split]:
    """``images/<split>`` with ``annotations/<split>``."""
    return _beside(root / 'images', root / 'annotations')


def measured(root: Path) -> list[Split]:
    """``images/<split>`` with ``depth/<split>``."""
    return _beside(root / 'images', root / 'depth')


def measured_inside(root: Path) -> list[Split]:
    """``<split>/images`` with ``<split>/depth``, or both without splits."""
    places = {name: f for f in folders_in(root) if (name := split_named(f.name))}
    return [
        Split(name, place / 'images', place / 'depth')
        for name, place in {**places, root.name: root}.items()
        if (place / 'images').is_dir() and (place / 'depth').is_dir()
    ]


def _beside(images: Path, labels: Path) -> list[Split]:
    if not images.is_dir() or not labels.is_dir():
        return []
    return [
        Split(folder.name, folder, labels / folder.name)
        for folder in folders_in(images)
        if (labels / folder.name).is_dir()
    ]


def class_folders(root: Path) -> list[Split]:
    """``<split>/<class>``, or the classes alone; a test folder may have images without a class.

    Where classes are called like splits (a train among vehicles), it counts whether there are
    folders in them.
    """
    folders = folders_in(root)
    inside = {folder: folders_in(folder) for folder in folders if split_named(folder.name)}
    trained = [f for f, found in inside.items() if split_named(f.name) == 'train' and found]
    if not trained:
        plain = not any(inside.values()) and len(inside) < len(folders)
        return [Split(root.name, root)] if plain else []
    splits = []
    for folder, found in inside.items():
        name, labelled = split_named(folder.name), bool(found)
        if labelled or (name == 'test' and has_images(folder)):
            splits.append(Split(name, folder, labelled=labelled))
    return sorted(splits, key=lambda s: ('train', 'val', 'test').index(s.name))


def has_images(folder: Path) -> bool:
    """Whether images lie in the folder itself."""
    return any(is_image(path.name) for path in folder.iterdir())
