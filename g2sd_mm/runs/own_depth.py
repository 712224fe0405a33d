"""Depth maps of one's own as a config reads them: what a number stands for, and their range."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..config.parts import EVALUATORS, LOADERS, innermost_dataset
from ..data_checks.depth import (
    ARRAY,
    PICTURE,
    DepthError,
    DepthReading,
    depth_numbers,
    loading_step,
    loads_depth,
)
from ..data_checks.findings import Finding
from ..errors import DataError, UserError

#: Metres: depth that all is beyond the one, or nearer than the other, is in another unit.
_LARGEST_NEAR, _SMALLEST_FAR = 300.0, 0.05


def usual_reading(ending: str) -> DepthReading:
    """Arrays are in metres, PNG in millimetres."""
    return DepthReading(1.0 if ending.lower() == ARRAY else 0.001)


def reading_in(cfg: Config, ending: str) -> DepthReading:
    """How a config's own pipeline reads maps of that ending, whatever their range.

    Its scale is that of the ending which it names; maps of the other one have the usual scale.

    Raises:
        UserError: if it has no ``LoadDepthAnnotations``, which is told scale and range.
    """
    loader = next(filter(cfg.get, LOADERS))
    dataset = innermost_dataset(cfg[loader].dataset)
    step = loading_step(dataset.get('pipeline'))
    if step is None:
        raise UserError(
            f'--data-root: the pipeline of {loader} has no LoadDepthAnnotations, which would be '
            'told the scale and the range of the maps: take it, or begin from '
            'configs/nyu/custom_depth_vits_depth.py'
        )
    usual = usual_reading(ending)
    same = str(dataset.get('depth_suffix', PICTURE)).lower() == ending.lower()
    scale = step.get('scale', 0.001) if same else usual.scale
    return DepthReading(scale, invalid=tuple(map(float, step.get('invalid', usual.invalid))))


def range_of(
    maps: Iterable[Path], reading: DepthReading, doubtful: bool = False
) -> tuple[float, float]:
    """The least and the largest depth of all maps, metres; doubtful if nobody has said the scale.

    Raises:
        DataError: for a map that cannot be read, and for depths in doubt that no camera sees.
        UserError: if there is no difference in depth.
    """
    near, far = math.inf, 0.0
    for path in maps:
        try:
            metres = reading.metres(depth_numbers(path.read_bytes(), str(path)))
        except DepthError as error:
            raise DataError(Finding(error.kind, str(path), str(error)).line) from error
        known = metres[metres > 0]
        near, far = min(near, float(known.min())), max(far, float(known.max()))
    if doubtful and not (near < _LARGEST_NEAR and far > _SMALLEST_FAR):
        raise DataError(
            f'{path}: by scale={reading.scale:g} all maps have {near:g} to {far:g} m: write PNG in '
            'millimetres or .npy in metres, or give a config its scale and depth_suffix'
        )
    if near >= far:
        raise UserError(f'depth maps that all are {far:g} m, or none: there is nothing to learn')
    return near, far


def fitted(cfg: Config, loader: str, measure: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A loader's own pipeline, with scale and range of the maps; its other steps stay."""
    steps = innermost_dataset(cfg[loader].dataset).get('pipeline') or ()
    return [{**step, **measure} if loads_depth(step) else dict(step) for step in steps]


def whole_images(cfg: Config) -> dict[str, None]:
    """Entries that take the crop of another data set (Eigen's, of NYU) out of the metrics."""
    return {f'{key}.crop_type': None for key in EVALUATORS if (cfg.get(key) or {}).get('crop_type')}
