"""Load, crop, resize and mirror in one go: what the start of a training pipeline does, faster."""

from __future__ import annotations

import warnings
from typing import Any

import cv2
import numpy as np
import torch
from mmengine import fileio
from mmengine.logging import print_log
from mmengine.model import ImgDataPreprocessor
from mmengine.registry import MODELS, TRANSFORMS
from torch import Tensor
from torch.nn.functional import interpolate

from ..compat.image_files import naming
from .decoding import REDUCTIONS, EncodedImage


@TRANSFORMS.register_module()
class LoadRandomResizedCrop:
    """``LoadImageFromFile``, ``RandomResizedCrop`` and ``RandomFlip`` of mmpretrain as one step.

    The crop is drawn before the image is decoded, by mmpretrain's own transform, and the flip as
    mmcv draws it: from the same state of numpy's generator come the same crop and the same flip as
    from the three steps, and what follows finds the generator in the same state.

    Pixels are those of ``backend='pillow'`` up to rounding (antialiased; computed by torch). Rows
    of a JPEG that are below the crop are not decoded. A crop that is at least twice as large as the
    output in both directions comes from a JPEG decoded at 1/2, 1/4 or 1/8, its edges rounded to
    pixels of that.

    Args:
        scale: height and width of the output in pixels, or one number for both.
        crop_ratio_range, aspect_ratio_range, max_attempts: of ``RandomResizedCrop``.
        interpolation: ``bicubic`` or ``bilinear``.
        flip_prob: probability of mirroring left and right; 0 draws nothing.
        reduce: decode JPEG at a fraction of its size where the crop is large enough.
        planes: lay the image out in memory as ``PackInputs`` wants it, see :class:`SplitPlanes`.
            For pipelines with nothing in between.
        decode: False leaves plain JPEG to
            :class:`~g2sd_mm.datasets.cropping.DecodingPreprocessor`: ``img`` is then the
            file (uint8 [bytes]) and ``crop_box`` top, left, height and width of its crop.
        backend_args: of mmengine's file backend.
    """

    def __init__(
        self,
        scale: int | tuple[int, int],
        crop_ratio_range: tuple[float, float] = (0.08, 1.0),
        aspect_ratio_range: tuple[float, float] = (3 / 4, 4 / 3),
        max_attempts: int = 10,
        interpolation: str = 'bicubic',
        flip_prob: float = 0.0,
        reduce: bool = True,
        planes: bool = False,
        decode: bool = True,
        backend_args: dict[str, Any] | None = None,
    ) -> None:
        if interpolation not in ('bicubic', 'bilinear'):
            raise ValueError(f"interpolation={interpolation!r} is neither 'bicubic' nor 'bilinear'")
        if not 0 <= flip_prob <= 1:
            raise ValueError(f'flip_prob={flip_prob} is no probability')
        self._crop = TRANSFORMS.build(
            dict(
                type='mmpretrain.RandomResizedCrop',
                scale=scale,
                crop_ratio_range=crop_ratio_range,
                aspect_ratio_range=aspect_ratio_range,
                max_attempts=max_attempts,
            )
        )
        self.interpolation = interpolation
        self.flip_prob = flip_prob
        self.reduce = reduce
        self.planes = planes
        self.decode = decode
        self.backend_args = backend_args

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add ``img`` (uint8 [height, width, 3], BGR) and its meta data to a sample's entry.

        Args:
            results: with ``img_path``.

        Raises:
            DataError: naming the file, if it cannot be read as an image.
        """
        path = results['img_path']
        with naming(path):
            image = EncodedImage(fileio.get(path, backend_args=self.backend_args))
        box = self._crop.rand_crop_params(image)  # it looks at the shape alone
        # the same single draw as np.random.choice(['horizontal', None], p=...) in mmcv's RandomFlip
        flip = bool(self.flip_prob and np.random.random_sample() < self.flip_prob)
        if self.decode or not image.reducible:
            with naming(path):
                crop = self._cut(image, box)
            planes = resize(crop, self._crop.scale, self.interpolation)
            planes = mirror(planes) if flip else planes
            # merging is several times as fast as copying the transposed array
            results['img'] = planes.transpose(1, 2, 0) if self.planes else cv2.merge([*planes])
        else:
            results['img'] = np.frombuffer(image.data, np.uint8).copy()  # to be written to
            results['crop_box'] = box
        results['ori_shape'] = image.shape
        results['img_shape'] = tuple(self._crop.scale)
        results['flip'] = flip
        results['flip_direction'] = 'horizontal' if flip else None
        return results

    def _cut(self, image: EncodedImage, box: tuple[int, int, int, int]) -> np.ndarray:
        top, left, height, width = box
        reduction = 1
        if self.reduce and image.reducible:
            reduction = reduction_of((height, width), self._crop.scale)
        pixels = image.decode(reduction, rows=top + height)
        rows, columns = (
            slice(round(start / reduction), round((start + length) / reduction))
            for start, length in ((top, height), (left, width))
        )
        return pixels[rows, columns]


def reduction_of(crop: tuple[int, int], output: tuple[int, int]) -> int:
    """The largest fraction 1 / n to decode at from which nothing needs to be enlarged.

    Args:
        crop, output: height and width in pixels.
    """
    return next(
        (n for n in REDUCTIONS if all(c >= n * o for c, o in zip(crop, output, strict=True))), 1
    )


def resize(pixels: np.ndarray, size: tuple[int, int], interpolation: str) -> np.ndarray:
    """uint8 [H, W, 3] to uint8 ``[3, *size]``, antialiased like Pillow's and on the same grid."""
    image = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None]
    resized = interpolate(image, tuple(size), mode=interpolation, antialias=True)
    return resized[0].contiguous().numpy()


def mirror(planes: np.ndarray) -> np.ndarray:
    """uint8 [3, H, W], left and right exchanged."""
    rows = planes.reshape(-1, planes.shape[-1])
    return cv2.flip(rows, 1).reshape(planes.shape)


@TRANSFORMS.register_module()
class SplitPlanes:
    """Lay ``img`` out in memory as the planes that ``PackInputs`` makes of it: ten times as fast.

    Shape [height, width, 3] and values stay, and ``PackInputs`` has nothing left to copy.
    """

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Replace ``img``."""
        image = results['img']
        planes = np.empty((image.shape[2], *image.shape[:2]), image.dtype)
        cv2.split(image, list(planes))
        results['img'] = planes.transpose(1, 2, 0)
        return results


# For runs whose processor cores cannot keep up, and whose pipeline has nothing between the flip and
# the packing (stage 1): ``configs/imagenet/g2sd_vits_generic_gpu_decode.py``.

@MODELS.register_module()
class DecodingPreprocessor(ImgDataPreprocessor):
    """``ImgDataPreprocessor`` that finishes what ``LoadRandomResizedCrop(decode=False)`` began.

    nvJPEG decodes the files of a batch, through torchvision; without a GPU, or where torchvision
    cannot, the CPU does, with a line in the log. Crops are resized and mirrored on the device.

    Args:
        scale: height and width of the images in pixels.
        interpolation: ``bicubic`` or ``bilinear``.
        kwargs: of ``ImgDataPreprocessor``.
    """

    def __init__(
        self, scale: tuple[int, int], interpolation: str = 'bicubic', **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        height, width = scale
        self.scale = height, width
        self.interpolation = interpolation
        self._gpu_can = True

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Normalised images from a batch as ``pseudo_collate`` makes it.

        Args:
            data: ``inputs``, each a file (uint8 [bytes]) or, where the worker had to decode it, an
                image (uint8 [3, height, width], BGR); ``data_samples`` with ``crop_box`` and
                ``flip`` of the files.
            training: as for ``ImgDataPreprocessor``.

        Raises:
            ValueError: for a broken file.
        """
        inputs, samples = data['inputs'], data['data_samples']
        files = [i for i, item in enumerate(inputs) if item.ndim == 1]
        images: list[Any] = [None if item.ndim == 1 else item.to(self.device) for item in inputs]
        for i, pixels in zip(files, self._decode([inputs[i] for i in files]), strict=True):
            images[i] = self._crop(pixels, samples[i].crop_box, samples[i].flip)
        return super().forward({**data, 'inputs': torch.stack(images)}, training)

    def _decode(self, files: list[Tensor]) -> list[Tensor]:
        """uint8 [3, height, width] each, BGR, on the device or, decoded by the CPU, not yet."""
        if files and self.device.type == 'cuda' and self._gpu_can:
            try:
                return [image.flip(0) for image in _by_gpu(files, self.device)]
            except (ImportError, RuntimeError) as error:
                self._gpu_can = False
                print_log(f'no decoding on the GPU, the CPU does it: {error}', logger='current')
        decoded = (EncodedImage(file.numpy().tobytes()).decode() for file in files)
        return [torch.from_numpy(pixels).permute(2, 0, 1) for pixels in decoded]

    def _crop(self, pixels: Tensor, box: tuple[int, int, int, int], flip: bool) -> Tensor:
        top, left, height, width = box
        crop = pixels[:, top : top + height, left : left + width]
        if crop.is_cuda:
            whole = interpolate(
                crop[None].float(), self.scale, mode=self.interpolation, antialias=True
            )[0]
            resized = whole.round().clamp(0, 255).byte()
        else:
            planes = resize(crop.permute(1, 2, 0).numpy(), self.scale, self.interpolation)
            resized = torch.from_numpy(planes)
        return (resized.flip(2) if flip else resized).to(self.device)


def _by_gpu(files: list[Tensor], device: torch.device) -> list[Tensor]:
    """uint8 [3, height, width] each, RGB."""
    from torchvision.io import ImageReadMode, decode_jpeg

    with warnings.catch_warnings():
        # deprecated since torchvision 0.29 for torchcodec, which is younger than the oldest torch
        # that we run on
        warnings.simplefilter('ignore')
        return decode_jpeg([file.cpu() for file in files], ImageReadMode.RGB, device)
