"""Figures by class belong to the class of their name, whatever the order of the ids."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from mmdet.datasets.api_wrappers import COCO
from mmdet.evaluation import CocoMetric

from g2sd_mm.errors import DataError

from ..helpers.toys import words
from ..test_agreement.data import coco


def judged(path, classes, found: str) -> dict[str, float]:
    """Figures of a detector that finds the boxes of one class, and no others."""
    metric = CocoMetric(ann_file=str(path), metric='bbox', classwise=True)
    metric.dataset_meta = dict(classes=classes)
    left = float(len(found))
    prediction = dict(
        bboxes=torch.tensor([[left, 0.0, left + 10, 10.0]]),
        scores=torch.tensor([0.9]),
        labels=torch.tensor([classes.index(found)]),
    )
    metric.process({}, [dict(img_id=1, ori_shape=(64, 64), pred_instances=prediction)])
    return metric.evaluate(1)


@pytest.mark.parametrize('categories', [[(1, 'apple'), (2, 'plum')], [(2, 'plum'), (1, 'apple')]])
@pytest.mark.parametrize('classes', [('apple', 'plum'), ('plum', 'apple')])
def test_the_class_that_is_found_is_the_one_with_the_precision(tmp_path, categories, classes):
    figures = judged(coco(tmp_path / 'a.json', categories), classes, 'plum')
    assert figures['coco/plum_precision'] == pytest.approx(1.0, abs=1e-3)
    assert figures['coco/apple_precision'] == 0
    assert figures['coco/bbox_mAP'] == pytest.approx(0.5, abs=1e-3)


def test_categories_that_are_missing_or_twice_there_are_named(tmp_path):
    file = COCO(str(coco(tmp_path / 'a.json', [(1, 'apple'), (2, 'plum')])))
    assert file.get_cat_ids() == [1, 2]
    assert file.get_cat_ids(cat_names=('plum', 'apple')) == [2, 1]
    with pytest.raises(DataError, match=words("no category 'pear'", 'classes=(...)')):
        file.get_cat_ids(cat_names=['plum', 'pear'])
    content = json.loads((tmp_path / 'a.json').read_text())
    content['categories'][0]['name'] = 'plum'
    (tmp_path / 'b.json').write_text(json.dumps(content))
    with pytest.raises(DataError, match="two categories of the name 'plum'"):
        COCO(str(tmp_path / 'b.json')).get_cat_ids(cat_names=['plum'])


def test_figures_without_classes_stay_as_they_are(tmp_path):
    path = coco(tmp_path / 'a.json', [(1, 'apple'), (2, 'plum')])
    metric = CocoMetric(ann_file=str(path), metric='proposal', proposal_nums=(1, 10, 100))
    metric.dataset_meta = dict(classes=('plum', 'apple'))
    boxes = torch.tensor([[4.0, 0.0, 14.0, 10.0], [5.0, 0.0, 15.0, 10.0]])
    found = dict(bboxes=boxes, scores=torch.tensor([0.9, 0.8]), labels=torch.tensor([0, 1]))
    metric.process({}, [dict(img_id=1, ori_shape=(64, 64), pred_instances=found)])
    assert np.isfinite(list(metric.evaluate(1).values())).all()
