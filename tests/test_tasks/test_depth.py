"""How depth is told, written and drawn."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import BaseDataElement, PixelData

from g2sd_mm.tasks import TASKS, drawing, more_is_better, task_of
from g2sd_mm.tasks.depth import bar_end

DEPTH = TASKS['depth']


def sample(metres: np.ndarray, side: str = 'pred') -> BaseDataElement:
    element = BaseDataElement()
    data = torch.from_numpy(metres.astype(np.float32))[None]
    element.set_data({f'{side}_depth_map': PixelData(data=data)})
    return element


def ramp(end: float = 8.0, side: int = 400) -> np.ndarray:
    return np.tile(np.linspace(end / side, end, side), (side, 1))


def grey(side: int = 400) -> np.ndarray:
    return np.full((side, side, 3), 128, np.uint8)


def test_the_record_says_which_way_is_better():
    assert task_of('mmseg', {'type': 'DepthEstimator'}) is DEPTH
    assert DEPTH.headline == 'abs_rel' and DEPTH.metric('abs_rel').lower_is_better
    better = {m.name: not m.lower_is_better for m in DEPTH.metrics}
    assert [name for name, more in better.items() if more] == ['delta1', 'delta2', 'delta3']
    assert not more_is_better('abs_rel') and more_is_better('d1') and more_is_better('mIoU')
    assert not more_is_better('imagenet_c/mCE') and more_is_better('coco/bbox_mAP')
    assert DEPTH.agreed({'abs_rel': 0.1, 'd1': 0.9, 'rmse': 0.4}) == pytest.approx(
        {'abs_rel': 10, 'delta1': 90, 'rmse': 0.4}
    )


def test_a_prediction_is_told_in_metres():
    told = DEPTH.plain(sample(np.array([[1.0, 2.0, 9.0]])), (), 0.3)
    assert told == {'depth': {'nearest': 1.0, 'median': 2.0, 'farthest': 9.0}}


def test_files_hold_every_pixel(tmp_path):
    metres = np.array([[0.5, 1.2345, 65.535, 70.0]])
    named = DEPTH.files(sample(metres), tmp_path / '0001_a.b', 0.0)
    assert named == {'depth_files': ['0001_a.b_depth.npy', '0001_a.b_depth.png']}
    array = np.load(tmp_path / '0001_a.b_depth.npy')
    np.testing.assert_array_equal(array, metres.astype(np.float32))
    picture = cv2.imread(str(tmp_path / '0001_a.b_depth.png'), cv2.IMREAD_UNCHANGED)
    assert picture.dtype == np.uint16
    np.testing.assert_array_equal(picture, [[500, 1234, 65535, 0]])  # too far for 16 bits: unknown


@pytest.mark.parametrize(('most', 'end'), [
    (0.3, 0.5), (0.9, 1), (1, 1), (1.1, 2), (4.9, 5), (7, 10), (10, 10), (79, 100),
])  # fmt: skip
def test_the_bar_ends_at_a_round_depth(most, end):
    assert bar_end(np.array([most / 2, most])) == pytest.approx(end)
    assert bar_end(np.array([])) == 1


def test_the_picture_has_a_bar_in_metres_beside_it_or_in_it():
    drawn = drawing.draw_sample(DEPTH, grey(), sample(ramp()), ())
    assert drawn.shape == (400, 486, 3)
    inside = drawing.draw_sample(DEPTH, grey(), sample(ramp()), (), legend=False)
    assert inside.shape == (400, 400, 3)
    np.testing.assert_array_equal(inside[:350], drawn[:350, :400])
    bar = drawn[10:390, 400 + 8 + 7]
    # near is at the foot of the bar, and has the colour of near pixels; 8 m is at 0.8 of 10 m
    np.testing.assert_allclose(bar[-1].astype(int), drawn[50, 0], atol=20)
    np.testing.assert_allclose(bar[76].astype(int), drawn[50, 399], atol=20)
    assert np.abs(bar[-1].astype(int) - bar[76]).sum() > 60
    assert (inside[380:] != drawn[380:, :400]).any()


def test_what_is_not_known_is_black_and_truth_is_drawn_as_predictions_are():
    metres = ramp()
    metres[:50, :50] = 0
    drawn = drawing.draw_sample(DEPTH, grey(), sample(metres, 'gt'), (), truth=True)
    assert (drawn[:50, :50] == 0).all() and drawn[60, 60].any()
    as_predicted = drawing.draw_sample(DEPTH, grey(), sample(metres), ())
    np.testing.assert_array_equal(drawn, as_predicted)
