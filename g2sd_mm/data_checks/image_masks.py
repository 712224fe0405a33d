"""Images, and for each a mask of the same name in another folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ..errors import DataError
from .findings import Finding
from .images import ENDINGS, Picture
from .masks import Labels, Mask


class ImageMasks:
    """``images/**/a.jpg`` with ``masks/**/a.png``.

    Args:
        images, masks: folders.
        split: name of the split.
        labels: how the masks' numbers are read.
        endings: of the images that are read.
        mask_ending: of the masks.

    Raises:
        DataError: if one of the folders is missing, or there are no images.
    """

    def __init__(
        self,
        images: str | Path,
        masks: str | Path,
        split: str,
        labels: Labels | None = None,
        endings: Sequence[str] = ENDINGS,
        mask_ending: str = '.png',
    ) -> None:
        self.split, self.place = split, str(images)
        self.labels = labels or Labels()
        for folder in (images, masks):
            if not Path(folder).is_dir():
                raise DataError(f'no folder {folder}')
        self._pairs = {
            str(path): str(Path(masks, path.relative_to(images)).with_suffix('')) + mask_ending
            for path in sorted(Path(images).rglob('*'))
            if path.name.lower().endswith(tuple(endings)) and not path.is_dir()
        }
        if not self._pairs:
            raise DataError(f'{images} has no images ({", ".join(endings)})')
        there = (str(path) for path in Path(masks).rglob(f'*{mask_ending}'))
        self._stray = sorted(set(there) - set(self._pairs.values()))

    def images(self) -> Sequence[str]:
        """The images."""
        return list(self._pairs)

    def masks(self) -> Sequence[tuple[str, Labels]]:
        """Each image's."""
        return [(mask, self.labels) for mask in self._pairs.values()]

    def label(self, path: str) -> None:
        """No class: an image may show several."""
        return

    def structure(self) -> Iterable[Finding]:
        """Masks that belong to no image."""
        yield from (Finding('stray-mask', path) for path in self._stray)

    def compare(
        self, pictures: Mapping[str, Picture], masks: Mapping[str, Mask]
    ) -> Iterable[Finding]:
        """Sizes of images and masks."""
        for image, mask_path in self._pairs.items():
            picture, mask = pictures[image], masks[mask_path]
            # an image that is turned fits a mask that was drawn on it as it is shown
            if picture.size and mask.size and picture.size != mask.size:
                sizes = ' and '.join(f'{w}x{h}' for w, h in (picture.size, mask.size))
                kind = 'rotated-annotated' if picture.rotated else 'size-mismatch'
                yield Finding(kind, image, f'{sizes} px, mask {mask_path}')
