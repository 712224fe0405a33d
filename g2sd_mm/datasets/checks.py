"""Steps of a pipeline that look at a sample before it can do harm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
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


@TRANSFORMS.register_module()
class CheckMasks:
    """Checks a loaded mask against its image and the classes; stands after ``LoadAnnotations``.

    Without it a mask of another size is cropped out of step with its image without a word, and a
    label without a class stops the loss with an index that names no file (on a GPU, with an error
    after which the process is unusable).

    Args:
        num_classes: classes that the head has.
        ignore_index: label of pixels that do not count. A mask of nothing else is fine: its
            sample gives a loss of 0.
    """

    def __init__(self, num_classes: int, ignore_index: int = 255) -> None:
        self.num_classes, self.ignore_index = num_classes, ignore_index

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Pass the sample on unchanged.

        Raises:
            DataError: naming the mask's file and what is wrong with it.
        """
        mask, path = results.get('gt_seg_map'), results.get('seg_map_path', 'mask')
        if mask is None:  # mmseg's inference takes the loading of masks out of the pipeline
            return results
        size = tuple(results['ori_shape'][:2])
        if mask.ndim != 2:
            raise DataError(
                f'{path}: a mask has one number per pixel, this file has shape {mask.shape}; '
                'convert colours to class numbers'
            )
        if mask.shape != size:
            raise DataError(
                f'{path}: the mask is {_pixels(mask.shape)} and its image '
                f'{results.get("img_path", "")} {_pixels(size)}'
            )
        found = np.flatnonzero(np.bincount(mask.ravel(), minlength=256))
        strange = [int(i) for i in found if i >= self.num_classes and i != self.ignore_index]
        if strange:
            hint = ', after 1 was subtracted' if results.get('reduce_zero_label') else ''
            raise DataError(
                f'{path}: labels {strange[:5]}{hint}, but there are {self.num_classes} classes '
                f'(0 to {self.num_classes - 1}) and {self.ignore_index} for ignored pixels'
            )
        return results


def _pixels(shape: tuple[int, ...]) -> str:
    return f'{shape[1]}x{shape[0]} px'
