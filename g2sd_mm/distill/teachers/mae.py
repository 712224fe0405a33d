"""Masked autoencoders as teachers: they see what the student sees, and answer with hidden features.

Of the decoder, what is never run is neither loaded nor checked.
"""

from __future__ import annotations

from typing import Any

from mmengine.registry import MODELS
from torch import Tensor, nn

from ...checkpoints import CheckpointError
from ...checkpoints.fill import fill
from ...errors import UserError
from ...models.mae import MaskedAutoencoder
from ...models.masking import Masking
from .protocol import Features, FrozenTeacher


@MODELS.register_module()
class MAETeacher(FrozenTeacher):
    """The teacher of stage 1, built up to the decoder block whose output is predicted.

    With a randomly initialised decoder the loss still falls to a healthy-looking value (a student
    that predicts positions alone reaches 0.025), so names are checked and not losses.

    Args:
        until: the last module that is run: ``decoder_blocks.N``; or ``blocks.N`` of the encoder,
            and there is no decoder then; None for the last of the decoder.
        checkpoint: a *full* MAE file, decoder included; if there is no decoder, any file with an
            encoder.
        dtype: precision that it runs in.
        random_weights: admit a teacher without a file, for speed tests.
        autoencoder: arch, decoder, img_size and patch_size of the
            :class:`~g2sd_mm.models.mae.MaskedAutoencoder`.

    Raises:
        CheckpointError: if the file is of the wrong kind or size, or none was given.
        UserError: if ``until`` is not a block of encoder or decoder.
    """

    sees = 'view'
    model: MaskedAutoencoder

    def __init__(
        self,
        until: str | None = None,
        checkpoint: str | None = None,
        dtype: str = 'float32',
        random_weights: bool = False,
        **autoencoder: Any,
    ) -> None:
        part = 'blocks' if (until or '').startswith('blocks.') else 'decoder_blocks'
        if part == 'blocks':
            autoencoder = {**autoencoder, 'decoder': None}
        model = MaskedAutoencoder(**autoencoder, pixel_head=False)
        row = getattr(model, part)
        blocks = [f'{part}.{i}' for i in range(len(row))]
        until = blocks[-1] if until is None else until
        if until not in blocks:
            raise UserError(
                f'distillation.teacher.until={until!r} is not in {blocks[0]} .. {blocks[-1]}'
            )
        setattr(model, part, row[: 1 + blocks.index(until)])
        if checkpoint:
            fill(model, checkpoint, 'stage-1 teacher')
        elif random_weights:
            model.init_weights()
        else:
            raise CheckpointError(
                'the stage-1 teacher has no checkpoint: give a full masked autoencoder, e.g. '
                '--cfg-options distillation.teacher.checkpoint=mae_pretrain_vit_base_full.pth'
            )
        super().__init__(model, dtype)
        self.source, self.width = checkpoint, model.decoder_dim

    def check_student(self, student: nn.Module) -> None:
        """Refuse a student without a view, or with another grid of patches."""
        own, theirs = self.model.num_patches, getattr(student, 'num_patches', None)
        if not hasattr(student, 'draw_view') or own != theirs:
            raise ValueError(
                'the student of a MAETeacher is a MaskedStudent, and both must cut images into '
                f'the same patches: {theirs} of {type(student).__name__} against {own}'
            )

    def answer(self, images: Tensor, view: Masking | None) -> Features:
        """Raw output of the last block that is run, without a norm: C = ``width``.

        Of an encoder's block the visible patches [B, n, C], in the view's order.

        Raises:
            ValueError: without a view.
        """
        if view is None:
            raise ValueError('a MAETeacher answers to a view: its student is a MaskedStudent')
        encoded = self.model.encode(images, view)
        if not self.model.has_decoder:
            return Features(encoded.prenorm[:, 0], encoded.prenorm[:, 1:])
        tokens = self.model.decode(encoded.latent, view)
        patches = tokens[:, 1:]
        if view.hidden is None:
            patches = patches.unflatten(1, self.model.grid_size)
        return Features(tokens[:, 0], patches)
