"""Take the ViT encoder out of any file that has one, under its published names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.logging import print_log
from torch import Tensor

from ..compat.safe_load import CheckpointError
from ..text import first_line
from .convert import in_published_names
from .fitting import fitted
from .identify import describe
from .load import Fit, is_outline, load_verified
from .positions import check_positions
from .read import Weights, below, read_weights

# Where an encoder may lie, the more particular first: inside a distilled detector, segmentor or
# classifier of ours, a stage-1 or MAE run, a detectron2 detector, any mm model, or bare.
_PREFIXES = ('student.backbone.', 'student.', 'autoencoder.', 'backbone.net.', 'backbone.', '')
_PARTS = (
    'cls_token',
    'pos_embed',
    'dist_token',
    'patch_embed.',
    'blocks.',
    'norm.',
    'fc_norm.',
    'rel_pos_bias.',
)


def encoder_state(weights: Weights) -> dict[str, Tensor]:
    """The encoder's tensors of a file: class, position and dist tokens, patches, blocks, norms.

    Raises:
        CheckpointError: if the file has no ViT encoder under names that are known.
    """
    published = in_published_names(weights)
    for prefix in _PREFIXES:
        state = below(published, prefix)
        if 'patch_embed.proj.weight' in state:
            return {name: tensor for name, tensor in state.items() if name.startswith(_PARTS)}
    raise CheckpointError(
        f'{weights.name} has no ViT encoder (no patch_embed.proj.weight): it is '
        f'{describe(weights.state)}'
    )


def load_encoder(
    backbone: Any,
    path: str | Path,
    *,
    may_miss: tuple[str, ...] = (),
    may_ignore: tuple[str, ...] = (),
) -> Fit:
    """Initialise a backbone from any file with an encoder of its size.

    Args:
        backbone: a :class:`~g2sd_mm.models.backbones.base.Backbone`; its ``fit_state`` resizes what
            depends on the image size.
        path: weights file.
        may_miss: names of the backbone that pre-training does not have (they stay random).
        may_ignore: encoder names that this backbone has no use for.

    Returns:
        what was loaded and what stays random.

    Raises:
        CheckpointError: if anything else is missing, unknown or of another size, or the position
            embedding is transposed.
    """
    weights = read_weights(path, mmap=True)
    state = encoder_state(weights)
    check_positions(weights, state.get('pos_embed'))
    try:
        state = fitted(backbone, state, weights)
    except (RuntimeError, IndexError) as error:
        raise CheckpointError(
            f'{weights.name} cannot serve as initialisation of {type(backbone).__name__}: it is '
            f'{describe(weights.state)}; {first_line(error)}'
        ) from error
    fit = load_verified(
        backbone,
        state,
        weights,
        purpose=f'initialisation of {type(backbone).__name__}',
        may_miss=may_miss,
        may_ignore=may_ignore,
        advice='Give the file of a model of the same arch, or change arch in the config.',
    )
    if not is_outline(backbone):
        print_log(
            f'{type(backbone).__name__}: {len(state)} tensors from {weights.name}'
            + (f'; left random: {", ".join(sorted(fit.random))}' if fit.random else ''),
            logger='current',
        )
    return fit
