"""JPEG decoded on the GPU: workers hand over files and crops instead of pixels. Optional.

For runs whose processor cores cannot keep up, and whose pipeline has nothing between the flip and
the packing (stage 1): ``configs/imagenet/g2sd_vits_generic_gpu_decode.py``.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.model import ImgDataPreprocessor
from mmengine.registry import MODELS
from torch import Tensor
from torch.nn.functional import interpolate

from .cropping import resize
from .decoding import EncodedImage


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
