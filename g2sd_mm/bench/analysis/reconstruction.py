"""Pictures of what a stage-1 student knows: its predictions, continued by the teacher's decoder.

The student predicts the hidden features of one of the teacher's decoder blocks. The blocks behind
it, and the teacher's pixel head, turn them into an image. No part is trained for this.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import mmcv
import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch import Tensor

from ...agreement.inputs import channel_order
from ...checkpoints import CheckpointError, read_weights
from ...checkpoints.fill import fill
from ...checkpoints.identify import raw_pixels
from ...config.parts import preprocessor_of
from ...distill import SpecificDistiller
from ...distill.config import distill_config
from ...errors import UserError
from ...models.mae import MaskedAutoencoder, patchify, pixel_loss, unpatchify
from ...models.masking import Masking, counter_noise, random_masking
from .samples import square_samples

_IMAGES = 256
_SMALL = [cv2.IMWRITE_PNG_COMPRESSION, 9]


@dataclass(frozen=True)
class Pair:
    """A stage-1 student with its teacher.

    Attributes:
        distiller: student, predictor of the tap ``tokens``, and the teacher up to the block that is
            predicted.
        teacher: the whole teacher, decoder and pixel head included.
        norm_pix: whether it predicts the pixels of each patch less their mean, over their
            deviation.
    """

    distiller: SpecificDistiller
    teacher: MaskedAutoencoder
    norm_pix: bool = True

    @property
    def target_block(self) -> int:
        """Decoder block of the teacher, counted from 1, whose output is predicted."""
        teacher: Any = self.distiller.teacher.model
        return len(teacher.decoder_blocks)

    def tokens(self, images: Tensor, view: Masking) -> tuple[Tensor, Tensor]:
        """What the student predicts of all tokens, and the teacher's own [B, 1 + L, d] each."""
        distillation = self.distiller.distillation
        with distillation.student_taps.record() as heard:
            self.distiller.student(images, view=view)
        predicted = distillation.adapters['tokens'](heard['tokens'])
        return predicted, distillation.ask_teacher(images, view=view)['tokens']


def token_scale(features: Tensor, masking: Masking) -> Tensor:
    """Mean deviation over channels of class, visible and hidden tokens, for each token: [B, T, 1].

    The student is taught features of mean 0 and deviation 1. The teacher's blocks take any mean
    (they normalise first), but add to what they are given: its size must be the teacher's. Three
    numbers for all images give it away, none of one image.

    Args:
        features: the teacher's, raw, of all tokens [B, T = 1 + L, d].
        masking: which patches were hidden.
    """
    spread = features.std(dim=-1, unbiased=False)  # [B, T]
    hidden = masking.mask.bool()
    scale = torch.empty_like(spread)
    scale[:, 0] = spread[:, 0].mean()
    for kind in (hidden, ~hidden):
        if kind.any():
            scale[:, 1:][kind] = spread[:, 1:][kind].mean()
    return scale.unsqueeze(-1)


def continued(teacher: MaskedAutoencoder, features: Tensor, block: int) -> Tensor:
    """Pixels [B, L, 3 * patch ** 2] from decoder features [B, 1 + L, d] after block ``block``."""
    for later in teacher.decoder_blocks[block:]:
        features = later(features)
    return teacher.predict_pixels(features)


def as_images(
    predicted: Tensor, images: Tensor, mask: Tensor, patch: int, norm_pix: bool
) -> Tensor:
    """Images [B, 3, side, side] of which the hidden patches are predicted, the others as they are.

    Of predictions that are normalised by patch, the mean and deviation of each patch are taken from
    the image itself: they are no part of what is predicted.

    Args:
        predicted: [B, L, 3 * patch ** 2].
        images: normalised [B, 3, side, side].
        mask: 1 = hidden [B, L].
    """
    target = patchify(images, patch)
    if norm_pix:
        mean, var = target.mean(-1, keepdim=True), target.var(-1, keepdim=True)
        predicted = predicted * (var + 1e-6).sqrt() + mean
    grid = images.shape[-2] // patch, images.shape[-1] // patch
    return unpatchify(torch.where(mask.bool().unsqueeze(-1), predicted, target), patch, grid)


@torch.no_grad()
def reconstruct(pair: Pair, images: Tensor) -> dict[str, Any]:
    """Reconstruct masked images by the teacher alone, and by the student through its decoder.

    Args:
        pair: what stage 1 left.
        images: normalised [B, 3, side, side]; image i gets the same mask in every batch.

    Returns:
        ``pictures``: ``input``, ``masked`` (hidden patches 0), ``student``, ``teacher``, [B, 3,
        side, side] each, normalised as the images; ``losses``: mean squared error over the hidden
        patches, as MAE counts it, of ``student``, ``teacher``, and ``nothing``: a prediction of 0.
    """
    student, teacher = pair.distiller.student, pair.teacher
    patch = teacher.patch_embed.patch_size
    noise = counter_noise(torch.arange(len(images)), teacher.num_patches)
    masking = random_masking(noise, student.mask_ratio).to(images.device)
    predicted, features = pair.tokens(images, masking)
    predicted = predicted * token_scale(features, masking)
    pixels = {
        'student': continued(teacher, predicted, pair.target_block),
        'teacher': continued(teacher, features, pair.target_block),
    }
    nothing = torch.zeros_like(pixels['teacher'])
    shown = {
        name: as_images(values, images, masking.mask, patch, pair.norm_pix)
        for name, values in pixels.items()
    }
    shown['masked'] = as_images(nothing, images, masking.mask, patch, norm_pix=False)
    losses = {
        name: pixel_loss(values, images, masking.mask, patch, pair.norm_pix).item()
        for name, values in {**pixels, 'nothing': nothing}.items()
    }
    return {'pictures': {'input': images, **shown}, 'losses': losses}


def load_pair(cfg: Config, checkpoint: str | Path) -> Pair:
    """Student and teacher of a stage-1 config, in eval mode on the CPU.

    Args:
        cfg: as written, or as a run wrote it down; its teacher has a checkpoint, a full masked
            autoencoder with its pixel head, and the tap ``tokens`` is what the student predicts.
        checkpoint: of the stage-1 run, with decoder and predictor: ``epoch_N.pth``.

    Raises:
        UserError: if the config is not of stage 1.
        CheckpointError: if a file lacks what is needed.
    """
    model = distill_config(cfg).model  # the config that a run wrote down has it already
    student = (model.get('student') or {}).get('type')
    if student != 'MaskedStudent' or 'tokens' not in (model.get('adapters') or {}):
        raise UserError(
            f'{cfg.filename} is no stage-1 config (a MaskedStudent, and distillation.adapters with '
            'tokens): reconstructions come from one'
        )
    kind = (model.get('teacher') or {}).get('type', 'several teachers')
    if kind != 'MAETeacher':
        raise UserError(
            f'{cfg.filename}: a {kind} draws no pixels, and reconstructions need a MAETeacher'
        )
    settings = model.teacher.to_dict()
    file = settings.pop('checkpoint', None)
    if not file:
        raise CheckpointError(
            'the stage-1 teacher has no checkpoint: '
            '--cfg-options distillation.teacher.checkpoint=FILE'
        )
    for key in ('type', 'until', 'dtype', 'random_weights'):
        settings.pop(key, None)
    teacher = MaskedAutoencoder(**settings).eval().requires_grad_(False)
    fill(teacher, file, 'teacher that draws')
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        distiller = MODELS.build(model)
    fill(distiller, checkpoint, 'stage-1 run')
    normalised = not raw_pixels(read_weights(file, mmap=True))
    return Pair(distiller.eval(), teacher, norm_pix=normalised)


def reconstruct_images(
    cfg: Config,
    checkpoint: Path,
    data: Config,
    number: int,
    folder: Path,
    device: str,
    images: int | None,
) -> dict[str, Any]:
    """Reconstruct the first, evenly taken test images; writes ``folder/<what>/<number>.png``.

    Args:
        cfg, checkpoint: of a stage-1 run, see :func:`load_pair`.
        data: config with the images.
        number: of pictures; there are not more than images.
        folder: for the pictures: ``input``, ``masked``, ``student`` and ``teacher``. Those of
            before go.
        device: where to compute.
        images: over which the losses are taken; None: 256, and one for each picture.

    Returns:
        the losses of :func:`reconstruct`, over these images or as many as there are, and how the
        pictures came about.
    """
    pair = load_pair(cfg, checkpoint)
    pair.distiller.to(device)
    pair.teacher.to(device)
    size = pair.teacher.img_size
    preprocessor: Any = pair.distiller.data_preprocessor
    mean, std = preprocessor.mean, preprocessor.std  # [3, 1, 1]
    channels = channel_order(preprocessor_of(cfg))
    asked = images or max(number, _IMAGES)
    squares = square_samples(data, asked, size, channels).images.to(device)
    found = reconstruct(pair, (squares.float() - mean) / std)
    # the same images again, of which the pictures are evenly taken
    shown = torch.linspace(0, len(squares) - 1, min(number, len(squares))).round().long()
    for what, pictures in found['pictures'].items():
        (folder / what).mkdir(parents=True, exist_ok=True)
        for file in (folder / what).glob('[0-9]*.png'):
            file.unlink()
        for i, picture in enumerate(pictures[shown.to(device)] * std + mean):
            mmcv.imwrite(_pixels(picture, channels), str(folder / what / f'{i:04d}.png'), _SMALL)
    return {
        'checkpoint': str(checkpoint),
        'images': len(squares),
        'pictures': len(shown),
        'mask_ratio': pair.distiller.student.mask_ratio,
        'target_block': pair.target_block,
        'losses': found['losses'],
    }


def _pixels(image: Tensor, channels: str | None) -> np.ndarray:
    """Values of 0 to 255 [3, side, side] -> pixels [side, side, 3], BGR.

    In their own size: a report enlarges them.
    """
    pixels = image.round().clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy()
    return np.ascontiguousarray(pixels if channels == 'BGR' else pixels[..., ::-1])
