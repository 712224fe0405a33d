"""The one table of tasks."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import cv2
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from mmengine.structures import InstanceData

from g2sd_mm import tasks
from g2sd_mm.config.parts import task_of_config
from g2sd_mm.engine.hooks.best import best_by
from g2sd_mm.tasks import TASKS, register, task_named, task_of

from ..helpers.runs import Slope, runner


@pytest.fixture
def untouched(monkeypatch):
    monkeypatch.setattr(tasks, 'TASKS', dict(TASKS))
    return tasks


def test_every_file_of_the_folder_is_a_task_in_the_order_of_tables():
    assert list(TASKS) == ['cls', 'det', 'seg', 'depth']
    assert [task.headline for task in TASKS.values()] == [
        'top1', 'bbox_mAP', 'mIoU', 'abs_rel',
    ]  # fmt: skip


def test_metrics_get_their_names_in_percent_and_others_are_left_out():
    logged = {'coco/bbox_mAP': 0.25, 'coco/segm_mAP': 0.5, 'coco/bbox_mAP_50': 0.75}
    assert TASKS['det'].agreed(logged) == {'bbox_mAP': 25, 'segm_mAP': 50}
    assert TASKS['seg'].agreed(logged) == {}


def test_a_task_is_found_by_its_library_and_where_that_serves_several_by_the_model(untouched):
    edges = replace(
        TASKS['seg'], key='edges', name='edges', model_types=('EdgeFinder',), place=4
    )
    register(edges)
    assert task_of('mmseg', {'type': 'EdgeFinder'}) is edges
    assert task_of('mmseg', {'type': 'mmseg.DepthEstimator'}) is TASKS['depth']
    assert task_of('mmseg', {'type': 'EncoderDecoder'}) is TASKS['seg']
    assert task_of('mmagic') is None
    assert task_named('edges') is edges
    student = {'type': 'EdgeFinder', '_scope_': 'mmseg'}
    distilled = Config(dict(model=dict(type='SpecificDistiller', student=student)))
    distilled.default_scope = 'mmseg'
    assert task_of_config(distilled) is edges


def test_a_key_is_taken_once(untouched):
    with pytest.raises(ValueError, match='cls'):
        register(replace(TASKS['cls'], title='Another'))
    assert register(TASKS['cls']) is TASKS['cls']


def test_best_weights_are_chosen_by_masks_before_boxes():
    order = tasks.best_by()
    assert order.index('coco/segm_mAP') < order.index('coco/bbox_mAP')


def test_best_weights_are_those_of_the_least_error(tmp_path):
    run = runner(tmp_path, Slope())
    assert best_by(run, {'rmse': 1.0, 'abs_rel': 0.1}) == ('abs_rel', False)
    assert best_by(run, {'mIoU': 40.0}) == ('mIoU', True)
    assert best_by(run, {'loss': 1.0}) is None


def test_plain_values_of_a_classifier_are_the_best_five():
    class Sample:
        pred_score = torch.tensor([0.1, 0.0, 0.3, 0.05, 0.25, 0.2, 0.1])

    scores = TASKS['cls'].plain(Sample(), ('a', 'b', 'c'), 0.3)['scores']
    assert list(scores) == ['c', 'class 4', 'class 5', 'a', 'class 6']


def test_a_score_that_is_the_threshold_is_in_every_file(tmp_path):
    masks = torch.eye(3, dtype=torch.bool)[:, None].expand(3, 3, 3)
    found = InstanceData(
        bboxes=torch.tensor([[0.0, 0, 3, 3]] * 3), labels=torch.zeros(3, dtype=torch.long),
        scores=torch.tensor([0.7, 0.9, 0.69]), masks=masks,
    )  # fmt: skip
    sample = SimpleNamespace(pred_instances=found, ori_shape=(3, 3))
    listed = TASKS['det'].plain(sample, ('a',), 0.7)['instances']
    file = TASKS['det'].files(sample, tmp_path / 'x', 0.7)['masks_file']
    assert [one['score'] for one in listed] == [0.7, 0.9]
    assert cv2.imread(str(tmp_path / file), cv2.IMREAD_UNCHANGED)[0].tolist() == [1, 2, 0]


def test_classes_of_one_name_keep_their_own_values():
    names = ('crane', 'heron', 'crane')
    scored = SimpleNamespace(pred_score=torch.tensor([0.6, 0.3, 0.1]))
    painted = SimpleNamespace(pred_sem_seg=SimpleNamespace(data=torch.tensor([[[0, 0, 0, 2]]])))
    first, last = 'crane (class 0)', 'crane (class 2)'
    assert TASKS['cls'].plain(scored, names, 0.3) == {
        'scores': {first: 0.6, 'heron': 0.3, last: 0.1}
    }
    assert TASKS['seg'].plain(painted, names, 0.3) == {'classes': {first: 0.75, last: 0.25}}


def test_a_classifier_of_two_branches_gives_the_logits_that_it_predicts_by():
    """Conformer's head gives those of both."""
    from mmpretrain.models.heads import ConformerHead

    torch.manual_seed(0)
    head = ConformerHead(num_classes=3, in_channels=[4, 5])
    both = [torch.randn(2, 4), torch.randn(2, 5)]
    model = SimpleNamespace(backbone=lambda images: (both,), head=head)
    logits = TASKS['cls'].whole(model)(torch.zeros(2, 3, 8, 8))
    predicted = torch.stack([sample.pred_score for sample in head.predict((both,))])
    torch.testing.assert_close(logits.softmax(dim=1), predicted)


def test_a_cascade_of_heads_gives_the_logits_that_it_predicts_by():
    import mmseg.models  # noqa: F401

    torch.manual_seed(0)
    head = dict(channels=4, num_classes=3, in_channels=16, in_index=1)
    ocr = dict(head, ocr_channels=4, norm_cfg=dict(type='BN'))
    model = MODELS.build(dict(
        _scope_='mmseg',
        type='CascadeEncoderDecoder',
        num_stages=2,
        backbone=dict(
            type='ResNet', depth=18, num_stages=2, strides=(1, 2), dilations=(1, 1),
            out_indices=(0, 1), stem_channels=8, base_channels=8,
        ),
        decode_head=[dict(head, type='FCNHead', num_convs=0, channels=16, concat_input=False),
                     dict(ocr, type='OCRHead')],
        test_cfg=dict(mode='whole'),
    )).eval()  # fmt: skip
    images = torch.randn(2, 3, 32, 48)
    with torch.no_grad():
        expected = model.encode_decode(images, [dict(img_shape=(32, 48))] * 2)
        assert expected.shape == (2, 3, 32, 48)
        torch.testing.assert_close(TASKS['seg'].whole(model)(images), expected)


def test_a_backbone_that_gives_one_map_is_followed_by_its_head():
    """DDRNet's and PIDNet's, where they do not train."""
    import mmseg.models  # noqa: F401

    torch.manual_seed(0)
    model = MODELS.build(dict(
        _scope_='mmseg',
        type='EncoderDecoder',
        backbone=dict(type='DDRNet', channels=4, ppm_channels=4, norm_cfg=dict(type='BN')),
        decode_head=dict(type='DDRHead', in_channels=16, channels=8, num_classes=3,
                         norm_cfg=dict(type='BN')),
        test_cfg=dict(mode='whole'),
    )).eval()  # fmt: skip
    images = torch.randn(2, 3, 64, 128)
    with torch.no_grad():
        expected = model.encode_decode(images, [dict(img_shape=(64, 128))] * 2)
        torch.testing.assert_close(TASKS['seg'].whole(model)(images), expected)
