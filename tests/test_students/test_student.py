"""Predictions from Python are those of the commands, from files and from pixels."""

from __future__ import annotations

import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import cv2
import numpy as np
import pytest
import tifffile
import torch
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import DefaultScope
from PIL import Image
from torch import nn

import g2sd_mm
from g2sd_mm.checkpoints.record import restore
from g2sd_mm.errors import UserError
from g2sd_mm.export import export_student
from g2sd_mm.students import Student, as_timm, load_student
from g2sd_mm.students.images import shown

from ..helpers.odd_images import rotated
from ..helpers.students import CLASSES, CONFIGS, student_folder
from ..helpers.toys import ROOT, config, refused


@pytest.fixture(scope='module')
def students(tmp_path_factory):
    root = tmp_path_factory.mktemp('students')
    return {task: load_student(student_folder(root / task, task)) for task in CONFIGS}


@pytest.fixture(scope='module')
def photo(tmp_path_factory):
    pixels = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    path = tmp_path_factory.mktemp('photos') / 'photo.png'
    cv2.imwrite(str(path), pixels[..., ::-1])
    return path, pixels


def test_a_classifier_predicts_probabilities_by_name(students, photo):
    scores = students['classification'].predict(photo[0])['scores']
    assert len(scores) == 5
    assert set(scores) <= set(CLASSES)
    assert list(scores.values()) == sorted(scores.values(), reverse=True)


def test_a_detector_predicts_boxes(students, photo):
    student = students['detection']
    every = student.predict(photo[0], threshold=0.0)['instances']
    assert len(every) == len(student.sample(photo[0]).pred_instances) > 0
    assert set(every[0]) == {'class', 'score', 'box', 'mask'}
    level = sorted(found['score'] for found in every)[len(every) // 2]
    some = student.predict(photo[0], threshold=level)['instances']
    assert 0 < len(some) < len(every)
    assert all(found['score'] >= level for found in some)


@pytest.mark.parametrize('threshold', [30, 1.01, float('nan')])
def test_a_threshold_that_no_box_reaches_is_refused(students, photo, threshold):
    for source in (photo[0], [photo[0]]):
        with pytest.raises(UserError, match='threshold'):
            students['detection'].predict(source, threshold)


def test_a_segmentor_predicts_shares_of_the_pixels(students, photo):
    shares = students['segmentation'].predict(photo[0])['classes']
    assert set(shares) <= set(CLASSES)
    assert sum(shares.values()) == pytest.approx(1, abs=1e-3)
    assert students['segmentation'].sample(photo[0]).pred_sem_seg.data.shape == (1, 128, 128)


@pytest.mark.parametrize('task', CONFIGS)
def test_pixels_and_the_file_predict_the_same(students, photo, task):
    path, pixels = photo
    assert students[task].predict(pixels, 0.0) == students[task].predict(path, 0.0)
    assert students[task].predict(pixels[..., ::-1], 0.0) != students[task].predict(path, 0.0)


def test_images_are_prepared_as_the_config_tests_them(students, photo):
    """The short side becomes 64 px, of which a crop of 56 px is taken; normalised, RGB."""
    path, pixels = photo
    pixels = np.asarray(Image.fromarray(pixels).resize((64, 64), Image.Resampling.BICUBIC))
    student = students['classification']
    crop = torch.tensor(pixels[4:60, 4:60].copy()).permute(2, 0, 1).unsqueeze(0).float()
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (student.mean, student.std))
    with torch.no_grad():
        expected = student((crop - mean) / std).softmax(1)[0]
    torch.testing.assert_close(student.sample(path).pred_score, expected)


def test_a_pipeline_that_reads_floats_is_given_floats(tmp_path, photo, monkeypatch):
    pipeline = config(CONFIGS['classification']).test_dataloader.dataset.pipeline
    pipeline[0].to_float32 = True
    pipeline[1].backend = 'cv2'  # Pillow takes no floats
    folder = student_folder(tmp_path, **{'test_dataloader.dataset.pipeline': pipeline})
    student = load_student(folder)
    fed = []
    preprocessor = student.model.data_preprocessor
    forward = preprocessor.forward
    monkeypatch.setattr(
        preprocessor, 'forward', lambda data, training: fed.append(data) or forward(data, training)
    )
    student.sample(photo[1])
    assert fed[0]['inputs'][0].dtype == torch.float32


def test_the_function_takes_a_student_or_its_folder(students, tmp_path, photo):
    folder = student_folder(tmp_path)
    expected = students['classification'].predict(photo[0])
    assert g2sd_mm.predict(students['classification'], photo[0]) == expected
    assert g2sd_mm.predict(folder, photo[0]) == expected


def test_bad_files_are_named(students, tmp_path):
    with pytest.raises(UserError, match=r'no image file .*nowhere\.jpg'):
        students['classification'].predict(tmp_path / 'nowhere.jpg')
    (tmp_path / 'broken.jpg').write_bytes(b'not a picture')
    with pytest.raises(UserError, match=r'broken\.jpg is not an image'):
        students['classification'].predict(tmp_path / 'broken.jpg')


def test_a_student_is_a_module_like_any_other(students):
    student = students['classification']
    assert isinstance(student, nn.Module)
    parameters = list(student.parameters())
    assert len(parameters) == len({id(p) for p in parameters}) == len(
        list(student.model.parameters())
    )


def test_images_follow_a_student_to_its_device(tmp_path):
    student = load_student(student_folder(tmp_path)).to('meta')
    assert student.model.data_preprocessor.device.type == 'meta'


def test_a_student_without_a_test_pipeline_says_so(tmp_path, photo):
    folder = student_folder(tmp_path, **{'test_dataloader.dataset.pipeline': []})
    with pytest.raises(UserError, match='has no test pipeline to prepare images with'):
        load_student(folder).predict(photo[0])


def test_importing_the_package_is_light():
    code = (
        'import sys, g2sd_mm; g2sd_mm.load_student, g2sd_mm.as_timm, g2sd_mm.predict;'
        "print({'torch', 'mmengine', 'mmcv', 'timm', 'numpy', 'cv2'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == 'set()'


CHANNELS = 4


@pytest.fixture(scope='module')
def student(tmp_path_factory) -> Student:
    """For images of 32 x 64 pixels and four channels."""
    load = dict(
        type='LoadImageFromFile', color_type='unchanged', imdecode_backend='tifffile'
    )
    folder = student_folder(tmp_path_factory.mktemp('student'), **{
        'model.backbone.img_size': (32, 64),
        'model.backbone.in_channels': CHANNELS,
        'data_preprocessor.mean': [10.0] * CHANNELS,
        'data_preprocessor.std': [20.0] * CHANNELS,
        'data_preprocessor.to_rgb': False,
        'test_dataloader.dataset.pipeline': [
            load, dict(type='Resize', scale=(64, 32)), dict(type='PackInputs')
        ],
    })  # fmt: skip
    return load_student(folder)


def pixels(channels: int = CHANNELS) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (40, 80, channels), np.uint8)


def write(path, image: np.ndarray) -> str:
    planes = 'contig' if image.shape[2] > 1 else None
    tifffile.imwrite(path, image.squeeze(2) if planes is None else image,
                     photometric='minisblack', planarconfig=planes)
    return str(path)


def test_a_file_and_its_pixels_are_predicted_alike(student, tmp_path):
    path = write(tmp_path / 'x.tif', pixels())
    assert (student.image_size, student.in_channels) == ((32, 64), CHANNELS)
    from_file, from_pixels = student.sample(path), student.sample(pixels())
    assert torch.equal(from_file.pred_score, from_pixels.pred_score)
    # in the order of the file: no channel is taken for red
    assert not torch.equal(
        student.sample(pixels()[..., [2, 1, 0, 3]].copy()).pred_score, from_file.pred_score
    )


@pytest.mark.parametrize('channels', [1, 3, 5])
def test_images_of_other_channels_are_refused(student, channels, tmp_path):
    path = write(tmp_path / 'x.tif', pixels(channels))
    with refused('images of 4 channels', path):
        student.predict(path)
    with refused('images of 4 channels', 'this array'):
        student.predict(pixels(channels))


@pytest.mark.parametrize('shape', [(), (4,)])
def test_numbers_that_are_no_image_are_refused(student, shape):
    with refused('images of 4 channels', f'this array is {list(shape)}'):
        student.predict(torch.zeros(shape))


def test_what_is_no_image_of_that_kind_is_told(student, tmp_path):
    file = tmp_path / 'x.tif'
    file.write_bytes(b'no image')
    with pytest.raises(UserError, match=r'x\.tif'):
        student.predict(file)


def test_a_picture_shows_the_first_three_channels_or_one(student, tmp_path):
    path = write(tmp_path / 'x.tif', pixels())
    assert np.array_equal(student.picture(path), pixels()[..., :3])
    grey = shown(pixels()[..., 0])
    assert all(np.array_equal(grey[..., i], pixels()[..., 0]) for i in range(3))
    wide = shown(pixels().astype(np.uint16) * 200)
    assert (wide.dtype, wide.min(), wide.max()) == (np.uint8, 0, 255)
    assert shown(np.zeros((2, 2, 2), np.float32)).max() == 0


def test_an_exported_file_takes_those_images(student, tmp_path):
    done = export_student(student, tmp_path / 'x.ts', to='torchscript')
    network = torch.jit.load(done.path)
    images = torch.randn(3, CHANNELS, 32, 64)
    assert torch.allclose(network(images), student(images), atol=1e-4)


def test_timm_takes_those_images(student):
    images = torch.randn(2, CHANNELS, 32, 64)
    model = as_timm(student)
    assert model.pretrained_cfg['input_size'] == (CHANNELS, 32, 64)
    with torch.no_grad():
        logits = model(images)
    assert torch.allclose(logits.softmax(-1), student(images).softmax(-1), atol=1e-4)


@pytest.mark.parametrize(
    'size', [(64, 64), (64, 90), (90, 64), (65, 64), (64, 65), (63, 80), (200, 128)]
)
def test_an_image_that_fits_is_prepared_as_if_it_were_resized(students, size):
    student = students['classification']
    _, *steps = restore(student.network['test_pipeline'])
    assert steps[0]['type'] == 'ResizeEdge' and steps[0]['scale'] == 64
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        wanted = Compose(steps)(student.load(pixels))
        got = student.prepare(student.load(pixels))
    assert torch.equal(got['inputs'], wanted['inputs'])
    assert got['data_samples'].metainfo == wanted['data_samples'].metainfo


# Threads ------------------------------------------------------------------------------------------

def test_students_of_several_libraries_are_loaded_and_asked_by_threads(tmp_path, photo):
    tasks = ('classification', 'segmentation')
    folders = [student_folder(tmp_path / task, task) for task in tasks]
    expected = [load_student(folder).predict(photo[0]) for folder in folders]
    scope = DefaultScope.get_current_instance()
    together = Barrier(len(folders), timeout=10)

    def ask(folder):
        together.wait()
        student = load_student(folder)
        together.wait()
        return student.predict(photo[0])

    with ThreadPoolExecutor(len(folders)) as threads:
        assert list(threads.map(ask, folders)) == expected
    assert DefaultScope.get_current_instance() is scope


def test_students_of_two_libraries_predict_by_turns(students, photo):
    scope = DefaultScope.get_current_instance()
    streams = [students[task].stream([photo[0]] * 3) for task in ('detection', 'segmentation')]
    assert len([*zip(*streams, strict=True)]) == 3
    assert DefaultScope.get_current_instance() is scope


# Readers of files ---------------------------------------------------------------------------------

TURNED = dict(color_type='color_ignore_orientation')
SIXTEEN = dict(color_type='unchanged', imdecode_backend='tifffile', to_float32=True)


@pytest.mark.parametrize('reader', [TURNED, SIXTEEN])
def test_files_are_read_as_the_test_pipeline_reads_them(tmp_path, reader):
    steps = [dict(type='LoadImageFromFile', **reader), dict(type='PackInputs')]
    where = 'test_dataloader.dataset.pipeline'
    student = load_student(student_folder(tmp_path, **{where: steps}))
    if reader is TURNED:
        path = tmp_path / 'x.jpg'
        path.write_bytes(rotated(orientation=6))
    else:
        pixels = np.random.default_rng(1).integers(0, 4000, (56, 56, 3)).astype(np.uint16)
        tifffile.imwrite(path := tmp_path / 'x.tif', pixels)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        wanted = Compose([dict(step) for step in steps])(dict(img_path=str(path)))['inputs']
        assert torch.equal(student.prepare(student.load(path))['inputs'], wanted)
        if reader is SIXTEEN:  # in memory as in the file, all of its bits
            assert torch.equal(student.prepare(student.load(pixels))['inputs'], wanted)
        else:
            image = wanted.permute(1, 2, 0).numpy()
            turned = student.prepare(student.load(image[..., ::-1]))
            assert torch.equal(turned['inputs'], wanted)
            assert np.array_equal(student.picture(path), image[..., ::-1])


@pytest.mark.parametrize('task', ['classification', 'depth'])
def test_a_student_goes_to_another_process(task, tmp_path):
    """Before and after its first prediction."""
    student = load_student(student_folder(tmp_path, task))
    image = np.random.default_rng(0).integers(0, 256, (80, 72, 3), np.uint8)
    sent = pickle.dumps(student)
    expected = str(student.predict(image))
    for packed in (sent, pickle.dumps(student)):
        assert str(pickle.loads(packed).predict(image)) == expected


@pytest.mark.parametrize('backend', ['pillow', 'cv2'])
def test_grey_images_are_resized_as_in_testing(tmp_path, backend):
    steps = [
        dict(type='LoadImageFromFile', color_type='grayscale'),
        dict(type='ResizeEdge', scale=56, edge='short', backend=backend),
        dict(type='CenterCrop', crop_size=56),
        dict(type='PackInputs'),
    ]
    grey = load_student(student_folder(tmp_path / 'student', **{
        'model.backbone.in_channels': 1,
        'data_preprocessor.mean': [100.0],
        'data_preprocessor.std': [50.0],
        'data_preprocessor.to_rgb': False,
        'test_dataloader.dataset.pipeline': steps,
    }))  # fmt: skip
    path = str(tmp_path / 'x.png')
    cv2.imwrite(path, pixels(1))
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        tested = Compose(steps)({'img_path': path})
    expected = grey.model.test_step(pseudo_collate([tested]))[0].pred_score
    for image in (path, pixels(1), pixels(1)[..., 0]):
        assert torch.equal(grey.sample(image).pred_score, expected)


@pytest.mark.parametrize('colours', [3, 1])
def test_a_pipeline_of_data_sets_that_give_pixels_is_given_theirs(tmp_path, colours):
    """mmpretrain's sets of CIFAR give RGB, its sets of MNIST grey: no step reads a file."""
    steps = [dict(type='Resize', scale=(56, 56)), dict(type='PackInputs')]
    folder = student_folder(tmp_path / 'student', **{
        'model.backbone.in_channels': colours,
        'data_preprocessor.mean': [100.0] * colours,
        'data_preprocessor.std': [50.0] * colours,
        'data_preprocessor.to_rgb': False,
        'test_dataloader.dataset.pipeline': steps,
    })  # fmt: skip
    student = load_student(folder)
    assert student.channels == ('RGB' if colours == 3 else None)
    image = pixels(colours)
    cv2.imwrite(str(tmp_path / 'x.png'), image[..., ::-1])
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        tested = Compose(steps)({'img': image if colours == 3 else image[..., 0]})
    expected = student.model.test_step(pseudo_collate([tested]))[0].pred_score
    for picture in (tmp_path / 'x.png', image):
        assert torch.equal(student.sample(picture).pred_score, expected)
    assert np.array_equal(student.picture(tmp_path / 'x.png'), shown(image))
