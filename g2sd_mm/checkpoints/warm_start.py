"""Start from a file, or go on from a checkpoint, without leaving a name out in silence."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from .convert import to_published_names
from .fitting import fitted, trained_part
from .load import Fit, load_verified
from .naming import state_for
from .positions import check_positions
from .read import read_weights

#: What a student autoencoder may start without: all that is not its encoder.
_MAY_START_RANDOM = ('mask_token', 'decoder_*')
_NOT_ITS_OWN = ('decoder_norm.*', 'decoder_pred.*', '*feature_pred.*')


def load_start(model: nn.Module, path: str | Path) -> Fit:
    """Fill the network that a run trains from any file of its kind and size (``load_from``).

    Args:
        model: a distiller, whose student is filled; an MAE pre-training model; or a task model. On
            the meta device it is only compared.
        path: a weights file. For an autoencoder an encoder suffices; a task model needs all of its
            weights (an encoder alone belongs in ``model.backbone.init_cfg``).

    Returns:
        what was loaded and what stays random.

    Raises:
        CheckpointError: if it is of another kind or size.
    """
    part = trained_part(model)
    weights = read_weights(path, mmap=True)
    if hasattr(part, 'decoder_blocks'):
        state = to_published_names(weights.state).state
        check_positions(weights, state.get('pos_embed'))
        return load_verified(
            part,
            fitted(part, state, weights),
            weights,
            purpose='start of an autoencoder',
            may_miss=_MAY_START_RANDOM,
            may_ignore=_NOT_ITS_OWN,
            advice='Give a masked autoencoder or encoder of the arch in the config.',
        )
    state = state_for(weights, part.state_dict())
    return load_verified(
        part,
        state,
        weights,
        purpose=f'start of {type(part).__name__}',
        may_ignore=('data_preprocessor.*',),
        advice='load_from needs a whole model of this config; an encoder belongs in '
        '--cfg-options model.backbone.init_cfg.checkpoint=FILE.',
    )
