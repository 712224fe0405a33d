"""The fallback for mmcv's compiled ops, called through ``mmcv.ops`` as the task libraries do."""

import importlib
import subprocess
import sys

import numpy as np
import pytest
import torch
from torchvision import ops as vision

from g2sd_mm.compat import mmcv_ops


@pytest.fixture(scope='module')
def ops():
    mmcv_ops.install()
    module = importlib.import_module('mmcv.ops')
    if not isinstance(sys.modules[mmcv_ops.EXTENSION], mmcv_ops._Extension):
        pytest.skip('a compiled mmcv is installed, and it wins')
    return module


def random_boxes(count, size=100.0):
    corner = torch.rand(count, 2) * size
    return torch.cat([corner, corner + torch.rand(count, 2) * size / 3 + 1], dim=1)


def random_rois(count, size=80.0):
    return torch.cat([torch.randint(0, 2, (count, 1)).float(), random_boxes(count, size)], dim=1)


def plain_iou(a, b, offset=0):
    """IoU of two boxes as sequences of numbers, written out."""
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]) + offset)
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]) + offset)
    areas = [(x[2] - x[0] + offset) * (x[3] - x[1] + offset) for x in (a, b)]
    return width * height / (sum(areas) - width * height)


# The finder -------------------------------------------------------------------------------------


def test_install_adds_one_finder_at_the_end():
    mmcv_ops.install()
    mmcv_ops.install()
    assert sys.meta_path.count(mmcv_ops._finder) == 1


def test_a_compiled_extension_wins(tmp_path):
    (tmp_path / 'mmcv').mkdir()
    (tmp_path / 'mmcv' / '__init__.py').write_text('')
    (tmp_path / 'mmcv' / '_ext.py').write_text('nms = "compiled"')
    script = (
        'import sys; from g2sd_mm.compat import mmcv_ops; mmcv_ops.install();'
        f'sys.path.insert(0, {str(tmp_path)!r});'
        'import mmcv._ext; print(mmcv._ext.nms, "torch" in sys.modules)'
    )
    run = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ['compiled', 'False']


def test_mmengine_sees_the_extension(ops):
    from mmengine.utils.dl_utils.misc import mmcv_full_available

    assert mmcv_full_available()


def test_missing_op_is_importable_and_names_itself_when_called(ops):
    with pytest.raises(RuntimeError, match=r'nms_rotated needs the compiled ops of mmcv'):
        ops.nms_rotated(torch.rand(3, 5), torch.rand(3), 0.5)
    with pytest.raises(RuntimeError, match=r'roi_pool_forward needs the compiled ops of mmcv'):
        ops.roi_pool(torch.rand(1, 2, 4, 4), random_rois(3), (2, 2), 1.0)


def test_extension_does_not_pretend_to_dunder_names(ops):
    assert not hasattr(sys.modules['mmcv._ext'], '__path__')


# Boxes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize('count', [0, 1, 50, 1000])
@pytest.mark.parametrize('threshold', [0.1, 0.5, 0.7])
def test_nms_is_torchvisions(ops, count, threshold):
    boxes, scores = random_boxes(count), torch.rand(count)
    dets, kept = ops.nms(boxes, scores, threshold)
    assert torch.equal(kept, vision.nms(boxes, scores, threshold))
    assert torch.equal(dets, torch.cat([boxes[kept], scores[kept, None]], dim=1))


@pytest.mark.parametrize('offset', [0, 1])
def test_nms_offset_against_brute_force(ops, offset):
    boxes, scores = random_boxes(60, 30), torch.rand(60)
    waiting, expected = scores.argsort(descending=True).tolist(), []
    while waiting:
        best = waiting.pop(0)
        expected.append(best)
        waiting = [
            i for i in waiting if plain_iou(boxes[best].tolist(), boxes[i].tolist(), offset) <= 0.3
        ]
    assert ops.nms(boxes, scores, 0.3, offset=offset)[1].tolist() == expected


def test_nms_filters_converts_and_takes_any_dtype(ops):
    boxes, scores = random_boxes(60, 30), torch.rand(60)
    _, kept = ops.nms(boxes, scores, 0.3, score_threshold=0.5, max_num=5)
    assert len(kept) <= 5 and (scores[kept] > 0.5).all()
    assert isinstance(ops.nms(boxes.numpy(), scores.numpy(), 0.3)[0], np.ndarray)
    for dtype in (torch.bfloat16, torch.float16, torch.float64):
        rounded = boxes.to(dtype), scores.to(dtype)
        expected = vision.nms(*(x.float() for x in rounded), 0.3)
        assert torch.equal(ops.nms(*rounded, 0.3)[1], expected)


@pytest.mark.parametrize('split', [10000, 500])
def test_batched_nms_keeps_what_torchvision_keeps(ops, split):
    boxes, scores, classes = random_boxes(1500), torch.rand(1500), torch.randint(0, 5, (1500,))
    settings = dict(type='nms', iou_threshold=0.5, split_thr=split)
    _, kept = ops.batched_nms(boxes, scores, classes, settings)
    assert set(kept.tolist()) == set(vision.batched_nms(boxes, scores, classes, 0.5).tolist())


def test_batched_nms_without_classes(ops):
    boxes, scores, classes = random_boxes(200), torch.rand(200), torch.randint(0, 5, (200,))
    settings = dict(type='nms', iou_threshold=0.5)
    _, kept = ops.batched_nms(boxes, scores, classes, settings, class_agnostic=True)
    assert set(kept.tolist()) == set(vision.nms(boxes, scores, 0.5).tolist())


def plain_soft_nms(boxes, scores, threshold, sigma, min_score, method, offset):
    """Soft-NMS over Python numbers; returns the kept (index, decayed score) pairs."""
    waiting, kept = dict(enumerate(scores)), []
    while waiting:
        best = max(waiting, key=waiting.get)
        kept.append((best, waiting.pop(best)))
        for i, score in list(waiting.items()):
            iou = plain_iou(boxes[best], boxes[i], offset)
            decay = {
                'naive': float(iou < threshold),
                'linear': 1 - iou if iou >= threshold else 1.0,
                'gaussian': float(np.exp(-iou * iou / sigma)),
            }[method]
            waiting[i] = score * decay
            if waiting[i] < min_score:
                del waiting[i]
    return kept


@pytest.mark.parametrize('method', ['naive', 'linear', 'gaussian'])
@pytest.mark.parametrize('offset', [0, 1])
def test_soft_nms_against_plain_python(ops, method, offset):
    boxes, scores = random_boxes(80, 40), torch.rand(80)
    dets, kept = ops.soft_nms(boxes, scores, 0.3, 0.5, 1e-2, method, offset)
    expected = plain_soft_nms(
        boxes.tolist(), scores.tolist(), 0.3, 0.5, 1e-2, method=method, offset=offset
    )
    assert kept.tolist() == [index for index, _ in expected]
    assert dets[:, 4].tolist() == pytest.approx([score for _, score in expected], abs=1e-5)
    assert torch.equal(dets[:, :4], boxes[kept])


def test_soft_nms_of_nothing(ops):
    dets, kept = ops.soft_nms(torch.empty(0, 4), torch.empty(0))
    assert dets.shape == (0, 5) and kept.shape == (0,)


def test_nms_match_against_brute_force(ops):
    boxes, scores = random_boxes(80, 40), torch.rand(80)
    groups = [g.tolist() for g in ops.nms_match(torch.cat([boxes, scores[:, None]], 1), 0.3)]
    waiting, expected = scores.argsort(descending=True).tolist(), []
    while waiting:
        best = boxes[waiting[0]].tolist()
        group = [waiting[0]] + [i for i in waiting[1:] if plain_iou(best, boxes[i].tolist()) >= 0.3]
        waiting = [i for i in waiting if i not in group]
        expected.append(group)
    assert groups == expected


def test_overlaps_of_boxes_are_torchvisions(ops):
    kernel = sys.modules['mmcv._ext'].bbox_overlaps
    first, second = random_boxes(10), random_boxes(12)
    expected = vision.box_iou(first, second)

    def overlaps(a, b, mode, aligned, offset):
        out = a.new_zeros(len(a)) if aligned else a.new_zeros(len(a), len(b))
        kernel(a, b, out, mode=mode, aligned=aligned, offset=offset)
        return out

    assert torch.allclose(overlaps(first, second, 0, False, 0), expected, atol=1e-6)
    paired = overlaps(first, second[:10], 0, True, 0)
    assert torch.allclose(paired, expected[:, :10].diag(), atol=1e-6)
    for mode, name in enumerate(('iou', 'iof')):
        # On the CPU mmcv takes a path of its own, which serves as the reference here.
        reference = ops.bbox_overlaps(first, second, name, offset=1)
        assert torch.allclose(overlaps(first, second, mode, False, 1), reference, atol=1e-6)


# Regions of interest ----------------------------------------------------------------------------


@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('sampling', [0, 2])
@pytest.mark.parametrize('size', [7, (3, 5)])
def test_roi_align_is_torchvisions(ops, aligned, sampling, size):
    features, rois = torch.randn(2, 8, 20, 24), random_rois(30)
    ours, theirs = (features.clone().requires_grad_() for _ in range(2))
    pooled = ops.roi_align(ours, rois, size, 0.25, sampling, 'avg', aligned)
    expected = vision.roi_align(theirs, rois, size, 0.25, sampling, aligned)
    assert torch.equal(pooled, expected)
    gradient = torch.randn_like(pooled)
    pooled.backward(gradient)
    expected.backward(gradient)
    assert torch.equal(ours.grad, theirs.grad)


def test_roi_align_gradcheck(ops):
    features = torch.randn(2, 2, 6, 7, dtype=torch.float64, requires_grad=True)
    rois = random_rois(5, 20).double()
    assert torch.autograd.gradcheck(
        lambda x: ops.roi_align(x, rois, (2, 3), 0.25, 2, 'avg', True), (features,)
    )


def test_roi_align_without_rois(ops):
    features = torch.randn(2, 8, 20, 24, requires_grad=True)
    pooled = ops.RoIAlign(7, 0.25, 0)(features, torch.empty(0, 5))
    assert pooled.shape == (0, 8, 7, 7)
    pooled.sum().backward()
    assert not features.grad.any()


def test_roi_align_in_bfloat16_rounds_the_result_only(ops):
    features = torch.randn(2, 8, 20, 24).bfloat16().requires_grad_()
    rois = random_rois(30).bfloat16()
    pooled = ops.roi_align(features, rois, 7, 0.25, 0, 'avg', True)
    expected = vision.roi_align(features.float(), rois.float(), 7, 0.25, 0, True)
    assert pooled.dtype == torch.bfloat16
    assert torch.equal(pooled, expected.bfloat16())
    pooled.sum().backward()
    assert features.grad.dtype == torch.bfloat16


def test_roi_align_refuses_max_pooling(ops):
    with pytest.raises(RuntimeError, match=r"pool_mode='max' needs the compiled ops"):
        ops.roi_align(torch.randn(2, 8, 20, 24), random_rois(3), 7, 0.25, 0, 'max', True)


# Losses, convolutions, attention ------------------------------------------------------------------


def test_focal_loss_is_torchvisions(ops):
    logits = torch.randn(50, 7, requires_grad=True)
    target = torch.randint(0, 8, (50,))  # class 7 is the background
    hot = torch.nn.functional.one_hot(target, 8)[:, :7].float()
    (by_ours,) = torch.autograd.grad(
        ours := ops.sigmoid_focal_loss(logits, target, 2.0, 0.25, None, 'sum'), logits
    )
    (by_theirs,) = torch.autograd.grad(
        theirs := vision.sigmoid_focal_loss(logits, hot, 0.25, 2.0, 'sum'), logits
    )
    assert torch.allclose(ours, theirs, rtol=1e-5)
    assert torch.allclose(by_ours, by_theirs, atol=1e-5)


def test_focal_loss_weights_rows_and_background_counts_once(ops):
    logits, target = torch.randn(50, 7), torch.randint(0, 8, (50,))
    weight = torch.rand(7)
    weighted = ops.sigmoid_focal_loss(logits, target, 2.0, 0.25, weight, 'none')
    unweighted = ops.sigmoid_focal_loss(logits, target, 2.0, 0.25, None, 'none')
    row_weight = torch.cat([weight, torch.ones(1)])[target]
    assert torch.allclose(weighted, unweighted * row_weight[:, None], atol=1e-6)


@pytest.mark.parametrize('groups', [1, 2])
def test_deformable_convolutions_are_torchvisions(ops, groups):
    def leaf(*shape):
        return torch.randn(*shape, dtype=torch.float64, requires_grad=True)

    x, weight, bias = leaf(2, 4, 9, 9), leaf(6, 4 // groups, 3, 3), leaf(6)
    offset, mask = leaf(2, 18 * groups, 5, 5), leaf(2, 9 * groups, 5, 5)

    def assert_same(ours, theirs, inputs):
        assert torch.allclose(ours, theirs)
        gradient = torch.randn_like(ours)
        pairs = zip(
            torch.autograd.grad(ours, inputs, gradient),
            torch.autograd.grad(theirs, inputs, gradient),
            strict=True,
        )
        assert all(torch.allclose(a, b) for a, b in pairs)

    assert_same(
        ops.deform_conv2d(x, offset, weight, 2, 1, 1, groups, groups),
        vision.deform_conv2d(x, offset, weight, None, 2, 1, 1),
        (x, offset, weight),
    )
    assert_same(
        ops.modulated_deform_conv2d(x, offset, mask, weight, bias, 2, 1, 1, groups, groups),
        vision.deform_conv2d(x, offset, weight, bias, 2, 1, 1, mask),
        (x, offset, mask, weight, bias),
    )
    assert_same(
        ops.modulated_deform_conv2d(x, offset, mask, weight, None, 2, 1, 1, groups, groups),
        vision.deform_conv2d(x, offset, weight, None, 2, 1, 1, mask),
        (x, offset, mask, weight),
    )


def test_offsets_of_a_larger_map_are_read_as_mmcvs_kernel_reads_its_pointers(ops):
    x, weight = torch.randn(2, 1, 6, 8), torch.ones(1, 1, 1, 1)
    offset, mask = torch.randint(0, 2, (2, 2, 6, 8)).float(), torch.rand(2, 1, 6, 8)
    height, width = 3, 4
    found = ops.modulated_deform_conv2d(x, offset, mask, weight, None, 2, 0, 1, 1, 1)
    assert found.shape == (2, 1, height, width)
    for b in range(2):
        shifts, factors = offset[b].flatten(), mask[b].flatten()
        for row in range(height):
            for column in range(width):
                place = row * width + column
                y = 2 * row + int(shifts[place])
                z = 2 * column + int(shifts[height * width + place])
                assert torch.isclose(found[b, 0, row, column], x[b, 0, y, z] * factors[place])


def test_multi_scale_attention_is_mmcvs_own(ops):
    module = importlib.import_module('mmcv.ops.multi_scale_deform_attn')
    shapes, starts = torch.tensor([[4, 5], [2, 3]]), torch.tensor([0, 20])
    value = torch.rand(1, 26, 2, 4, requires_grad=True)
    locations = torch.rand(1, 3, 2, 2, 4, 2, requires_grad=True)
    weights = torch.rand(1, 3, 2, 2, 4, requires_grad=True)
    ours = module.MultiScaleDeformableAttnFunction.apply(
        value, shapes, starts, locations, weights, 64
    )
    theirs = module.multi_scale_deformable_attn_pytorch(value, shapes, locations, weights)
    assert torch.allclose(ours, theirs)
    inputs = (value, locations, weights)
    gradients = (torch.autograd.grad(out.sum(), inputs) for out in (ours, theirs))
    assert all(torch.allclose(a, b) for a, b in zip(*gradients, strict=True))
