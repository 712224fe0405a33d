"""Images with depth maps: the data set, the reading of a map, and the metric."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine import fileio
from mmengine.logging import print_log
from mmengine.registry import TRANSFORMS
from mmseg.datasets import BaseSegDataset
from mmseg.evaluation.metrics import DepthMetric as Original
from mmseg.registry import DATASETS, METRICS
from torch import Tensor

from ..compat.image_files import naming
from ..data_checks.depth import (
    DepthError,
    DepthReading,
    ImageDepths,
    depth_numbers,
    loading_step,
)
from ..data_checks.findings import Finding
from ..errors import ConfigError, DataError
from ..image_files import spread

_LOOKS = 20  # maps of which one has to be there


@DATASETS.register_module()
class DepthDataset(BaseSegDataset):
    """Images and, of the same names in another folder, depth maps.

    mmseg's ``NYUDataset`` reads a room out of each name, and fails for names without a number.

    Args:
        depth_suffix: ending of the maps, ``.png`` or ``.npy``.
        data_prefix: folders ``img_path`` and ``depth_map_path``, below ``data_root``.
        options: of ``BaseSegDataset``; ``img_suffix`` is the ending of the images.

    Raises:
        DataError: if none of the images has a map.
        ConfigError: if a step of ``pipeline`` would write depth that nobody measured.
    """

    def __init__(
        self,
        depth_suffix: str = '.png',
        data_prefix: Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:
        self.depth_suffix = depth_suffix
        _check_steps(options.get('pipeline') or ())
        prefix = data_prefix or dict(img_path='images', depth_map_path='depth')
        super().__init__(data_prefix=dict(prefix), **options)

    def load_data_list(self) -> list[dict]:
        """``img_path`` and ``depth_map_path`` of every sample."""
        entries = super().load_data_list()
        images, maps = self.data_prefix['img_path'], self.data_prefix.get('depth_map_path')
        if maps is None:
            return entries
        for entry in entries:
            inside = entry['img_path'][len(images) :].lstrip('/')
            name = inside[: -len(self.img_suffix)] + self.depth_suffix
            entry['depth_map_path'] = fileio.join_path(maps, name)
        paths = [entry['depth_map_path'] for entry in entries]
        if not any(map(fileio.exists, spread(paths, _LOOKS)[:_LOOKS])):
            raise DataError(
                f'{maps} has no depth map of the {len(paths)} images: the first would be '
                f'{paths[0]}; mend data_prefix.depth_map_path, or set depth_suffix'
            )
        return entries

    def source(self, split: str, dataset: Mapping[str, Any]) -> ImageDepths:
        """What ``tools/check_data.py`` looks at; ``dataset`` is this one's config."""
        listed = self.load_data_list()
        return ImageDepths(
            self.data_prefix['img_path'],
            self.data_prefix['depth_map_path'],
            split,
            _reading_of(dataset),
            (self.img_suffix,),
            self.depth_suffix,
            pairs={entry['img_path']: entry['depth_map_path'] for entry in listed},
        )


def _check_steps(pipeline: Sequence[Any]) -> None:
    for step in pipeline:
        kind = str(step.get('type')).rpartition('.')[2] if isinstance(step, Mapping) else ''
        filled = step.get('seg_pad_val', 255) if kind == 'RandomRotate' else 0
        if filled:
            raise ConfigError(
                f'pipeline: RandomRotate fills the corners of depth maps with seg_pad_val={filled}'
                f', which would count as {filled} m: set seg_pad_val=0, which is not known'
            )


def _reading_of(dataset: Mapping[str, Any]) -> DepthReading:
    """As the pipeline of a data set's config reads maps."""
    if (step := loading_step(dataset.get('pipeline'))) is None:
        return DepthReading()
    options = {key: value for key, value in step.items() if key != 'type'}
    return LoadDepthAnnotations(**options).reading


@TRANSFORMS.register_module()
class LoadDepthAnnotations:
    """Reads ``depth_map_path`` as ``gt_depth_map``: float32 [height, width], metres.

    0 stands for pixels whose depth is not known: those of the file's ``invalid`` numbers, and
    those out of range.

    Args:
        scale: metres that a number 1 of the file stands for: 0.001 for millimetres, 1 for arrays in
            metres.
        min_depth, max_depth: metres; what lies outside counts neither in training nor in
            evaluation.
        invalid: numbers that stand for pixels without depth; 0 always does. NaN is written 'nan',
            so that a config which is written down can be read again.

    Raises:
        ConfigError: for a range or scale that there cannot be, or what is no number in ``invalid``.
    """

    def __init__(
        self,
        scale: float = 0.001,
        min_depth: float = 0.001,
        max_depth: float = 10.0,
        invalid: Sequence[float | str] = (0,),
    ) -> None:
        if not 0 < scale < math.inf:
            raise ConfigError(f'LoadDepthAnnotations.scale={scale!r}: metres a number, more than 0')
        if not 0 <= min_depth < max_depth:
            raise ConfigError(
                f'LoadDepthAnnotations.min_depth={min_depth!r}, max_depth={max_depth!r}: the '
                'first has to be below the second'
            )
        try:
            numbers = tuple(map(float, invalid))
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"LoadDepthAnnotations.invalid={invalid!r}: numbers, such as (0, 65535, 'nan')"
            ) from error
        self.reading = DepthReading(scale, min_depth, max_depth, numbers)

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add the map to the sample.

        Raises:
            DataError: naming the map's file, what is wrong with it, and what to do.
        """
        path = results.get('depth_map_path')
        if path is None:
            raise DataError(
                f'{results.get("img_path")}: its data set names no depth map; set '
                'data_prefix.depth_map_path of a DepthDataset'
            )
        with naming(path, 'a depth map'):
            content = fileio.get(path)
        try:
            if not content:
                raise DepthError('empty-file')
            metres = self.reading.metres(depth_numbers(content, path))
        except DepthError as error:
            raise DataError(Finding(error.kind, path, str(error)).line) from error
        size = tuple(results['ori_shape'][:2])
        if metres.shape != size:
            raise DataError(
                f'{path}: the depth map is {metres.shape[1]}x{metres.shape[0]} px and its image '
                f'{results["img_path"]} {size[1]}x{size[0]} px: bring the map to the size of its '
                'image, taking the nearest pixel'
            )
        results['gt_depth_map'] = metres
        results['seg_fields'].append('gt_depth_map')
        return results


@METRICS.register_module(name='DepthMetric', force=True)
class DepthMetric(Original):
    """mmseg's ``DepthMetric`` with its arguments, in its place where depth is read by this project.

    * Both ends of the range count, as in ``LoadDepthAnnotations``; mmseg leaves them out, so that
      a sky that is given as the farthest depth would be trained on and never judged.
    * An image of which no pixel counts is left out of the mean. With mmseg it alone makes every
      figure NaN.
    * Figures that are NaN are warned of.
    """

    def _get_eval_mask(self, gt_depth: Tensor) -> Tensor:
        inside = (gt_depth >= self.min_depth_eval) & (gt_depth <= self.max_depth_eval)
        known = inside & (gt_depth > 0)
        if self.crop_type == 'nyu_crop':
            known[..., :45, :] = known[..., 471:, :] = False
            known[..., :41] = known[..., 601:] = False
        return known

    def compute_metrics(self, results: Sequence[tuple[Tensor, Tensor]]) -> dict[str, float]:
        """Each figure's mean over the images of which a pixel counts; NaN if there is none."""
        if self.format_only:
            return dict(super().compute_metrics(list(results)))
        counted = [pair for pair in results if pair[0].numel()]
        if len(counted) < len(results):
            ends = f'{self.min_depth_eval:g} to {self.max_depth_eval:g} m'
            crop = f' inside of {self.crop_type}' if self.crop_type else ''
            _warn(
                f'{len(results) - len(counted)} of {len(results)} images have no pixel with a '
                f'known depth of {ends}{crop}: they are left out of the figures'
            )
        if not counted:
            return dict.fromkeys(self.metrics, math.nan)
        figures = dict(super().compute_metrics(counted))
        if lost := [name for name, value in figures.items() if math.isnan(value)]:
            number = sum(bool(predicted.isnan().any()) for _, predicted in counted)
            _warn(
                f'{", ".join(lost)}: NaN; the network predicts NaN in {number} of {len(counted)} '
                'images'
            )
        return figures


def _warn(line: str) -> None:
    print_log(line, logger='current', level=logging.WARNING)
