"""Drawing predictions and annotations of the three tasks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmengine.structures import BaseDataElement, InstanceData, PixelData

from g2sd_mm.tasks import TASKS, drawing
from g2sd_mm.tasks.drawing import class_colour

NAMES = ('cat', 'dog', 'cow')


def draw_sample(image: np.ndarray, sample: BaseDataElement, *args, **options) -> np.ndarray:
    fields = ' '.join(sample.keys())
    key = 'seg' if 'sem_seg' in fields else 'det' if 'instances' in fields else 'cls'
    return drawing.draw_sample(TASKS[key], image, sample, *args, **options)


def grey(side: int = 400) -> np.ndarray:
    return np.full((side, side, 3), 128, np.uint8)


def test_colours_of_the_first_classes_are_distinct():
    colours = {class_colour(label) for label in range(150)}
    assert len(colours) > 140


def test_small_images_are_enlarged_so_that_text_can_be_read():
    sample = BaseDataElement(pred_score=torch.tensor([0.1, 0.7, 0.2]))
    assert draw_sample(grey(64), sample, NAMES).shape == (320, 320, 3)


def test_classes_are_written_and_the_image_is_not_changed_in_place():
    image = grey()
    sample = BaseDataElement(pred_score=torch.tensor([0.1, 0.7, 0.2]))
    drawn = draw_sample(image, sample, NAMES)
    assert (drawn != image).any()
    assert (image == 128).all()


def test_a_segmentation_is_painted_and_has_a_legend_of_the_classes_present():
    labels = torch.zeros(1, 400, 400, dtype=torch.long)
    labels[:, :200] = 2
    labels[:, 390:] = 255
    sample = BaseDataElement()
    sample.set_data({'pred_sem_seg': PixelData(data=labels)})
    drawn = draw_sample(grey(), sample, NAMES)
    assert drawn.shape == (400, 570, 3)  # legend of 170 px
    legend = drawn[:, 400:]
    found = set(map(tuple, legend.reshape(-1, 3).tolist()))
    assert class_colour(0) in found and class_colour(2) in found
    assert class_colour(1) not in found
    assert np.allclose(drawn[395, 10], 128, atol=1)  # not scored: left as it is
    assert (draw_sample(grey(), sample, NAMES, legend=False) == drawn[:, :400]).all()


@pytest.mark.parametrize('label', [255, 256, 300])
def test_more_classes_than_a_byte_counts_are_drawn_as_they_are(label):
    sample = BaseDataElement()
    labels = torch.full((1, 400, 400), label)
    sample.set_data({'pred_sem_seg': PixelData(data=labels)})
    drawn = draw_sample(grey(), sample, [f'class {i}' for i in range(400)])
    expected = 0.45 * 128 + 0.55 * np.array(class_colour(label))
    assert np.allclose(drawn[:, :400], expected, atol=1)
    assert class_colour(label) in set(map(tuple, drawn[:, 400:].reshape(-1, 3).tolist()))


def test_a_class_called_background_stays_clear():
    labels = torch.zeros(1, 400, 400, dtype=torch.long)
    labels[:, :200] = 1
    sample = BaseDataElement()
    sample.set_data({'pred_sem_seg': PixelData(data=labels)})
    drawn = draw_sample(grey(), sample, ('background', 'dog'))
    assert (drawn[300, :400] == 128).all()
    assert (drawn[100, 10] != 128).any()
    assert class_colour(0) not in set(map(tuple, drawn[:, 400:].reshape(-1, 3).tolist()))


def instances(score: float) -> BaseDataElement:
    mask = torch.zeros(1, 400, 400, dtype=torch.bool)
    mask[:, 100:200, 100:200] = True
    found = InstanceData(
        bboxes=torch.tensor([[100.0, 100.0, 200.0, 200.0]]),
        labels=torch.tensor([1]),
        scores=torch.tensor([score]),
        masks=mask,
    )
    sample = BaseDataElement()
    sample.set_data({'pred_instances': found})
    return sample


def test_boxes_and_masks_above_the_threshold_are_drawn():
    drawn = draw_sample(grey(), instances(0.9), NAMES)
    assert tuple(drawn[100, 150].tolist()) == class_colour(1)  # edge of the box
    assert (drawn[150, 150] != 128).any()  # inside of the mask
    assert (drawn[300, 300] == 128).all()


def test_boxes_far_outside_are_drawn_to_the_edge():
    sample = instances(score=0.9)
    sample.pred_instances.bboxes[:, 2:] = torch.tensor([3e18, torch.inf])
    assert not np.array_equal(draw_sample(grey(), sample, ['a', 'b']), grey())


def test_boxes_below_the_threshold_are_not_drawn():
    assert (draw_sample(grey(), instances(0.2), NAMES, threshold=0.3) == 128).all()


def test_annotations_are_drawn_on_request():
    sample = BaseDataElement()
    sample.set_data({'gt_label': torch.tensor([0])})
    assert (draw_sample(grey(), sample, NAMES, truth=True) != 128).any()
