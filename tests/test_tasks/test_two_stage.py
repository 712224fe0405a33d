"""A detector as one function of tensors finds what mmdet's own prediction finds."""

from __future__ import annotations

import pytest
import torch
from mmdet.structures import DetDataSample

from g2sd_mm.students import Student, load_student
from g2sd_mm.tasks.two_stage import Detector

from ..helpers.students import boxes_alone, student_folder, varied
from ..helpers.toys import images, refused

SIDE = 128
SHALLOW = {
    'model.backbone.arch': dict(
        _delete_=True, embed_dim=64, depth=2, num_heads=2, patch_size=8
    ),
    'model.backbone.global_blocks': (1,),
}


@pytest.fixture(scope='module')
def student(tmp_path_factory) -> Student:
    """Of the demo, with two blocks; its box head tells classes apart."""
    folder = student_folder(tmp_path_factory.mktemp('masks'), 'detection', **SHALLOW)
    return varied(load_student(folder))


def expected(model, x, size, threshold=0.0):
    meta = dict(img_shape=size, ori_shape=size, scale_factor=(1.0, 1.0))
    before = model.roi_head.test_cfg.score_thr
    model.roi_head.test_cfg.score_thr = threshold
    (sample,) = model.predict(x, [DetDataSample(metainfo=meta)])
    model.roi_head.test_cfg.score_thr = before
    return sample.pred_instances


def found(network, x, size, threshold=0.0):
    with torch.no_grad():
        got = network(x, torch.tensor(size).float(), torch.tensor([threshold]))
    return dict(zip(network.output_names, got, strict=True))


@pytest.mark.parametrize('size', [(128, 128), (96, 128), (128, 50)])
@pytest.mark.parametrize('seed', range(3))
def test_boxes_scores_and_labels_are_mmdets(student, size, seed):
    x = images(1, SIDE, seed=seed)
    x[:, :, size[0] :], x[..., size[1] :] = 0, 0
    got, there = found(Detector(student.model), x, size), expected(student.model, x, size)
    assert len(there) == student.model.roi_head.test_cfg.max_per_img
    assert len(set(there.labels.tolist())) > 2
    assert torch.equal(got['labels'], there.labels)
    torch.testing.assert_close(got['boxes'], there.bboxes, rtol=0, atol=1e-4)
    torch.testing.assert_close(got['scores'], there.scores, rtol=0, atol=1e-6)
    assert got['masks'].shape == (len(there), 28, 28)
    height, width = size
    assert (got['boxes'] >= 0).all() and (got['boxes'] <= torch.tensor([width, height] * 2)).all()


def test_as_few_as_exceed_the_threshold(student):
    x = images(1, SIDE)
    scores = expected(student.model, x, (SIDE, SIDE)).scores
    for number in (0, 1, 7):
        threshold = (scores[number] + (scores[number - 1] if number else 1)).item() / 2
        got = found(Detector(student.model), x, (SIDE, SIDE), threshold)
        assert [len(values) for values in got.values()] == [number] * 4


@pytest.mark.parametrize(
    ('rpn', 'rcnn'),
    [
        (dict(nms_pre=20, max_per_img=50), {}),  # fewer proposals than there may be
        (dict(min_bbox_size=12), {}),
        (dict(nms=dict(type='nms', iou_threshold=0.1)), dict(max_per_img=-1)),
        ({}, dict(nms=dict(type='nms', iou_threshold=0.3, class_agnostic=True))),
    ],
)
def test_settings_of_the_selection(student, rpn, rcnn):
    model = student.model
    before = [dict(model.rpn_head.test_cfg), dict(model.roi_head.test_cfg)]
    model.rpn_head.test_cfg.update(rpn), model.roi_head.test_cfg.update(rcnn)
    try:
        x = images(1, SIDE, seed=5)
        got, there = found(Detector(model), x, (SIDE, 100)), expected(model, x, (SIDE, 100))
    finally:
        model.rpn_head.test_cfg.update(before[0]), model.roi_head.test_cfg.update(before[1])
    assert len(there) and torch.equal(got['labels'], there.labels)
    torch.testing.assert_close(got['boxes'], there.bboxes, rtol=0, atol=1e-4)


def test_raw_is_what_the_selection_gets(student):
    x = images(1, SIDE)
    raw = Detector(student.model, raw=True)
    with torch.no_grad():
        boxes, scores = raw(x, torch.tensor([128.0, 128.0]))
    assert boxes.shape == (100, 10, 4) and scores.shape == (100, 10)
    kept = found(Detector(student.model), x, (SIDE, SIDE))
    assert scores.max() == kept['scores'][0]
    place = scores.flatten().argmax()
    assert torch.equal(boxes.flatten(0, 1)[place], kept['boxes'][0])
    assert list(raw.defaults(96, 128)) == ['size']


def test_boxes_alone(tmp_path):
    student = varied(load_student(boxes_alone(tmp_path, **SHALLOW)))
    x = images(1, SIDE)
    got, there = found(Detector(student.model), x, (SIDE, SIDE)), expected(
        student.model, x, (SIDE, SIDE)
    )
    assert list(got) == ['boxes', 'scores', 'labels']
    torch.testing.assert_close(got['boxes'], there.bboxes, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ('change', 'reason'),
    [
        (lambda m: m.roi_head.test_cfg.nms.update(type='soft_nms'), "'type': 'soft_nms'"),
        (lambda m: setattr(m.rpn_head, 'use_sigmoid_cls', False), 'its RPN has no sigmoid'),
        (lambda m: setattr(m.roi_head.bbox_roi_extractor.roi_layers[0], 'pool_mode', 'max'),
         'another layer than RoIAlign'),
        (lambda m: setattr(m.roi_head, 'mask_head', torch.nn.Identity()),
         'Identity is not a FCNMaskHead'),
    ],
)  # fmt: skip
def test_what_predicts_in_another_way_is_refused(tmp_path, change, reason):
    model = load_student(student_folder(tmp_path, 'detection', **SHALLOW)).model
    change(model)
    with refused('a whole MaskRCNN cannot be exported', reason, '--part pyramid'):
        Detector(model)


def test_a_head_that_decides_for_itself_is_refused(student):
    head = student.model.roi_head

    class Own(type(head)):
        def predict_bbox(self, *args, **kwargs):
            return super().predict_bbox(*args, **kwargs)

    before = type(head)
    head.__class__ = Own
    try:
        with refused('Own is not a StandardRoIHead'):
            Detector(student.model)
    finally:
        head.__class__ = before
