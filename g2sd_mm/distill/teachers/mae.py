"""Masked autoencoders as teachers: they see what the student sees, and answer with hidden features.

Of the decoder, what is never run is neither loaded nor checked.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from mmengine.logging import print_log
from mmengine.registry import MODELS
from torch import Tensor, nn

from ...checkpoints import CheckpointError, Kind, identify, load_verified, read_weights
from ...checkpoints.convert import in_published_names
from ...checkpoints.identify import raw_pixels
from ...checkpoints.load import is_outline
from ...checkpoints.positions import check_positions
from ...checkpoints.read import Weights, below
from ...models.mae import MaskedAutoencoder
from ...models.masking import Masking
from .protocol import Features, FrozenTeacher

_BLOCKS = 'decoder_blocks.'


@MODELS.register_module()
class MAETeacher(FrozenTeacher):
    """The teacher of stage 1, built up to the decoder block whose output is predicted.

    With a randomly initialised decoder the loss still falls to a healthy-looking value (a student
    that predicts positions alone reaches 0.025), so names are checked and not losses.

    Args:
        arch, decoder, img_size, patch_size: of the
            :class:`~g2sd_mm.models.mae.MaskedAutoencoder`.
        until: the last module that is run, ``decoder_blocks.N``; None for the last of the decoder.
        checkpoint: a *full* MAE file, decoder included.
        dtype: precision that it runs in.
        random_weights: admit a teacher without a file, for speed tests.

    Raises:
        CheckpointError: if the file is of the wrong kind or size; the message says what it is, what
            is missing, and which public file is right.
        ValueError: if ``until`` is not a block of the decoder.
    """

    sees = 'view'
    model: MaskedAutoencoder

    def __init__(
        self,
        arch: str | Mapping,
        decoder: str | Mapping,
        img_size: int = 224,
        patch_size: int | None = None,
        until: str | None = None,
        checkpoint: str | None = None,
        dtype: str = 'float32',
        random_weights: bool = False,
    ) -> None:
        model = MaskedAutoencoder(arch, decoder, img_size, patch_size, pixel_head=False)
        model.decoder_blocks = model.decoder_blocks[: _number_run(model, until)]
        if checkpoint:
            _fill(model, read_weights(checkpoint, mmap=True))
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

        Raises:
            ValueError: without a view.
        """
        if view is None:
            raise ValueError('a MAETeacher answers to a view: its student is a MaskedStudent')
        tokens = self.model.decode(self.model.encode(images, view).latent, view)
        patches = tokens[:, 1:]
        whole = view.hidden is None
        return Features(
            tokens[:, 0], patches.unflatten(1, self.model.grid_size) if whole else patches
        )


def autoencoder_state(weights: Weights) -> dict[str, Tensor]:
    """A full autoencoder's tensors: bare, inside a run of this project, or another library's."""
    return below(weights.state, 'autoencoder.') or in_published_names(weights)


def _number_run(model: MaskedAutoencoder, until: str | None) -> int:
    depth = len(model.decoder_blocks)
    blocks = [f'{_BLOCKS}{i}' for i in range(depth)]
    if until is not None and until not in blocks:
        raise ValueError(
            f"distillation.teacher.until={until!r} is not in {blocks[0]} .. {blocks[-1]}, the "
            "decoder's blocks"
        )
    return depth if until is None else 1 + blocks.index(until)


def _fill(model: MaskedAutoencoder, weights: Weights) -> None:
    state = autoencoder_state(weights)
    load_verified(
        model,
        state,
        weights,
        purpose='stage-1 teacher',
        may_ignore=('decoder_blocks.*', 'decoder_norm.*', 'decoder_pred.*'),
        advice=_advice(weights),
    )
    check_positions(weights, state['pos_embed'])
    if raw_pixels(weights) and not is_outline(model):
        print_log(
            f'{weights.name} was trained on raw pixels (a file for visualisation); the published '
            'results distil from one trained on normalised pixels (mae_pretrain_vit_base_full.pth)',
            logger='current',
            level=logging.WARNING,
        )


def _advice(weights: Weights) -> str:
    """What to do instead, by what the file is."""
    right = (
        'A stage-1 teacher needs the decoder too: use the full checkpoint (publicly '
        'mae_pretrain_vit_base_full.pth or mae_pretrain_vit_large_full.pth), or pre-train one with '
        'configs/imagenet/vitb_mae.py.'
    )
    kind = identify(weights.state)
    if kind in (Kind.MAE_FULL, Kind.MAE_RUN):
        return 'Give a file of the arch and decoder in the config, or change distillation.teacher.'
    if kind in (Kind.STAGE1_RUN, Kind.G2SD_STUDENT):
        return f'This is a student, not a teacher. {right}'
    return right
