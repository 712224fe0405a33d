"""Look at every image whose annotations say how large it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine import fileio
from mmengine.registry import TRANSFORMS

from ..data_checks.coco import wrong_size
from ..data_layouts.converted import sizes_of
from ..errors import DataError


@TRANSFORMS.register_module()
class CheckListedSize:
    """Checks an image against the size that its annotations list.

    Boxes and masks are in pixels: of an image that was resized afterwards, or that an EXIF tag
    turns when it is read, they lie elsewhere, and training would go on without a word. It stands
    before ``LoadAnnotations``, which takes run-length masks to be of the image's size.
    """

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Pass the sample on unchanged; one without a listed size, too.

        Raises:
            DataError: naming the image, both sizes and what to do.
        """
        listed = results.get('width'), results.get('height')
        if None in listed:
            return results
        height, width = results['ori_shape'][:2]
        if listed == (width, height):
            return results
        path = str(results.get('img_path', 'image'))
        turned = _size_as_stored(path) == listed
        raise DataError(wrong_size(path, listed, (width, height), turned).line)


def _size_as_stored(path: str) -> tuple[int, int] | None:
    """Before an EXIF tag turns it; None of what is no file."""
    try:
        with fileio.get_local_path(path) as file:
            return sizes_of(Path(file))[0]
    except (OSError, DataError):
        return None
