"""Very large images in tiles: each is predicted as an image of its own, and they are put together.

Detection: boxes are moved to their place. What was found twice, where tiles overlap, is kept once:
a box that ends at the border of its tile gives way to a larger one of another tile that it lies in,
as the whole object is there; then comes non-maximum suppression class by class.

Segmentation: each pixel is taken from the tile whose middle is nearest, up to the middle of the
overlap, so that no pixel is decided at the border of a tile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from mmengine.structures import InstanceData, PixelData
from torch import Tensor
from torchvision.ops import batched_nms

from ..errors import UserError

if TYPE_CHECKING:
    from .student import Student

Box = tuple[int, int, int, int]  # left, top, right, bottom

_INSIDE = 0.6  # of a cut box lies in the one that it gives way to
_AS_SURE = 0.5  # least score of that box, relative to the cut one's
_EDGE = 2.0  # px from the border of a tile, within which a box is cut
_SAME = 0.5  # overlap over union of two boxes of one object
_ROWS = 512  # cut boxes that are compared with all at once


@dataclass(frozen=True)
class Tiling:
    """How an image is cut.

    size: of a tile in pixels; an image that is no larger is not cut.
    overlap: of neighbours, as a share of a tile: as large as the objects are, or larger.
    """

    size: int
    overlap: float = 0.25

    def __post_init__(self) -> None:
        if self.size < 1 or not 0 <= self.overlap < 1:
            raise UserError(
                f'tiles of {self.size} px with an overlap of {self.overlap}: give a size of 1 or '
                'more, and a share of 0 to less than 1'
            )

    def starts(self, length: int) -> list[int]:
        """Where tiles begin along a side; the last ends where the image does."""
        if length <= self.size:
            return [0]
        step = max(1, round(self.size * (1 - self.overlap)))
        return [*range(0, length - self.size, step), length - self.size]

    def boxes(self, height: int, width: int) -> list[Box]:
        """The tiles, row by row; all of one size."""
        high, wide = min(self.size, height), min(self.size, width)
        return [
            (x, y, x + wide, y + high) for y in self.starts(height) for x in self.starts(width)
        ]

    def own(self, length: int) -> Iterator[tuple[int, int]]:
        """Of each tile along a side, the part that no other tile decides."""
        starts = self.starts(length)
        middles = [(after + before + self.size) // 2 for before, after in pairwise(starts)]
        yield from zip([0, *middles], [*middles, length], strict=True)


def tiling_for(student: Student, size: int | None) -> Tiling | None:
    """Tiles of a size, if one is given.

    Raises:
        UserError: if the student is for a task whose tiles cannot be put together.
    """
    if size is None:
        return None
    if student.task not in _MERGES:
        raise UserError(
            f'tiles are for {" and ".join(_MERGES)}: this is a student for {student.task}, which '
            'needs whole images'
        )
    return Tiling(size)


def tiled_sample(
    student: Student,
    given: dict[str, Any],
    tiling: Tiling,
    size_of: Callable[[tuple[int, ...]], int],
) -> Any:
    """A data sample of a whole image, from its tiles.

    Args:
        given: the image, as :meth:`~g2sd_mm.students.student.Student.load` gives it.
        size_of: shape of a prepared tile -> tiles of a batch.

    Returns:
        ``pred_instances``, whose ``masks`` are a sequence that makes each when it is asked for; or
        ``pred_sem_seg``, without the logits.
    """
    pixels = given['img']
    height, width = pixels.shape[:2]
    boxes = tiling.boxes(height, width)

    def samples() -> Iterator[Any]:
        waiting: list[dict] = []
        for left, top, right, bottom in boxes:
            tile = np.ascontiguousarray(pixels[top:bottom, left:right])
            waiting.append(student.prepare(student.as_loaded(tile)))
            if len(waiting) >= size_of(tuple(waiting[0]['inputs'].shape)):
                yield from student.run(waiting)
                waiting = []
        if waiting:
            yield from student.run(waiting)

    return _MERGES[student.task](samples(), boxes, tiling, height, width)


@dataclass
class TiledMasks:
    """Masks of objects in a large image, each held as large as the object.

    parts: (mask, left, top) of each.
    height, width: of the image.
    """

    parts: list[tuple[np.ndarray, int, int]]
    height: int
    width: int

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, number: int) -> Tensor:
        """bool [height, width]."""
        mask, left, top = self.parts[number]
        whole = torch.zeros(self.height, self.width, dtype=torch.bool)
        whole[top : top + mask.shape[0], left : left + mask.shape[1]] = torch.from_numpy(mask)
        return whole


def _merge_instances(
    samples: Iterator[Any], tiles: list[Box], tiling: Tiling, height: int, width: int
) -> Any:
    columns: list[tuple[Tensor, ...]] = []
    masks: list[tuple[np.ndarray, int, int]] = []
    kind: Any = None
    has_masks = False
    for number, ((left, top, right, bottom), sample) in enumerate(
        zip(tiles, samples, strict=True)
    ):
        kind, found = type(sample), sample.pred_instances.cpu()
        boxes = found.bboxes + torch.tensor([left, top, left, top])
        inner = torch.tensor([left, top, right, bottom]).float()
        inner[torch.tensor([left, top, right, bottom]) == torch.tensor([0, 0, width, height])] = (
            torch.inf  # the image's own border cuts nothing
        )
        cut = ((boxes - inner).abs() < _EDGE).any(1)
        columns.append(
            (boxes, found.scores, found.labels, cut, torch.full_like(found.labels, number))
        )
        if 'masks' in found:
            has_masks = True
            masks += [_cropped(mask.numpy(), left, top) for mask in found.masks]
    boxes, scores, labels, cut, owner = (torch.cat(part) for part in zip(*columns, strict=True))
    kept = torch.nonzero(~_inside_others(boxes, scores, labels, cut, owner)).flatten()
    kept = kept[batched_nms(boxes[kept], scores[kept], labels[kept], _SAME)]
    merged = InstanceData(bboxes=boxes[kept], scores=scores[kept], labels=labels[kept])
    if has_masks:
        merged.masks = TiledMasks([masks[i] for i in kept.tolist()], height, width)
    return kind(metainfo=dict(ori_shape=(height, width)), pred_instances=merged)


def _cropped(mask: np.ndarray, left: int, top: int) -> tuple[np.ndarray, int, int]:
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    if not len(rows):
        return np.zeros((0, 0), bool), left, top
    part = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(bool)
    return part.copy(), left + int(columns[0]), top + int(rows[0])


def _inside_others(
    boxes: Tensor, scores: Tensor, labels: Tensor, cut: Tensor, owner: Tensor
) -> Tensor:
    """Which cut boxes [n] lie in a larger one of their class that another tile found.

    One that is much less sure says nothing: the threshold would take it away later, and both would
    be lost.
    """
    areas = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(1)
    inside = torch.zeros_like(cut)
    for part in torch.nonzero(cut).flatten().split(_ROWS):
        least = torch.maximum(boxes[part, None, :2], boxes[None, :, :2])
        most = torch.minimum(boxes[part, None, 2:], boxes[None, :, 2:])
        shared = (most - least).clamp(min=0).prod(2)
        other = owner[part, None] != owner[None]
        alike = labels[part, None] == labels[None]
        larger = areas[None] > areas[part, None]
        sure = scores[None] >= _AS_SURE * scores[part, None]
        within = shared > _INSIDE * areas[part, None]
        inside[part] = (other & alike & larger & sure & within).any(1)
    return inside


def _merge_labels(
    samples: Iterator[Any], tiles: list[Box], tiling: Tiling, height: int, width: int
) -> Any:
    whole = torch.zeros(1, height, width, dtype=torch.int16)
    rows, columns = list(tiling.own(height)), list(tiling.own(width))
    parts = [(*row, *column) for row in rows for column in columns]
    kind: Any = None
    for (left, top, _, _), (first, last, begin, end), sample in zip(
        tiles, parts, samples, strict=True
    ):
        kind = type(sample)
        labels = sample.pred_sem_seg.data.cpu()
        whole[:, first:last, begin:end] = labels[
            :, first - top : last - top, begin - left : end - left
        ]
    return kind(
        metainfo=dict(ori_shape=(height, width)), pred_sem_seg=PixelData(data=whole)
    )


_MERGES: dict[str, Callable[..., Any]] = {
    'detection': _merge_instances,
    'segmentation': _merge_labels,
}
