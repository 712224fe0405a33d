"""What a picture may be, and its pixels: files, bytes, arrays, tensors, and pillow's images."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from stat import S_IFMT, S_IFREG
from typing import Any, TypeAlias

import cv2
import mmcv
import numpy as np
import torch
from mmengine.registry import TRANSFORMS, DefaultScope
from PIL import Image as pillow
from PIL import ImageCms, ImageOps

from ..errors import DataError, UserError
from ..image_files import UNTURNED
from ..text import one_line
from .build import BUILDING

#: A file, the bytes of one, pixels as an array or tensor, or pillow's image.
Image: TypeAlias = 'str | Path | bytes | np.ndarray | torch.Tensor | pillow.Image | OfStack'

_ROUNDING = 1e-3  # that values of 0 to 1 have beyond 1, after resizing or in half precision
_CHANNELS = (1, 2, 3, 4)  # grey, grey and alpha, RGB, RGB and alpha


class Stack:
    """Pictures of one array [N, height, width, C] or tensor [N, C, height, width].

    What their values mean is told by all of them: a dark one alone tells nothing.
    """

    def __init__(self, values: np.ndarray | torch.Tensor) -> None:
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[OfStack]:
        return (OfStack(self, i) for i in range(len(self)))

    @cached_property
    def as_bytes(self) -> list[np.ndarray]:
        """uint8 [height, width, C] of each."""
        first = isinstance(self.values, torch.Tensor)
        values = _values(self.values) if isinstance(self.values, torch.Tensor) else self.values
        return [_last(one, first) for one in as_bytes(values)]


@dataclass(frozen=True)
class OfStack:
    """A picture of a :class:`Stack`, by its number."""

    stack: Stack
    number: int


def rgb_pixels(image: Image) -> np.ndarray:
    """Any picture as uint8 [height, width, 3], RGB; what is transparent is shown as it is.

    Args:
        image: a file or its bytes; pillow's image of any mode, turned by its EXIF as the file
            would be; an array [height, width] or [height, width, C]; a tensor
            [C, height, width] or [height, width]. Arrays and tensors in the other order are taken
            where only that fits. Values: see :func:`as_bytes`.

    Raises:
        UserError: if it cannot be read, or what it means cannot be told.
    """
    if isinstance(image, (str, Path)):
        return read_image(image)
    if isinstance(image, OfStack):
        return _three(image.stack.as_bytes[image.number])
    if isinstance(image, bytes):
        return _decoded(image, 'what these bytes hold')
    if isinstance(image, pillow.Image):
        return _of_pillow(image)
    if isinstance(image, torch.Tensor):
        return _three(as_bytes(_last(_values(image), first=True)))
    return _three(as_bytes(_last(np.asarray(image), first=False)))


def as_bytes(values: np.ndarray) -> np.ndarray:
    """Values of a picture, or of several, as uint8.

    uint8 and other integers up to 255 stay; uint16, and integers beyond 255, are of 16 bits, and
    their upper eight are taken, as decoders do; bool and floats up to 1 are 0 to 1; floats up to
    255 are rounded. Floats that end between 1 and 2 could be either, and are refused.

    Raises:
        UserError: for values below 0, beyond those, NaN and infinite ones, and what is no number.
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind not in 'buif' or not values.size:
        raise UserError(f'an image has pixels that are numbers, got {_kind(values)}')
    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all():
        raise UserError(f'an image has finite values, got {_kind(values)} with NaN or infinity')
    most = 255 if values.dtype.kind == 'f' else 65535
    if low < 0 or high > most:
        raise UserError(
            f'an image has values of 0 to 1, 0 to 255, or integers up to 65535, got {_kind(values)}'
            f' from {low:g} to {high:g}: give the image before it is normalised'
        )
    if values.dtype.kind == 'f' and 1 + _ROUNDING < high < 2:  # all but black, or not clipped
        raise UserError(
            f'an image has values of 0 to 1 or 0 to 255, got {_kind(values)} up to {high:g}: '
            'clip them to 1, or give 0 to 255 as uint8'
        )
    if values.dtype.kind == 'f' or values.dtype == bool:
        scale = 255 if high < 2 else 1
        return np.rint(values.astype(np.float32).clip(max=255 / scale) * scale).astype(np.uint8)
    if values.dtype == np.uint16 or high > 255:
        values = values.astype(np.uint16) >> 8
    return values.astype(np.uint8)


class FileReader:
    """The first step of a student's test pipeline, which reads files.

    Attributes:
        step: its config, for files on this machine.
        channels: of the images.
        scope: library that its name is looked up in first; None for whatever is the default.
        bgr: whether it gives bytes in the order BGR, so that pictures in memory can be turned.
        plain: whether, besides, it reads files as :func:`read_image` does.
        flat: whether it leaves grey pixels as [height, width].
        given: whether there is no such step, as the data set gives pixels, RGB or grey.
    """

    def __init__(
        self, step: Mapping[str, Any] | None, channels: int, scope: str | None = None
    ) -> None:
        self.given = step is None
        if step is None:
            step = {'color_type': 'color' if channels == 3 else 'grayscale'}
        step = {'type': 'LoadImageFromFile', **step}
        elsewhere = ('backend_args', 'file_client_args')  # where the training images were
        self.step = {key: value for key, value in step.items() if key not in elsewhere}
        self.channels, self.scope = channels, scope
        kind = str(step['type']).rpartition('.')[2]
        colours, decoder = step.get('color_type', 'color'), step.get('imdecode_backend') or 'cv2'
        self.flat = kind.endswith('LoadImageFromFile')
        usual = channels == 3 and kind == 'LoadImageFromFile' and 'channel_order' not in step
        self.bgr = usual and colours.startswith('color') and decoder != 'tifffile'
        self.plain = self.bgr and colours == 'color' and decoder == 'cv2'

    def pixels(self, image: Image) -> np.ndarray:
        """A picture as the step gives it, [height, width, channels]; see :func:`rgb_pixels`."""
        if isinstance(image, OfStack) and not self.bgr:
            image = image.stack.values[image.number]
        in_file = isinstance(image, (str, Path, bytes))
        if self.plain and isinstance(image, (str, Path)):
            return read_image(image, 'bgr')
        if self.plain or (self.bgr and not in_file):
            return np.ascontiguousarray(rgb_pixels(image)[..., ::-1])
        pixels = self._as_in_files(image)
        if pixels.ndim != 3 or pixels.shape[2] != self.channels:
            name = image if isinstance(image, (str, Path)) else 'this array'
            raise UserError(
                f'this student takes images of {self.channels} channels, and {name} is '
                f'{list(pixels.shape)}'
            )
        return np.ascontiguousarray(pixels)

    def picture(self, image: Image) -> np.ndarray:
        """A picture to draw on, uint8 [height, width, 3], RGB where its colours are known."""
        if self.plain:
            return rgb_pixels(image)
        pixels = shown(self.pixels(image))
        return np.ascontiguousarray(pixels[..., ::-1]) if self.bgr else pixels

    def _as_in_files(self, image: Image) -> np.ndarray:
        """Values stay as they are; a file is read as the step does."""
        if isinstance(image, bytes):
            with tempfile.NamedTemporaryFile() as file:  # readers of such files take no bytes
                file.write(image)
                file.flush()
                return self._as_in_files(file.name)
        if isinstance(image, (str, Path)):
            check_image(image)
            read = self._built
            try:
                return with_channels(read({'img_path': str(image)})['img'])
            except (DataError, OSError, ValueError, AssertionError) as error:
                raise UserError(
                    f'{image} cannot be read by {type(read).__name__} of the test pipeline: {error}'
                ) from error
        if not isinstance(image, torch.Tensor):
            return with_channels(np.asarray(image))
        pixels = with_channels(_values(image))
        first = pixels.shape[:-2] == (self.channels,)  # of three axes
        return np.moveaxis(pixels, 0, -1) if first else pixels

    @cached_property
    def _built(self) -> Callable[[dict], dict]:
        with BUILDING, DefaultScope.overwrite_default_scope(self.scope):
            return TRANSFORMS.build(dict(self.step))


def _values(tensor: torch.Tensor) -> np.ndarray:
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def _kind(values: np.ndarray) -> str:
    return f'{values.dtype} {list(values.shape)}'


def _of_pillow(image: pillow.Image) -> np.ndarray:
    try:
        if image.format not in UNTURNED:
            image = ImageOps.exif_transpose(image)
        if image.mode.startswith(('I', 'F')):  # convert() would cut values off at 255
            return rgb_pixels(np.asarray(image))
        if image.mode == 'LAB':
            to = ImageCms.createProfile('sRGB')
            lab = ImageCms.createProfile('LAB')
            image = ImageCms.profileToProfile(image, lab, to, outputMode='RGB') or image
        if image.mode in ('La', 'RGBa'):  # premultiplied: convert() knows one way out
            image = image.convert('LA' if image.mode == 'La' else 'RGBA')
        return np.array(image.convert('RGB'))
    except (OSError, ValueError, SyntaxError) as error:
        raise UserError(f'pillow cannot read this image: {one_line(error)}') from error


def _last(values: np.ndarray, first: bool) -> np.ndarray:
    """[height, width, channels] of two or three axes, whose order is told by their lengths."""
    pixels = with_channels(values)
    if pixels.ndim == 3 and values.ndim == 3:
        fits_first, fits_last = (pixels.shape[axis] in _CHANNELS for axis in (0, 2))
        if fits_first and (first or not fits_last):
            pixels = np.moveaxis(pixels, 0, 2)
    if pixels.ndim != 3 or pixels.shape[2] not in _CHANNELS or not pixels.size:
        order = '[channels, height, width]' if first else '[height, width, channels]'
        raise UserError(
            f'an image is a file or pixels {order} of 1 to 4 channels, got {_kind(values)}'
        )
    return pixels


def _three(pixels: np.ndarray) -> np.ndarray:
    """RGB of one to four channels; alpha is left out, as decoders do."""
    return pixels[..., :3] if pixels.shape[2] >= 3 else pixels[..., :1].repeat(3, axis=2)


def read_image(path: str | Path, order: str = 'rgb') -> np.ndarray:
    """Pixels of a file, uint8 [height, width, 3], RGB (or ``bgr``).

    Raises:
        UserError: if it is missing or no image.
    """
    check_image(path)
    return _decoded(Path(path).read_bytes(), str(path), order)


def _decoded(content: bytes, name: str, order: str = 'rgb') -> np.ndarray:
    try:
        pixels, reason = mmcv.imfrombytes(content, channel_order=order), ''
    except (cv2.error, ValueError) as error:  # OpenCV's names its source files
        pixels, reason = None, '' if isinstance(error, cv2.error) else f': {one_line(error)}'
    if pixels is None:  # or this, where it reorders no channels
        raise UserError(f'{name} is not an image that can be read{reason}')
    return pixels


def check_image(path: str | Path) -> None:
    """Say in one line that there is no such file.

    Raises:
        UserError: if so.
    """
    if kind_of(path) != S_IFREG:
        raise UserError(f'no image file {path}')


def kind_of(path: str | Path) -> int:
    """The kind of file, as ``stat`` has it; 0 if there is none."""
    try:
        return S_IFMT(os.stat(path).st_mode)
    except (OSError, ValueError):  # ValueError: a character that no path has
        return 0


def with_channels(pixels: np.ndarray) -> np.ndarray:
    """[height, width] as [height, width, 1]; three sides as they are."""
    return pixels[..., None] if pixels.ndim == 2 else pixels


def shown(pixels: np.ndarray) -> np.ndarray:
    """A picture to draw on, uint8 [height, width, 3]: the first three channels, or one as grey.

    Values that are no bytes are stretched from the smallest to the largest.
    """
    pixels = _three(with_channels(pixels))
    if pixels.dtype != np.uint8:
        values = pixels.astype(np.float64)
        low, high = values.min(), values.max()
        pixels = ((values - low) * (255 / max(high - low, 1e-12))).astype(np.uint8)
    return np.ascontiguousarray(pixels)
