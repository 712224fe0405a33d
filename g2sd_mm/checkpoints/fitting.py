"""Fit a file's encoder or autoencoder to the images of a network: their size, their channels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.logging import print_log
from torch import Tensor

from ..compat.safe_load import CheckpointError
from .identify import describe
from .load import is_outline
from .read import Weights

_PROJECTION = 'patch_embed.proj.weight'


def fitted(network: Any, state: Mapping[str, Tensor], weights: Weights) -> dict[str, Tensor]:
    """``state`` as ``network.fit_state`` makes it; the log says if other channels were adapted.

    Args:
        network: a backbone or masked autoencoder of ours.
        state: its tensors, under published names.
        weights: the file that they were taken from.

    Raises:
        CheckpointError: if the positions of the file form no grid that is known.
    """
    try:
        done = network.fit_state(state, known_grid(weights.meta))
    except ValueError as error:
        raise CheckpointError(
            f'{weights.name} does not fit these images: {error}; it is {describe(weights.state)}'
        ) from error
    before, after = (part.get(_PROJECTION) for part in (state, done))
    if before is not None and after is not None and not is_outline(network):
        old, new = before.shape[1:2], after.shape[1:2]
        if old != new:
            print_log(
                f'{weights.name} was trained on images of {old[0]} channels: the kernels of its '
                f'first layer were adapted to {new[0]}',
                logger='current',
            )
    return done


def known_grid(meta: Mapping[str, Any]) -> tuple[int, int] | None:
    """The patch rows and columns that a file says its positions are laid out for, if it does."""
    text = meta.get('grid')
    sides = text.split('x') if isinstance(text, str) else ()
    if len(sides) != 2 or not all(side.isdecimal() and len(side) < 6 for side in sides):
        return None
    rows, columns = (int(side) for side in sides)
    return (rows, columns) if rows and columns else None


def trained_part(model: Any) -> Any:
    """The network that is trained: a distiller's student, pre-training's autoencoder, or itself."""
    return getattr(model, 'student', None) or getattr(model, 'autoencoder', None) or model


def grid_text(model: Any) -> str | None:
    """``rowsxcolumns`` of the patches that a model's positions are laid out for, for ``meta``."""
    part = trained_part(model)
    grid = getattr(getattr(part, 'backbone', part), 'grid_size', None)
    return f'{grid[0]}x{grid[1]}' if isinstance(grid, tuple) and len(grid) == 2 else None
