"""Look at a folder and say how its data are laid out."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

from ..errors import DataError
from ..image_files import folders_in, is_image
from .choices import Choices
from .class_lists import ClassList, with_names
from .coco_exports import CocoExport, ImagesNowhere, has_to_be_read, with_unlisted
from .holding_out import hold_out
from .layout import Layout, Listing, Split, split_named, split_of
from .mask_folders import IMAGE_FOLDERS, MASK_FOLDERS, MaskFolder
from .mask_pixels import UnreadableMask
from .mask_values import choose_reading
from .names import names_beside
from .voc import VocFolder
from .yolo import YoloFolder

LAYOUTS = (
    'classification: {train,val}/<class>/<image>, or <class>/<image>, or images with labels.csv; '
    'detection: train*/ and val*/ with [<folder>/]instances_<train*|val*>.json, other COCO JSON, '
    'YOLO text files, or Pascal VOC XML; '
    'segmentation: {images,annotations}/{train*,val*}/ with masks as PNG of the same names, or '
    'images beside a folder masks or labels; '
    'depth: {images,depth}/{train*,val*}/ or {train,val}/{images,depth}/, 16-bit PNG or .npy'
)
#: Answer to the question ``format`` -> task, what reads it, and what it is called.
_FOREIGN: dict[str, tuple[str, Any, str]] = {
    'coco': ('det', CocoExport, 'COCO JSON'),
    'yolo': ('det', YoloFolder, 'YOLO text files'),
    'voc': ('det', VocFolder, 'Pascal VOC XML'),
    'masks': ('seg', MaskFolder, 'images with masks'),
    'list': ('cls', ClassList, 'a list of classes'),
}
#: Class folders that are called so hold all images, beside labels that are not read.
_NO_CLASSES = frozenset(('images', 'image', 'imgs', 'img', 'jpegimages', 'leftimg8bit'))


def find_layout(
    root: str | Path, choices: Choices | None = None, task: str | None = None
) -> Layout:
    """Recognise how a folder is laid out.

    Args:
        root: the folder.
        choices: what a person decided.
        task: cls, det, seg or depth: what is looked for first.

    Raises:
        DataError: if it is none of :data:`LAYOUTS`, or not there, or several, or damaged.
        UserError: if it has to be converted, and there is no room for the copy.
    """
    folder, choices = Path(root), choices or Choices()
    if not folder.is_dir():
        raise DataError(f'no folder {root}')
    asked = choices.read_as.get('format')
    if asked and asked not in (*_FOREIGN, 'folders'):
        raise DataError(
            f'--read-as format={asked}: there are {", ".join(_FOREIGN)} and folders'
        )
    for wanted in dict.fromkeys((task, None)):
        layout = _native(folder, choices, wanted) if asked in (None, 'masks', 'coco') else None
        if layout is None and asked in (None, 'folders') and _are_plain_classes(folder):
            layout = _classes(folder, choices, wanted)
        if layout := layout or _foreign(folder, choices, wanted, asked):
            return layout
    if asked:
        raise DataError(f'{folder} has nothing that --read-as format={asked} can read')
    raise DataError(f'{folder} is laid out as none of: {LAYOUTS}')


def find_trainable(
    root: str | Path, choices: Choices | None = None, task: str | None = None
) -> Layout:
    """As :func:`find_layout`, with labelled images to train on and to validate with.

    Raises:
        DataError: if there are none of the latter and no choice says where to take them.
    """
    choices = choices or Choices()
    layout = find_layout(root, choices, task)
    train, val, test = layout.training, layout.split('val'), layout.split('test')
    there = ', '.join(split.name for split in layout.splits)
    if layout.task == 'cls' and not layout.copy and choices.read_as.get('format') != 'folders':
        _refuse_other_folders(layout)
    if train is None:
        raise DataError(f'{root} has {there} and no train*; it is laid out as none of: {LAYOUTS}')
    if val is not None:
        return layout
    if test is not None and choices.read_as.get('test') == 'val':
        rest = [split for split in layout.splits if split is not test]
        return replace(layout, splits=(*rest, replace(test, name='val')))
    if choices.val_share is None:
        other = ', or --read-as test=val validates with test' if test else ''
        raise DataError(
            f'{root} has {there} and no val*: --val-share 0.2 holds out a fifth of its training '
            f'images{other}'
        )
    return hold_out(layout, train, choices)


def _native(folder: Path, choices: Choices, task: str | None) -> Layout | None:
    """What is read as it is; None where a closer look is needed."""
    if task in (None, 'det') and choices.read_as.get('format') != 'masks':
        try:
            splits = _annotated(folder)
        except DataError as error:
            if 'can both be' not in str(error) and (found := CocoExport(Listing(folder))):
                with suppress(ImagesNowhere):
                    return found.layout(choices)
            raise
        doubtful = choices.read_as.get('crowd') or any(
            has_to_be_read(split.labels, split.images) for split in splits if split.labels
        )
        if splits and doubtful:
            with suppress(ImagesNowhere):  # the checker names them
                return CocoExport(Listing(folder)).layout(choices)
        if splits:
            return with_unlisted(Layout(folder, folder, 'det', tuple(splits)))
    if task in (None, 'seg') and choices.read_as.get('format') != 'coco':
        splits = _side_by_side(folder, 'annotations')
        if splits and (layout := _plain_masks(folder, splits, choices)):
            return layout
    if task in (None, 'depth') and (splits := _side_by_side(folder, 'depth')):
        return Layout(folder, folder, 'depth', tuple(splits))
    return None


def _plain_masks(folder: Path, splits: list[Split], choices: Choices) -> Layout | None:
    """Masks of class numbers under the names of their images; None for any others."""
    listings = [Listing(Path(str(split.labels))) for split in splits]
    masks = [listing.root / path for listing in listings for path in listing.ending('.png')]
    if not any(listing.files for listing in listings):
        return Layout(folder, folder, 'seg', tuple(splits))  # nothing yet
    if not masks or {'suffix', 'folder'} & set(choices.read_as):
        return None
    stems = Listing(splits[0].images).by_stem
    endings = {i.suffix.lower() for s in splits for i in Listing(s.images).images}
    fit = {m.suffix for m in masks} == {'.png'} and any(m.stem in stems for m in masks)
    if len(endings) > 1 or not fit:
        return None
    try:
        reading = choose_reading(masks, names_beside(folder), choices, folder, True)
    except UnreadableMask:
        return Layout(folder, folder, 'seg', tuple(splits))  # the checker names the file
    if reading.rewritten:
        return None
    return Layout(folder, folder, 'seg', tuple(splits), reading.names)


def _are_plain_classes(folder: Path) -> bool:
    """Whether there is nothing but folders, so that no file has to be looked at: ImageNet."""
    places = [folder, *(f for f in folders_in(folder) if split_named(f.name))]
    files = [p for place in places for p in place.iterdir() if p.is_file() and p.name[0] != '.']
    inner = {f.name.lower() for place in places for f in folders_in(place)}
    return not files and not inner & (IMAGE_FOLDERS | MASK_FOLDERS)


def _classes(folder: Path, choices: Choices, task: str | None) -> Layout | None:
    splits = _class_folders(folder) if task in (None, 'cls') else []
    if not splits:
        return None
    return with_names(Layout(folder, folder, 'cls', tuple(splits)), choices)


def _refuse_other_folders(layout: Layout) -> None:
    """What is in the place of classes would be learnt, and well: images beside maps, two splits."""
    folders = [f for split in layout.splits if split.labelled for f in folders_in(split.images)]
    named = [folder.name.lower() for folder in folders if split_of(PurePath(folder.name))]
    parts = {'masks' if 'mask' in name else split_of(PurePath(name)) for name in named}
    other = [folder for folder in folders if folder.name.lower() in _NO_CLASSES]
    inner = {path.name.lower() for folder in folders[:1] for path in folders_in(folder)}
    if other or len(parts) > 1 or (inner & _NO_CLASSES and 'mask' in ' '.join(inner)):
        raise DataError(
            f'{(other or folders)[0]} is called as no class is: lay the folder out as one of '
            f'{LAYOUTS}; or --read-as format=folders, if it is one'
        )


def _foreign(
    folder: Path, choices: Choices, task: str | None, asked: str | None
) -> Layout | None:
    listing = Listing(folder)
    found = {}
    for name, (kind, reader, _) in _FOREIGN.items():
        if task in (None, kind) and asked in (None, name) and (made := reader(listing)):
            found[name] = made
    if not found:
        if task in (None, 'depth') and not asked and (splits := _measured_inside(folder)):
            return Layout(folder, folder, 'depth', tuple(splits))
        return _classes(folder, choices, task) if asked in (None, 'folders') else None
    readings = {name: _FOREIGN[name][2] for name in found}
    return found[choices.answer('format', readings, folder)].layout(choices)


# What is read as it is: nothing has to be converted.


def _annotated(root: Path) -> list[Split]:
    """Every ``instances_<split>.json``, beside the folders of images or in one of them.

    Raises:
        DataError: if none of them has a folder of images, or one split has two.
    """
    files: dict[str, list[Path]] = {}
    for folder in (root, *folders_in(root)):
        for file in sorted(folder.glob('instances_*.json')):
            name = file.stem.removeprefix('instances_')
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


def _measured_inside(root: Path) -> list[Split]:
    """``<split>/images`` with ``<split>/depth``, or both without splits."""
    places = {name: f for f in folders_in(root) if (name := split_named(f.name))}
    return [
        Split(name, place / 'images', place / 'depth')
        for name, place in {**places, root.name: root}.items()
        if (place / 'images').is_dir() and (place / 'depth').is_dir()
    ]


def _side_by_side(root: Path, labels: str) -> list[Split]:
    """``images/<split>`` with ``<labels>/<split>``."""
    images = folders_in(root / 'images') if (root / 'images').is_dir() else []
    pairs = [(folder, root / labels / folder.name) for folder in images]
    return [Split(folder.name, folder, beside) for folder, beside in pairs if beside.is_dir()]


def _class_folders(root: Path) -> list[Split]:
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
        if labelled or (name == 'test' and any(is_image(path.name) for path in folder.iterdir())):
            splits.append(Split(name, folder, labelled=labelled))
    return sorted(splits, key=lambda s: ('train', 'val', 'test').index(s.name))
