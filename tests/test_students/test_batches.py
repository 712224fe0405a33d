"""Many pictures in batches: the same predictions as one by one, in order, in flat memory."""

from __future__ import annotations

import sys
import threading
import weakref

import cv2
import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from g2sd_mm.errors import UserError
from g2sd_mm.students import batches, load_student

from ..helpers.students import CONFIGS, student_folder

SIZES = [(64, 64), (64, 64), (48, 96), (64, 64), (96, 48), (48, 96), (64, 64), (50, 200)]


@pytest.fixture(scope='module')
def students(tmp_path_factory):
    root = tmp_path_factory.mktemp('students')
    return {task: load_student(student_folder(root / task, task)) for task in CONFIGS}


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp('photos')
    rng = np.random.default_rng(0)
    paths = []
    for number, size in enumerate(SIZES):
        small = rng.integers(0, 256, (5, 5, 3), dtype=np.uint8)
        paths.append(folder / f'{number}.png')
        cv2.imwrite(str(paths[-1]), cv2.resize(small, size[::-1]))
    return paths


@pytest.fixture
def lanes(monkeypatch):
    """Two threads, as on a machine with two cores; torch's own are let be, others use the cores."""
    monkeypatch.setattr(batches, 'lanes_of', lambda device: 2)


def close(one, other) -> bool:
    """Plain values that differ by rounding alone; floats are of 4 digits."""
    if isinstance(one, dict):
        return set(one) == set(other) and all(close(one[k], other[k]) for k in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(close, one, other))
    return one == pytest.approx(other, abs=2e-3) if isinstance(one, float) else one == other


def test_autocast_of_who_asks_counts_in_all_threads(students, photos, lanes):
    student = students['segmentation']
    with torch.autocast('cpu', torch.bfloat16):
        alone = [student.predict(path) for path in photos]
        together = student.predict(photos, batch_size=1)
    assert [result['classes'] for result in together] == [result['classes'] for result in alone]
    assert alone != [student.predict(path) for path in photos]


@pytest.mark.parametrize('several', [False, True])
def test_weights_of_16_bits_are_named_and_no_picture_is(tmp_path, photos, several):
    student = load_student(student_folder(tmp_path)).half()
    with pytest.raises(UserError, match=r'torch\.float16.*student\.float\(\)'):
        student.predict(photos if several else photos[0])
    assert student.float().predict(photos[0])['scores']


@pytest.mark.parametrize('task', CONFIGS)
def test_batches_predict_what_single_pictures_do(students, photos, task, lanes):
    student = students[task]
    together = student.predict(photos, 0.0, batch_size=None if task == 'classification' else 3)
    assert [result.pop('image') for result in together] == [str(path) for path in photos]
    for path, result in zip(photos, together, strict=True):
        alone = student.predict(path, 0.0)
        if task == 'detection':  # random heads are nowhere sure: compared where they are decided
            assert len(alone['instances']) == len(result['instances']) > 0
            for one, other in zip(alone['instances'], result['instances'], strict=True):
                assert one['class'] == other['class']
                assert one['score'] == pytest.approx(other['score'], abs=2e-3)
                assert one['box'] == pytest.approx(other['box'], abs=0.2)
        else:
            assert close(alone, result)


@pytest.mark.parametrize(
    ('device', 'side', 'images'),
    [('cpu', 56, 32), ('cpu', 128, 16), ('cpu', 64, 24), ('cpu', 224, 16), ('cpu', 1024, 2),
     ('cuda', 56, 64), ('cuda', 224, 41), ('cuda', 4096, 1)],
)  # fmt: skip
def test_a_batch_is_as_large_as_its_pictures_allow(students, device, side, images):
    lane = batches._Lane(students['classification'], None, None, device, None, None)
    assert lane.size_of((3, side, side)) == images


def test_pictures_of_a_batch_are_of_one_size(students, photos, monkeypatch):
    student, shapes = students['detection'], []
    run = student.run

    def watched(given):
        shapes.append({prepared['inputs'].shape for prepared in given})
        return run(given)

    monkeypatch.setattr(student, 'run', watched)
    student.predict(photos)
    assert all(len(batch) == 1 for batch in shapes)
    assert len(shapes) < len(photos)


def test_a_broken_picture_is_reported_and_the_others_go_on(students, photos, tmp_path):
    broken = tmp_path / 'broken.jpg'
    broken.write_bytes(b'no picture')
    student = students['classification']
    results = student.predict([photos[0], broken, photos[1], np.full((4, 4), np.nan)])
    assert [sorted(result) for result in results] == [
        ['image', 'scores'], ['error', 'image'], ['image', 'scores'], ['error', 'image']
    ]
    assert 'broken.jpg' in results[1]['error'] and 'image 3' in results[3]['error']
    with pytest.raises(UserError, match=r'broken\.jpg'):
        student.predict(broken)


def test_a_picture_that_is_too_narrow_for_the_network_is_reported(students, photos):
    narrow = np.zeros((20, 200, 3), np.uint8)
    results = students['segmentation'].predict([narrow, photos[0]])
    assert 'image 0: cannot be predicted' in results[0]['error']
    assert 'classes' in results[1]
    with pytest.raises(UserError, match='cannot be predicted'):
        students['segmentation'].predict(narrow)


@pytest.mark.parametrize('shape', [(3, 200, 3), (1, 200, 3)])
def test_a_picture_whose_tiles_are_too_narrow_is_reported(students, photos, shape):
    narrow = np.zeros(shape, np.uint8)
    results = students['segmentation'].predict([narrow, photos[0]], tile=64)
    assert [sorted(result) for result in results] == [['error', 'image'], ['classes', 'image']]
    with pytest.raises(UserError, match='cannot be predicted'):
        students['segmentation'].predict(narrow, tile=64)


def test_an_error_of_the_network_is_nobodys_picture(students, photos, monkeypatch):
    student = students['classification']
    monkeypatch.setattr(student, 'run', lambda given: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        student.predict(photos)


def test_memory_does_not_grow_with_the_number_of_pictures(students, lanes):
    alive, most, lock = 0, 0, threading.Lock()

    class Pixels(np.ndarray):
        pass

    def ended() -> None:
        nonlocal alive
        with lock:
            alive -= 1

    def pictures(number):
        nonlocal alive, most
        for _ in range(number):
            image = np.zeros((64, 64, 3), np.uint8).view(Pixels)
            weakref.finalize(image, ended)
            with lock:
                alive += 1
                most = max(most, alive)
            yield image
            del image

    stream = students['classification'].stream(pictures(600), batch_size=4)
    assert sum('scores' in result for result in stream) == 600
    assert most <= 16 * 4  # chunks of 16: two in work, one more waiting, one being made
    assert alive == 0


def test_memory_is_kept_of_the_cpu_whatever_device_is_the_default():
    made = []

    class Devices(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            tensor = func(*args, **(kwargs or {}))
            made.append(tensor.device.type)
            return tensor

    with torch.device('meta'), Devices():
        batches._keep_freed_memory()
    assert made == ['cpu']


def test_torchs_threads_are_shared_out_and_given_back(students, photos, monkeypatch):
    monkeypatch.setenv('OMP_NUM_THREADS', '4')
    before, seen = torch.get_num_threads(), set()
    torch.set_num_threads(4)
    for _ in students['classification'].stream(photos):
        seen.add(torch.get_num_threads())
    assert (seen, torch.get_num_threads()) == ({1}, 4)
    torch.set_num_threads(before)


def test_a_stream_that_is_left_ends_its_threads(students, lanes):
    before = threading.active_count()
    stream = students['classification'].stream([np.zeros((64, 64, 3), np.uint8)] * 200)
    next(stream)
    stream.close()
    assert threading.active_count() == before


def test_images_per_second_are_said(students, photos, capsys):
    students['classification'].predict(photos, progress=True)
    assert capsys.readouterr().out.startswith('8 images in ')
    students['classification'].predict(photos)
    assert capsys.readouterr().out == ''


def test_a_batch_has_a_picture(students, photos):
    with pytest.raises(UserError, match='batch_size is 0'):
        students['classification'].predict(photos, batch_size=0)


def test_python_takes_all_kinds(students, photos):
    """Files, bytes, arrays and tensors of one picture are predicted alike."""
    path = photos[0]
    pixels = cv2.imread(str(path))[..., ::-1].copy()
    many = [path, str(path), path.read_bytes(), pixels, torch.from_numpy(pixels).permute(2, 0, 1),
            pixels / 255.0]  # fmt: skip
    first, *others = (
        result['scores'] for result in students['classification'].predict(many)
    )
    assert all(other == first for other in others)
    assert sys.getrefcount(pixels) < 10
