"""Full masked autoencoders, decoder included: what a teacher of stage 1 is filled from."""

from __future__ import annotations

import logging

from mmengine.logging import print_log
from torch import Tensor, nn

from .convert import in_published_names
from .fitting import fitted
from .identify import Kind, identify, raw_pixels
from .load import is_outline, load_verified
from .positions import check_positions
from .read import Weights, below, read_weights


def autoencoder_state(weights: Weights) -> dict[str, Tensor]:
    """A full autoencoder's tensors: bare, inside a run of this project, or another library's."""
    return below(weights.state, 'autoencoder.') or in_published_names(weights)


def load_teaching_autoencoder(model: nn.Module, path: str) -> None:
    """Fill a masked autoencoder that teaches, without blocks and a head that it does not have.

    Raises:
        CheckpointError: if the file is of the wrong kind or size; the message says what it is, what
            is missing, and which public file is right.
    """
    weights = read_weights(path, mmap=True)
    state = autoencoder_state(weights)
    load_verified(
        model,
        fitted(model, state, weights),
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
