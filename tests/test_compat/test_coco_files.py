"""An annotation file is the same for mmdet's data set, for ours and for the metric."""

from __future__ import annotations

import json

import pytest
import torch
from mmengine.registry import DATASETS, METRICS

from g2sd_mm.data_checks import check
from g2sd_mm.data_checks.coco import CocoSplit, Reading
from g2sd_mm.data_layouts.coco_file import _kept, read_annotations
from g2sd_mm.errors import DataError

from ..helpers.small_coco import (
    CLASSES,
    SIDE,
    with_root_category,
    with_values,
    without,
    write_split,
)
from ..helpers.toys import logged, words

STEPS = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='PackDetInputs'),
]


def data_set(root, kind='CheckedCocoDataset', split='train', **options):
    import mmdet.datasets  # noqa: F401

    from g2sd_mm.datasets import coco  # noqa: F401

    return DATASETS.build(
        dict(
            _scope_='mmdet', type=kind, data_root=str(root),
            ann_file=f'annotations/instances_{split}.json', data_prefix=dict(img=f'{split}/'),
            metainfo=dict(classes=CLASSES), pipeline=STEPS, **options,
        )
    )  # fmt: skip


def evaluated(file, labels=(0, 1), metric=('bbox', 'segm'), **known) -> dict[str, float]:
    """The metric of predictions that are right, of the classes ``labels``."""
    import mmdet.evaluation  # noqa: F401
    from mmdet.structures.mask import encode_mask_results

    judge = METRICS.build(
        dict(_scope_='mmdet', type='CocoMetric', ann_file=str(file), metric=list(metric))
    )
    judge.dataset_meta = dict(classes=CLASSES) | known
    for i in range(4):
        boxes, masks = [], torch.zeros(2, SIDE, SIDE, dtype=torch.bool)
        for label, x in enumerate((4, 36)):
            y = 4 + 5 * i
            boxes.append([x, y, x + 20, y + 20])
            masks[label, y : y + 20, x : x + 20] = True
        kept = list(labels)
        found = dict(
            bboxes=torch.tensor(boxes).float()[kept], scores=torch.ones(len(kept)),
            labels=torch.tensor(kept), masks=encode_mask_results(masks[kept].numpy()),
        )  # fmt: skip
        sample = dict(img_id=i + 1, ori_shape=(SIDE, SIDE), pred_instances=found)
        judge.process({}, [sample])
    return judge.evaluate(4)


@pytest.mark.parametrize('kind', ['CocoDataset', 'CheckedCocoDataset'])
@pytest.mark.parametrize(
    'edit',
    [without('iscrowd'), without('area'), without('iscrowd', 'area'), with_values(iscrowd=None),
     with_root_category],
)  # fmt: skip
def test_what_the_checker_calls_harmless_trains_and_evaluates(tmp_path, kind, edit):
    file = write_split(tmp_path, 'train', edit=edit)
    report = check([CocoSplit(file, tmp_path / 'train', 'train', Reading(CLASSES))], workers=0)
    assert report.harmful == 0
    assert [finding.kind for finding in report.findings if finding.kind == 'filled-in']
    with logged() as lines:
        data = data_set(tmp_path, kind)
    assert [line for line in lines if str(file) in line]
    assert len(data) == 4
    for i in range(4):
        objects = data[i]['data_samples'].gt_instances
        assert objects.labels.tolist() == [0, 1]
    values = evaluated(file)
    assert values['coco/bbox_mAP'] == values['coco/segm_mAP'] == 1.0


def test_an_average_precision_of_no_boxes_at_all_is_0(tmp_path):
    values = evaluated(write_split(tmp_path, 'val'), labels=())
    assert values['coco/bbox_mAP'] == values['coco/segm_mAP_50'] == 0.0
    assert values['coco/bbox_mAP_l'] == -1.0  # COCO's figure where no object is so large


def test_areas_are_those_of_masks_and_without_one_of_boxes(tmp_path):
    triangle = [[0, 0, 20, 0, 0, 20]]
    runs = dict(size=[SIDE, SIDE], counts=[10, 30, SIDE * SIDE - 40])

    def edit(content):
        without('area')(content)
        for entry, mask in zip(content['annotations'], (triangle, runs, [], None), strict=False):
            entry['segmentation'] = mask

    content = read_annotations(write_split(tmp_path, 'train', number=2, edit=edit)).content
    assert [entry['area'] for entry in content['annotations']] == [200, 30, 400, 400]


def test_two_classes_of_one_name_are_refused_if_both_are_used(tmp_path):
    def edit(content):
        content['categories'][1]['name'] = CLASSES[0]

    file = write_split(tmp_path, 'train', edit=edit)
    with pytest.raises(DataError, match=words(str(file), "'apple' 2 times")):
        read_annotations(file)


def test_a_root_category_goes_where_its_class_has_no_object_too(tmp_path):
    def edit(content):
        with_root_category(content)
        content['annotations'] = [a for a in content['annotations'] if a['category_id'] == 2]

    content = read_annotations(write_split(tmp_path, 'train', edit=edit)).content
    assert [(c['id'], c['name']) for c in content['categories']] == [(1, 'apple'), (2, 'berry')]


def test_a_file_that_is_kept_is_parsed_once_and_handed_over_once(tmp_path, monkeypatch):
    _kept.clear()
    file = write_split(tmp_path, 'train')
    parsed = []
    loads = json.loads
    monkeypatch.setattr(json, 'loads', lambda text: parsed.append(1) or loads(text))
    kept = read_annotations(file, keep=True)
    assert read_annotations(file, keep=True) is kept
    assert read_annotations(file) is kept and not _kept
    assert len(parsed) == 1
    assert read_annotations(file) is not kept
    kept = read_annotations(file, keep=True)
    file.write_text(file.read_text() + ' ')  # another file by now
    assert read_annotations(file) is not kept
    _kept.clear()


def test_ap_says_which_classes_it_leaves_out(tmp_path):
    def edit(content):
        for entry in content['annotations']:
            if entry['category_id'] == 2:
                entry['iscrowd'] = 1
                entry['segmentation'] = dict(size=[SIDE, SIDE], counts=[100, 50, SIDE**2 - 150])

    file = write_split(tmp_path, 'val', edit=edit)
    with logged() as lines:
        values = evaluated(file, labels=(0,))
    assert values['coco/bbox_mAP'] == 1.0
    (line,) = (line for line in lines if 'AP is over' in line)
    assert '1 of 2 classes' in line and "'berry'" in line
    with logged() as lines:
        evaluated(write_split(tmp_path / 'whole', 'val'))
    assert not [line for line in lines if 'AP is over' in line]


def test_instances_of_panoptic_data_are_of_its_things(tmp_path):
    classes = dict(classes=(*CLASSES, 'sky'), thing_classes=CLASSES, stuff_classes=('sky',))
    values = evaluated(write_split(tmp_path, 'val'), **classes)
    assert values['coco/segm_mAP'] == 1.0


def test_a_metric_without_a_file_of_its_own_still_works():
    import mmdet.evaluation  # noqa: F401

    judge = METRICS.build(dict(_scope_='mmdet', type='CocoMetric', metric='bbox'))
    judge.dataset_meta = dict(classes=CLASSES)
    box = dict(bbox=[1, 1, 21, 21], bbox_label=0, mask=None, ignore_flag=0)
    found = dict(bboxes=torch.tensor([[1.0, 1, 21, 21]]), scores=torch.ones(1),
                 labels=torch.zeros(1, dtype=torch.long))  # fmt: skip
    judge.process({}, [dict(img_id=0, ori_shape=(SIDE, SIDE), pred_instances=found,
                            instances=[box])])  # fmt: skip
    assert judge.evaluate(1)['coco/bbox_mAP'] == 1.0
