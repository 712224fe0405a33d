"""mmseg's metric of depth, with the pixels and images that count as everywhere else here."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

from mmengine.logging import print_log
from mmseg.evaluation.metrics import DepthMetric as Original
from mmseg.registry import METRICS
from torch import Tensor

Pair = tuple[Tensor, Tensor]


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

    def compute_metrics(self, results: Sequence[Pair]) -> dict[str, float]:
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
