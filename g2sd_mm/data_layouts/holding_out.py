"""Validation images for data that have none: a share of the training images is held out."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from ..errors import DataError
from ..image_files import files_below, is_image
from .choices import Choices
from .coco_file import read_annotations
from .converted import Content, split_in, write_split
from .copies import copy_of, digest_of, link
from .layout import Layout, Split

#: Task -> folder of a copy with what lies beside the images.
_BESIDE = {'seg': 'annotations', 'depth': 'depth'}
_AUGMENTED = re.compile(r'\.rf\.\w+')  # Roboflow's mark of one of several versions of a picture


def hold_out(layout: Layout, train: Split, choices: Choices) -> Layout:
    """Two splits in the place of one, in a copy.

    Raises:
        DataError: if a class, or the whole, would have nothing left on one of the sides.
    """
    return (_hold_out_objects if layout.task == 'det' else _hold_out_files)(layout, train, choices)


def _hold_out_objects(layout: Layout, train: Split, choices: Choices) -> Layout:
    """Two annotation files in the place of one: a share of the images is for validation.

    An image belongs to its rarest class, and of every class a share is held out.
    """
    assert train.labels is not None and choices.val_share is not None
    file, share = train.labels, choices.val_share

    def build(folder: Path) -> dict[str, Any]:
        content = read_annotations(file).content
        out = held_out(_rarest(content), share, choices.split_seed)
        for name, here in (('train', False), ('val', True)):
            images = [i for i in content['images'] if (i['file_name'] in out) is here]
            ids = {image['id'] for image in images}
            part = [a for a in content['annotations'] if a['image_id'] in ids]
            made = {**content, 'images': images, 'annotations': part}
            write_split(folder, name, made, train.images)
        return {'held out': sorted(out), 'of': len(content['images']), **choices.plain()}

    key = digest_of(file.parent, [Path(file.name)], share, choices.split_seed)
    copy, facts, _ = copy_of(layout.origin, f'split-{key}', build)
    splits = [split_in(copy, name) for name in ('train', 'val')]
    return _with_both(layout, train, copy, splits, facts)


def _hold_out_files(layout: Layout, train: Split, choices: Choices) -> Layout:
    """Links to images, of each class a share, and to their masks or depth maps where they have."""
    assert choices.val_share is not None
    root, labels, share = train.images, train.labels, choices.val_share
    images = [p.relative_to(root) for p in files_below(root) if is_image(p.name)]
    if labels is None:
        images = [image for image in images if len(image.parts) > 1]  # in the folder of a class
        groups = {image.as_posix(): image.parts[0] for image in images}
        if alone := [c for c, n in Counter(groups.values()).items() if n < 2]:
            raise DataError(
                f'{root / alone[0]} has one image, which cannot be in training and in validation: '
                'add another, or remove the class'
            )
    else:
        groups = {image.as_posix(): '' for image in images}
    above, beside = '' if labels is None else 'images', _BESIDE.get(layout.task, '')
    files = [] if labels is None else [(p, p.relative_to(labels)) for p in files_below(labels)]
    maps: dict[PurePath, list[Any]] = {}  # several of an image are refused by who reads them
    for path, inside in files:
        maps.setdefault(inside.with_suffix(''), []).append((path, inside))
    out = held_out(groups, share, choices.split_seed)

    def build(folder: Path) -> dict[str, Any]:
        for image in images:
            split = 'val' if image.as_posix() in out else 'train'
            link(root / image, folder / above / split / image)
            for path, inside in maps.get(image.with_suffix(''), ()):
                link(path, folder / beside / split / inside)
        return {'held out': sorted(out), 'of': len(images), **choices.plain()}

    known = [*images, *(path.absolute() for path, _ in files)]
    of_masks = [] if labels is None else [layout.root.name]
    key = digest_of(root, known, share, choices.split_seed, *of_masks)
    copy, facts, _ = copy_of(layout.origin, f'split-{key}', build)
    splits = [
        Split(name, copy / above / name, copy / beside / name if labels else None)
        for name in ('train', 'val')
    ]
    return _with_both(layout, train, copy, splits, facts)


def _with_both(
    layout: Layout, divided: Split, copy: Path, splits: Sequence[Split], facts: dict[str, Any]
) -> Layout:
    """The layout with both splits, and a line that says where they are written down.

    The split that was divided goes; in a folder ``test`` it may be called so.
    """
    number = len(facts['held out'])
    note = f'{number} of {facts["of"]} images are held out for validation: {copy / "copy.json"}'
    others = [split for split in layout.splits if split.name == 'test' and split != divided]
    root = layout.root if layout.task == 'det' else copy
    return replace(
        layout, root=root, splits=(*splits, *others), copy=copy, notes=(*layout.notes, note)
    )


def _rarest(content: Content) -> dict[str, str]:
    """File name -> the class of the image's objects that has the fewest, or nothing."""
    counts = Counter(annotation['category_id'] for annotation in content['annotations'])
    names = {image['id']: image['file_name'] for image in content['images']}
    rarest: dict[str, Any] = dict.fromkeys(names.values())
    used = [(a['category_id'], a['image_id']) for a in content['annotations']]
    for category, image in sorted(used, key=lambda u: (counts[u[0]], str(u[0])), reverse=True):
        if image in names:
            rarest[names[image]] = category  # the last one is the rarest
    return {name: repr(category) for name, category in rarest.items()}


def _in_hash_order(names: Iterable[str], seed: int) -> list[str]:
    """Names in an order that depends on each and the seed alone: more of them shuffle nothing."""

    def key(name: str) -> bytes:
        return hashlib.blake2b(os.fsencode(f'{seed} {name}'), digest_size=8).digest()

    return sorted(names, key=key)


def held_out(groups: dict[str, str], share: float, seed: int) -> set[str]:
    """Names that are held out for validation, a share of every group; of a picture all versions.

    Args:
        groups: name -> its class, or whatever the parts should agree in.
        share: of each group; at least one of those that have two.
        seed: of which ones.

    Raises:
        DataError: if nothing would be left on one of the sides.
    """
    versions: dict[str, list[str]] = {}
    for name in groups:
        versions.setdefault(_AUGMENTED.sub('', name), []).append(name)
    members: dict[str, list[str]] = {}
    for picture in _in_hash_order(versions, seed):
        members.setdefault(groups[versions[picture][0]], []).append(picture)
    out: set[str] = set()
    for names in members.values():
        number = int(np.floor(share * len(names) + 0.5))
        out |= set(names[: min(max(number, 1), len(names) - 1)])
    if not out:
        raise DataError(f'{len(groups)} images, of which none can be held out: every group has one')
    return {name for picture in out for name in versions[picture]}
