"""A file answers as ``predict`` does, on 20 pictures that NumPy alone prepares."""

from __future__ import annotations

import itertools
import json
from functools import lru_cache
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import timm
import torch

from g2sd_mm.cli.export import export
from g2sd_mm.export import export_student
from g2sd_mm.export.formats import write_int8
from g2sd_mm.students import Student, load_student
from g2sd_mm.students.extract import extract_student

from ..helpers.pictures import picture
from ..helpers.students import boxes_alone, student_folder, varied

IMAGES = 20
NARROW = dict(_delete_=True, embed_dim=64, depth=2, num_heads=2, patch_size=8)
OPTIONS = {
    'classification': {},
    'detection': {'model.backbone.arch': NARROW, 'model.backbone.global_blocks': (1,)},
    'segmentation': {},
    # random gains of batch norms would make all depth nearly one
    'depth': {'model.decode_head.norm_cfg': None},
}


@lru_cache(maxsize=1)
def session_of(file: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(file), options)


def answers(file: Path, pixels: np.ndarray, **further) -> dict[str, np.ndarray]:
    """What a file says of a picture; everything that is needed to prepare it is in the file."""
    session = session_of(file)
    about = session.get_modelmeta().custom_metadata_map
    mean, std, size = (json.loads(about[key]) for key in ('mean', 'std', 'size'))
    images = np.zeros((1, 3, *size), np.float32)
    height, width = pixels.shape[:2]
    images[0, :, :height, :width] = ((pixels - mean) / std).transpose(2, 0, 1)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {'images': images, **further}), strict=True))


def exported(folder: Path, task: str) -> tuple[Student, Path]:
    student = load_student(student_folder(folder, task, **OPTIONS[task]))
    return student, export_student(student, folder / 'student.onnx').path


def test_classification(tmp_path):
    student, file = exported(tmp_path, 'classification')
    said = set()
    for seed in range(IMAGES):
        pixels = picture(64, 64, seed)
        logits = torch.from_numpy(answers(file, middle(pixels))['logits'][0])
        scores = dict(zip(student.classes, logits.softmax(0).tolist(), strict=True))
        predicted = student.predict(pixels)['scores']
        assert predicted == pytest.approx({k: scores[k] for k in predicted}, abs=1e-4)
        said.add(round(max(scores.values()), 3))
    assert len(said) > 1


def middle(pixels: np.ndarray) -> np.ndarray:
    """56 of 64 pixels, as the demo's test pipeline crops."""
    return pixels[4:60, 4:60]


@pytest.mark.slow
def test_segmentation(tmp_path):
    student, file = exported(tmp_path, 'segmentation')
    for seed in range(IMAGES):
        pixels = picture(128, 128, seed)
        logits, count = np.zeros((11, 128, 128)), np.zeros((128, 128))
        for top, left in itertools.product((0, 42, 64), repeat=2):  # crops of 64 in steps of 42
            place = np.s_[top : top + 64, left : left + 64]
            logits[(slice(None), *place)] += answers(file, pixels[place])['logits'][0]
            count[place] += 1
        logits /= count
        sample = student.sample(pixels)
        there = sample.seg_logits.data.numpy()
        np.testing.assert_allclose(logits, there, rtol=0, atol=1e-4 * abs(there).max())
        second, first = np.sort(logits, axis=0)[-2:]
        sure = first - second > 2e-4 * abs(there).max()
        labels = sample.pred_sem_seg.data[0].numpy()
        assert sure.mean() > 0.95 and len(np.unique(labels)) > 1
        assert (logits.argmax(0) == labels)[sure].all()
    crop = pixels[:64, :64]
    exact, rough = (answers(one, crop)['logits'] for one in (file, int8_of(file)))
    assert 0 < abs(rough - exact).mean() < 0.2 * abs(exact).max()


@pytest.mark.slow
def test_depth(tmp_path):
    student, file = exported(tmp_path, 'depth')
    for seed in range(IMAGES):
        pixels = picture(128, 128, seed)
        there = student.sample(pixels).pred_depth_map.data.numpy()
        np.testing.assert_allclose(answers(file, pixels)['depth'][0], there, rtol=1e-4)
        assert there.max() > 1.1 * there.min()
    rough = answers(int8_of(file), pixels)['depth'][0]
    assert 0 < abs(rough - there).mean() < 0.2 * there.mean()


def paste(mask: np.ndarray, box: np.ndarray, height: int, width: int) -> np.ndarray:
    """Probabilities [h, w] on a grid over a box, at the pixels of a picture, bilinearly."""

    def weights(low, high, pixels, cells):
        place = (np.arange(pixels) + 0.5 - low) / (high - low) * cells - 0.5
        return np.maximum(0, 1 - abs(place[:, None] - np.arange(cells)))

    left, top, right, bottom = box
    down = weights(top, bottom, height, mask.shape[0])
    return down @ mask @ weights(left, right, width, mask.shape[1]).T


def same_detections(student: Student, file: Path) -> int:
    number = 0
    sizes = [(128, 128), (96, 128), (128, 70)]  # a long side of 128: nothing is resized
    for seed in range(IMAGES):
        height, width = sizes[seed % 3]
        pixels = picture(height, width, seed)
        there = student.sample(pixels).pred_instances
        got = answers(
            file, pixels, size=np.array([height, width], np.float32),
            threshold=np.array([student.model.roi_head.test_cfg.score_thr], np.float32),
        )  # fmt: skip
        number += len(there)
        assert got['labels'].tolist() == there.labels.tolist()
        np.testing.assert_allclose(got['scores'], there.scores.numpy(), rtol=0, atol=1e-4)
        np.testing.assert_allclose(got['boxes'], there.bboxes.numpy(), rtol=0, atol=128e-4)
        plain = student.predict(pixels, threshold=0)['instances']
        assert [entry['class'] for entry in plain] == [student.classes[i] for i in got['labels']]
        for i, mask in enumerate(got.get('masks', ())):
            probability = paste(mask, got['boxes'][i], height, width)
            sure = abs(probability - 0.5) > 1e-3
            assert ((probability >= 0.5) == there.masks[i].numpy())[sure].all()
    return number


@pytest.mark.slow
def test_detection_with_masks(tmp_path):
    folder = student_folder(tmp_path, 'detection', **OPTIONS['detection'])
    student = varied(load_student(folder))
    done = export_student(student, tmp_path / 'student.onnx')
    assert (done.part, done.left_out) == ('detector', None)
    assert same_detections(student, done.path) > 10 * IMAGES
    described = json.loads(done.sidecar.read_text())
    assert described['check']['images'] == 20 and described['check']['detections'] == 600
    assert [out['name'] for out in described['outputs']] == ['boxes', 'scores', 'labels', 'masks']
    assert described['further_inputs']['threshold']['usual'] == pytest.approx([0.05])
    size, least = np.array([128, 128], np.float32), np.array([0.0], np.float32)
    got = answers(int8_of(done.path), picture(128, 128), size=size, threshold=least)
    assert len(got['boxes']) == 30 and got['masks'].shape == (30, 28, 28)


def int8_of(file: Path) -> Path:
    """Eight bits for a weight of a matrix product: the same file with nearly the same numbers."""
    smaller = file.with_name('int8.onnx')
    write_int8(file, smaller)
    assert smaller.stat().st_size < 0.8 * file.stat().st_size
    return smaller


@pytest.mark.slow
def test_boxes_alone(tmp_path):
    student = varied(load_student(boxes_alone(tmp_path, **OPTIONS['detection'])))
    done = export_student(student, tmp_path / 'student.onnx')
    assert same_detections(student, done.path) > 10 * IMAGES


@pytest.mark.slow
def test_raw_outputs(tmp_path):
    folder = student_folder(tmp_path, 'detection', **OPTIONS['detection'])
    student = varied(load_student(folder))
    done = export_student(student, tmp_path / 'student.onnx', part='raw')
    pixels = picture(128, 128)
    got = answers(done.path, pixels, size=np.array([128, 128], np.float32))
    assert {name: value.shape for name, value in got.items()} == {
        'boxes': (100, 10, 4), 'scores': (100, 10)
    }  # fmt: skip
    best = student.sample(pixels).pred_instances[0]
    place = np.unravel_index(got['scores'].argmax(), (100, 10))
    assert place[1] == best.labels.item()
    np.testing.assert_allclose(got['boxes'][place], best.bboxes[0].numpy(), rtol=0, atol=128e-4)


def test_timm_files(tmp_path):
    """What ``checkpoint.py extract --layout timm`` writes, in timm's own network."""
    folder = student_folder(tmp_path, 'classification')
    student = load_student(folder)
    file = tmp_path / 'timm' / 'student.safetensors'
    extract_student(folder / 'weights.pth', file, layout='timm')
    network = timm.create_model(
        'deit_tiny_distilled_patch16_224', img_size=56, patch_size=8, embed_dim=64, depth=4,
        num_heads=2, num_classes=10, checkpoint_path=str(file),
    ).eval()  # fmt: skip
    mean, std = torch.tensor(student.mean), torch.tensor(student.std)
    for seed in range(IMAGES):
        pixels = picture(64, 64, seed)
        images = ((torch.from_numpy(middle(pixels)) - mean) / std).permute(2, 0, 1)[None]
        with torch.no_grad():
            scores = network(images).softmax(1)[0].tolist()
        named = dict(zip(student.classes, scores, strict=True))
        predicted = student.predict(pixels)['scores']
        assert predicted == pytest.approx({k: named[k] for k in predicted}, abs=1e-4)


def test_size_names_mean_and_std_travel_in_the_file(tmp_path):
    folder = student_folder(tmp_path, 'classification')
    for file in export(str(folder), int8=True):
        about = onnxruntime.InferenceSession(str(file)).get_modelmeta().custom_metadata_map
        known = {key: json.loads(about[key]) for key in ('task', 'part', 'size', 'classes', 'std')}
        student = load_student(folder)
        assert known == {
            'task': 'classification', 'part': 'classifier', 'size': [56, 56],
            'classes': list(student.classes), 'std': list(student.std),
        }  # fmt: skip
