"""Images, and for each a mask of the same name in another folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ..errors import DataError
from ..image_files import ENDINGS, UNREAD_ENDINGS, endings_of, files_below, is_image
from ..text import some
from .contents import problems
from .findings import Finding
from .images import Picture
from .masks import Labels, Mask, Reading, count_masks
from .source import TRAINING, Source, say_passed_over


class ImageMasks(Source):
    """``images/**/a.jpg`` with ``masks/**/a.png``.

    Args:
        images, masks: folders.
        split: name of the split.
        labels: how the masks' numbers are read.
        endings: of the images that are read, whatever their case.
        mask_ending: of the masks.
        names: of the classes; None calls them by their numbers.
        pairs: image -> mask, of a data set that lists them; None pairs all images with the masks of
            their names.
        one_size: whether images are put into batches as they are.

    Raises:
        DataError: if one of the folders is missing, or there are no images.
    """

    _stray_kind, _called = 'stray-mask', 'mask'

    def __init__(
        self,
        images: str | Path,
        masks: str | Path,
        split: str,
        labels: Labels | None = None,
        endings: Sequence[str] = ENDINGS,
        mask_ending: str = '.png',
        names: Sequence[str] | None = None,
        pairs: Mapping[str, str] | None = None,
        one_size: bool = False,
    ) -> None:
        self.split, self.place = split, str(images)
        self.labels, self.names = labels or Labels(), names
        self.one_size = one_size
        for folder in (images, masks):
            if not Path(folder).is_dir():
                raise DataError(f'no folder {folder}')
        self._passed_over: list[Path] = []
        files = sorted(files_below(images, self._passed_over))
        self._others: list[str] = []
        if pairs is None:
            pairs = {
                str(path): _mask_of(path, Path(images), Path(masks), endings, mask_ending)
                for path in files
                if is_image(path.name, endings)
            }
            self._others = [
                str(path)
                for path in files
                if is_image(path.name, (*ENDINGS, *UNREAD_ENDINGS)) and str(path) not in pairs
                and not (str(images) == str(masks) and is_image(path.name, (mask_ending,)))
            ]  # fmt: skip
        self._pairs = dict(pairs)
        if not self._pairs:
            there = endings_of(self._others)
            raise DataError(
                f'{images} has no images ({", ".join(endings)})'
                + (f'; there are {there}: set img_suffix' if there else '')
            )
        there_too = (str(path) for path in files_below(masks) if path.name.endswith(mask_ending))
        self._stray = sorted(set(there_too) - set(self._pairs.values()))

    def images(self) -> Sequence[str]:
        """The images."""
        return list(self._pairs)

    def masks(self) -> Sequence[tuple[str, Reading]]:
        """Each image's."""
        return [(mask, self.labels) for mask in self._pairs.values()]

    def structure(self) -> Iterable[Finding]:
        """Masks that belong to no image, and images that are not read."""
        yield from (Finding(self._stray_kind, path) for path in self._stray)
        yield from (Finding('other-ending', path) for path in self._others)
        yield from say_passed_over(self.place, self._passed_over)

    def compare(
        self, pictures: Mapping[str, Picture], masks: Mapping[str, Mask]
    ) -> Iterable[Finding]:
        """Sizes of images and masks, and what the masks hold together."""
        yield from self._compare_sizes(pictures, masks)
        sizes_found = {p.size: p for i in self._pairs if (p := pictures[i]).size is not None}
        if self.one_size and len(sizes_found) > 1:
            examples = [f'{w}x{h} px ({p.path})' for (w, h), p in sizes_found.items()]
            yield Finding('mixed-sizes', self.place, some(examples, 2))
        looks = [masks[path] for path in self._pairs.values()]
        readable = [look.labels for look in looks if look.labels]
        if len(readable) == len(looks):
            contents = count_masks(self.place, self.labels, self.names, readable)
            yield from problems(contents, self.split.startswith(TRAINING))

    def _compare_sizes(
        self, pictures: Mapping[str, Picture], masks: Mapping[str, Mask]
    ) -> Iterable[Finding]:
        for image, mask_path in self._pairs.items():
            picture, mask = pictures[image], masks[mask_path]
            # an image that is turned fits a mask that was drawn on it as it is shown
            if picture.size and mask.size and picture.size != mask.size:
                sizes = ' and '.join(f'{w}x{h}' for w, h in (picture.size, mask.size))
                kind = 'rotated-annotated' if picture.rotated else 'size-mismatch'
                yield Finding(kind, image, f'{sizes} px, {self._called} {mask_path}')


def _mask_of(
    image: Path, images: Path, masks: Path, endings: Sequence[str], mask_ending: str
) -> str:
    """As mmseg names it: the image's path from its folder, the configured ending replaced."""
    inside = str(image.relative_to(images))
    ending = max((e for e in endings if inside.lower().endswith(e.lower())), key=len)
    return str(masks / inside[: -len(ending)]) + mask_ending
