"""Tiles of large images put together: what a whole image would give, where that can be said."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData, PixelData
from mmseg.structures import SegDataSample

from g2sd_mm.errors import UserError
from g2sd_mm.students import load_student
from g2sd_mm.students.tiles import Tiling, tiled_sample
from g2sd_mm.tasks import TASKS

from ..helpers.students import student_folder

HEIGHT, WIDTH = 230, 330


@pytest.mark.parametrize('overlap', [0.0, 0.25, 0.5])
@pytest.mark.parametrize('length', [40, 100, 101, 175, 330])
def test_tiles_cover_a_side_and_overlap(length, overlap):
    tiling = Tiling(100, overlap)
    starts = tiling.starts(length)
    assert starts[0] == 0 and starts[-1] == max(0, length - 100)
    assert all(after - before <= 100 * (1 - overlap) for before, after in pairwise(starts))
    own = list(tiling.own(length))
    assert own[0][0] == 0 and own[-1][1] == length
    assert all(end == begin for (_, end), (begin, _) in pairwise(own))
    assert all(s <= begin < end <= s + 100 for s, (begin, end) in zip(starts, own, strict=True))


@pytest.mark.parametrize(('size', 'overlap'), [(0, 0.2), (10, 1.0), (10, -0.1)])
def test_tiles_that_cannot_be_are_refused(size, overlap):
    with pytest.raises(UserError):
        Tiling(size, overlap)


def with_answers(task: str, answer):
    """A student whose prediction on a tile is a function of its pixels."""
    return SimpleNamespace(
        task=task,
        as_loaded=lambda pixels: pixels,
        prepare=lambda pixels: {'inputs': torch.from_numpy(pixels)},
        run=lambda given: [answer(one['inputs']) for one in given],
    )


def tiled(student, image: np.ndarray, size: int = 100, overlap: float = 0.25):
    return tiled_sample(student, {'img': image}, Tiling(size, overlap), lambda shape: 3)


def test_labels_are_those_of_the_whole():
    image = np.random.default_rng(0).integers(0, 200, (HEIGHT, WIDTH, 1), np.uint8)
    student = with_answers('segmentation', lambda tile: SegDataSample(
        pred_sem_seg=PixelData(data=tile[..., 0][None].long())))
    found = tiled(student, image).pred_sem_seg.data
    assert np.array_equal(found[0].numpy(), image[..., 0])


def test_labels_at_the_border_of_a_tile_are_not_taken():
    def answer(tile):
        labels = torch.zeros(1, *tile.shape[:2], dtype=torch.long)
        labels[:, :5] = labels[:, -5:] = labels[:, :, :5] = labels[:, :, -5:] = 1
        return SegDataSample(pred_sem_seg=PixelData(data=labels))

    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    found = tiled(with_answers('segmentation', answer), image).pred_sem_seg.data[0]
    assert found[5:-5, 5:-5].sum() == 0 and found[0].all()


OBJECTS = [  # left, top, right, bottom, class; the first three lie across borders of tiles
    (80, 60, 119, 119, 0), (60, 10, 112, 30, 1), (200, 150, 240, 229, 0), (5, 5, 25, 25, 0),
    (10, 10, 20, 20, 1), (300, 190, 330, 230, 1),
]  # fmt: skip


def seen(tile: torch.Tensor) -> DetDataSample:
    """What a perfect detector finds: each object as far as it is in the tile."""
    boxes, labels, masks = [], [], []
    for number, (*_, label) in enumerate(OBJECTS):
        mask = tile[..., number] > 0
        if mask.any():
            rows, columns = (torch.nonzero(mask.any(axis)).flatten() for axis in (1, 0))
            boxes.append([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
            labels.append(label)
            masks.append(mask)
    n = len(boxes)
    return DetDataSample(pred_instances=InstanceData(
        bboxes=torch.tensor(boxes, dtype=torch.float).reshape(n, 4),
        scores=torch.linspace(0.9, 0.5, n), labels=torch.tensor(labels, dtype=torch.long),
        masks=torch.stack(masks) if masks else torch.zeros(0, *tile.shape[:2], dtype=torch.bool)))


@pytest.mark.parametrize('overlap', [0.5, 0.8])
def test_objects_across_borders_are_found_once_and_whole(overlap):
    image = np.zeros((HEIGHT, WIDTH, len(OBJECTS)), np.uint8)
    for number, (left, top, right, bottom, _) in enumerate(OBJECTS):
        image[top:bottom, left:right, number] = 1
    sample = tiled(with_answers('detection', seen), image, overlap=overlap)
    found = sample.pred_instances
    boxes = [(*map(int, box), int(label)) for box, label in zip(
        found.bboxes, found.labels, strict=True)]
    assert sorted(boxes) == sorted(OBJECTS)
    for box, mask in zip(boxes, (found.masks[i] for i in range(len(found.masks))), strict=True):
        assert np.array_equal(mask.numpy(), image[..., OBJECTS.index(box)] > 0)
    plain = TASKS['det'].plain(sample, ['a', 'b'], 0.0)
    assert plain['instances'][0]['mask']['size'] == [HEIGHT, WIDTH]


def test_nothing_in_any_tile_is_nothing():
    image = np.zeros((HEIGHT, WIDTH, len(OBJECTS)), np.uint8)
    sample = tiled(with_answers('detection', seen), image)
    assert len(sample.pred_instances) == 0


@pytest.mark.parametrize(('score', 'kept'), [(0.06, True), (0.9, False)])
def test_an_object_gives_way_to_none_that_is_hardly_seen(score, kept):
    """A box that ends at its tile's border, inside of a larger one of the next tile."""
    boxes = {0: ([80.0, 10, 100, 60], 0.95), 1: ([2.0, 5, 60, 70], score)}
    tiles = iter(range(9))

    def answer(tile):
        box, sure = boxes.get(next(tiles), ([], 0))
        return DetDataSample(pred_instances=InstanceData(
            bboxes=torch.tensor(box).reshape(-1, 4), scores=torch.tensor([sure] if box else []),
            labels=torch.zeros(len(box) // 4, dtype=torch.long)))

    image = np.zeros((100, 175, 3), np.uint8)
    found = tiled(with_answers('detection', answer), image).pred_instances
    assert (found.scores.max().item() == pytest.approx(0.95)) == kept


@pytest.mark.parametrize('task', ['detection', 'segmentation'])
def test_a_student_predicts_in_tiles(tmp_path, task):
    student = load_student(student_folder(tmp_path, task))
    image = np.random.default_rng(0).integers(0, 255, (150, 200, 3), np.uint8)
    result = student.predict(image, 0.0, tile=128)
    if task == 'segmentation':
        assert sum(result['classes'].values()) == pytest.approx(1, abs=1e-3)
    else:
        assert all(one['box'][2] <= 201 for one in result['instances'])
        assert max(one['box'][2] for one in result['instances']) > 150
    assert student.predict([image[:100, :100]], tile=128)[0]['image'] == 'image 0'
    small = image[:100, :100]
    assert student.predict(small, 0.0, tile=128) == student.predict(small, 0.0)


def test_other_tasks_need_whole_images(tmp_path):
    student = load_student(student_folder(tmp_path))
    with pytest.raises(UserError, match='tiles are for detection and segmentation'):
        student.predict(np.zeros((64, 64, 3), np.uint8), tile=32)
