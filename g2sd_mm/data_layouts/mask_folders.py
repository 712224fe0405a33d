"""Images with masks in folders of people's own naming: which mask belongs to which image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePath
from typing import Any

from PIL import Image

from ..errors import DataError
from .choices import Choices
from .converted import in_splits
from .copies import copy_of, digest_of, link
from .layout import Layout, Listing, Split, split_of
from .mask_values import MaskReading, choose_reading
from .names import names_beside
from .split_lists import listed_splits

#: Folders of masks, in lower case; those of single objects are none.
MASK_FOLDERS = frozenset((
    'masks', 'mask', 'labels', 'label', 'annotations', 'annotation', 'gt', 'gtfine', 'gtcoarse',
    'segmentationclass', 'segmentation', 'segmentations', 'seg', 'segmentation_masks',
    'ground_truth', 'groundtruth', 'trimaps', 'targets', 'seg_maps',
))  # fmt: skip
#: Folders of images.
IMAGE_FOLDERS = frozenset((
    'images', 'image', 'imgs', 'img', 'jpegimages', 'leftimg8bit', 'rgb', 'input', 'inputs',
    'photos', 'pictures',
))  # fmt: skip
_OBJECTS = frozenset(('segmentationobject', 'instances', 'depth'))
_JPEG = ('.jpg', '.jpeg')  # never masks, which is said where there are no others
_ENDINGS = ('.png', '.bmp', '.tif', '.tiff', '.gif', *_JPEG)
_MARKS = '_-. '
_BESIDE = ('_mask', '-mask', '_label', '_labels', '_seg', '_gt', '.mask', '_L')


@dataclass(frozen=True)
class _Pair:
    image: PurePath
    mask: PurePath


class MaskFolder:
    """A folder with images and masks."""

    def __init__(self, listing: Listing) -> None:
        self.root, self._listing = listing.root, listing
        self._masks: dict[str, list[PurePath]] = {}
        self._images: list[PurePath] = []
        for path in listing.images:
            if folder := _folder_of_masks(path):
                if path.suffix.lower() in _ENDINGS:
                    self._masks.setdefault(folder, []).append(path)
            elif not _OBJECTS.intersection(part.lower() for part in path.parts[:-1]):
                self._images.append(path)
        if not self._masks:
            stems = {(path.parent, path.stem) for path in self._images}
            beside = [p for p in self._images if _beside(p, stems) and p.suffix.lower() == '.png']
            if beside:
                self._masks[''] = beside
                taken = set(beside)
                self._images = [path for path in self._images if path not in taken]

    def __bool__(self) -> bool:
        return bool(self._masks) and any(self._suffixes(masks) for masks in self._masks.values())

    def layout(self, choices: Choices) -> Layout:
        """``images/<split>`` and ``annotations/<split>`` with class numbers, as links and files.

        Raises:
            DataError: for masks that can be read in two ways, or not at all.
        """
        pairs, test = self._pairs(choices)
        names = names_beside(self.root)
        masks = [self.root / pair.mask for pair in pairs]
        reading = choose_reading(masks, names, choices, self.root)
        splits = dict(in_splits(self._splits(pairs), self.root))
        key = digest_of(
            self.root, [f for pair in pairs for f in (pair.image, pair.mask)] + test,
            {n: [str(pair.image) for pair in p] for n, p in splits.items()},
            reading.how, list(reading.table.items()), reading.names,
        )  # fmt: skip
        ending = Counter(pair.image.suffix.lower() for pair in pairs).most_common(1)[0][0]

        def build(folder: Path) -> dict[str, Any]:
            for split, members in splits.items():
                for pair in members:
                    name = self._name(pair.image)
                    image = folder / 'images' / split / (name + ending)
                    link(self.root / pair.image, image)
                    _write_mask(
                        self.root / pair.mask, folder / 'annotations' / split / f'{name}.png',
                        reading,
                    )  # fmt: skip
            return {'images': {split: len(members) for split, members in splits.items()}}

        copy, _, new = copy_of(self.root, f'masks-{key}', build)
        parts = [
            Split(name, copy / 'images' / name, copy / 'annotations' / name) for name in splits
        ]
        if test:
            parts.append(Split('test', self.root / test[0].parent, labelled=False))
        said = 'written' if reading.rewritten else 'linked'
        notes = [
            f'{self.root}: masks {"are" if new else "were"} {said} in {copy}, such as '
            f'{pairs[0].mask} of {pairs[0].image}',
            *reading.lines(),
        ]
        if unlisted := len(pairs) - sum(map(len, splits.values())):
            notes.append(f'{unlisted} images with a mask are in no list of a split')
        return Layout(self.root, copy, 'seg', tuple(parts), reading.names, copy, tuple(notes))

    @cached_property
    def _listed(self) -> dict[PurePath, str]:
        images = self._images
        return listed_splits(self._listing, 'Segmentation', images, frozenset(images))

    def _splits(self, pairs: Sequence[_Pair]) -> dict[str, list[_Pair]]:
        listed = self._listed
        found: dict[str, list[_Pair]] = {}
        for pair in pairs:
            split = listed.get(pair.image, '?') if listed else split_of(pair.image.parent)
            found.setdefault(split, []).append(pair)
        found.pop('?', None)  # in no list
        return found

    def _name(self, image: PurePath) -> str:
        """Of an image in a copy: its path without folders that name images or splits."""
        parts = [p for p in image.parent.parts if p.lower() not in IMAGE_FOLDERS and not split_of(
            PurePath(p) / 'x')]
        return '/'.join([*parts, image.stem])

    # Pairs ----------------------------------------------------------------------------------------

    def _pairs(self, choices: Choices) -> tuple[list[_Pair], list[PurePath]]:
        folders = {
            name: f'masks in {name or "the folders of the images"}'
            for name, masks in self._masks.items()
            if self._suffixes(masks)
        }
        masks = self._masks[choices.answer('folder', folders, self.root)]
        suffixes = self._suffixes(masks)
        readings = {
            f'{image}:{mask}' if image else mask or 'none': f'masks like {example.name}'
            for (image, mask), example in suffixes.items()
        }
        chosen = choices.answer('suffix', readings, self.root)
        ends = dict(zip(readings, suffixes, strict=True))[chosen]
        by_key: dict[Any, list[PurePath]] = {}
        for mask in masks:
            if mask.stem.endswith(ends[1]):
                by_key.setdefault(_key(mask, ends[1]), []).append(mask)
        pairs, alone = [], []
        for image in self._images:
            fits = by_key.get(_key(image, ends[0]), []) if image.stem.endswith(ends[0]) else []
            # a JPEG beside a mask is a picture of it
            fits = [mask for mask in fits if mask.suffix.lower() not in _JPEG] or fits
            if len(fits) > 1:
                raise DataError(
                    f'{self.root / image} has the masks {fits[0]} and {fits[1]}: leave one of them'
                )
            if fits:
                pairs.append(_Pair(image, fits[0]))
            else:
                alone.append(image)
        test = [image for image in alone if split_of(image.parent) == 'test']
        listed = self._listed
        lacking = [i for i in alone if (i in listed if listed else split_of(i.parent) != 'test')]
        if lacking:
            raise DataError(
                f'{self.root / lacking[0]} has no mask, as {len(lacking)} of '
                f'{len(self._images)} images: add it, or move the image away'
            )
        return pairs, test

    def _suffixes(self, masks: Sequence[PurePath]) -> dict[tuple[str, str], PurePath]:
        """Ends of image and mask names that pair at least half of the images, with an example."""
        common = _common_end([image.stem for image in self._images])
        for own in dict.fromkeys(('', *common)):
            cores = {_key(image, own) for image in self._images if image.stem.endswith(own)}
            counts: Counter[str] = Counter()
            examples: dict[str, PurePath] = {}
            for mask in masks:
                folder, stem = _key(mask, '')
                ends = [i for i, c in enumerate(stem) if c in _MARKS] + [len(stem)]
                for end in ends:
                    if (folder, stem[:end]) in cores:
                        counts[stem[end:]] += 1
                        examples.setdefault(stem[end:], mask)
            least = max(1, len(masks) // (2 * max(1, len(counts))))
            found = {
                (own, end): examples[end] for end, number in counts.items() if number >= least
            }
            if found:
                return found
        return {}


def _folder_of_masks(path: PurePath) -> str:
    return next((part for part in path.parts[:-1] if part.lower() in MASK_FOLDERS), '')


def _beside(path: PurePath, stems: set[tuple[PurePath, str]]) -> bool:
    return any(
        path.stem.endswith(end) and (path.parent, path.stem[: -len(end)]) in stems
        for end in _BESIDE
    )


def _key(path: PurePath, end: str) -> tuple[tuple[str, ...], str]:
    """Folders that image and mask share, and the name without its end."""
    shared = tuple(p for p in path.parent.parts if p.lower() not in IMAGE_FOLDERS | MASK_FOLDERS)
    return shared, path.stem[: len(path.stem) - len(end)]


def _common_end(stems: Sequence[str]) -> list[str]:
    """The end that all names share, from a mark on: ``_leftImg8bit``."""
    first = stems[0] if stems else ''
    length = next(
        (i for i in range(len(first)) if any(s[-i - 1 :] != first[-i - 1 :] for s in stems)),
        len(first),
    )
    end = first[len(first) - length :]
    starts = [i for i, character in enumerate(end) if character in _MARKS]
    return [end[i:] for i in starts]


def _write_mask(source: Path, place: Path, reading: MaskReading) -> None:
    if not reading.rewritten and source.suffix == '.png':
        link(source, place)
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.exists():
        raise DataError(f'{source} and another mask get the name {place.name}: rename one')
    Image.fromarray(reading.numbers(source)).save(place)
