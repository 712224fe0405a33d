"""A teacher of features sees the student's image as it was itself trained to see images."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from g2sd_mm.distill import Features
from g2sd_mm.distill.teachers.features import FeatureTeacher
from g2sd_mm.distill.teachers.images import (
    Pixels,
    on_grid,
    renormalised,
    size_for,
    student_stride,
)
from g2sd_mm.models.masking import random_masking

from ...helpers.seen_images import MEAN, STD, SeeingStudent, pictures
from ...helpers.toys import autoencoder, refused


class Means(FeatureTeacher):
    """Answers with the mean of every patch of what it sees."""

    def __init__(self, stride: int = 14, pixels: Pixels | None = None, **options) -> None:
        pixels = pixels or Pixels((10.0, 20.0, 30.0), (1.0, 2.0, 3.0))
        super().__init__(
            nn.AvgPool2d(stride), pixels=pixels, stride=stride, width=3, name='means', **options
        )
        self.saw: torch.Size | None = None

    def features(self, images):
        self.saw = images.shape
        patches = self.model(images).movedim(1, -1)
        return Features(patches[:, 0, 0], patches)


def pixels_of(size: int) -> torch.Tensor:
    import numpy as np

    arrays = [np.array(picture) for picture in pictures(size)]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).float()


@pytest.mark.parametrize('to_rgb', [True, False])
@pytest.mark.parametrize('channels', ['RGB', 'BGR'])
def test_pixels_are_normalised_anew_in_the_teachers_order(to_rgb, channels):
    student = SeeingStudent(32, 16, to_rgb=to_rgb)
    own = Pixels((10.0, 20.0, 30.0), (1.0, 2.0, 3.0), channels)
    teacher = Means(16, own)
    teacher.check_student(student)
    raw = pixels_of(32) if channels == 'RGB' else pixels_of(32).flip(1)
    expected = (raw - torch.tensor(own.mean)[:, None, None]) / torch.tensor(own.std)[:, None, None]
    seen = teacher.prepared(student.images(pictures(32)))
    torch.testing.assert_close(seen, expected, atol=1e-3, rtol=1e-5)


def test_the_same_normalisation_changes_nothing():
    images, pixels = torch.randn(1, 3, 4, 4), Pixels(tuple(MEAN), tuple(STD))
    assert renormalised(images, pixels, Pixels(tuple(MEAN), tuple(STD))) is images


def test_a_student_that_does_not_say_how_it_normalises_is_refused():
    with refused('data_preprocessor', 'mean'):
        Means().check_student(SeeingStudent(32, 16, mean=None))
    with refused('3 channels', '4 values'):
        student = SeeingStudent(32, 16)
        student.data_preprocessor.mean = student.data_preprocessor.std = torch.ones(4, 1, 1)
        Means().check_student(student)
    with pytest.raises(RuntimeError, match='check_student'):
        Means()(torch.randn(1, 3, 28, 28))


def test_one_mean_stands_for_all_channels():
    student, teacher = SeeingStudent(32, 16, mean=[100.0]), Means(16)
    teacher.check_student(student)
    grey = torch.zeros(1, 1, 32, 32)  # of value 100
    expected = torch.tensor([90.0, 80 / 2, 70 / 3])
    torch.testing.assert_close(teacher.prepared(grey)[0, :, 0, 0], expected)


# Sizes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'image, grid, stride, expected',
    [
        ((224, 224), (14, 14), 14, (196, 196)),
        ((224, 224), (14, 14), 16, (224, 224)),
        ((112, 112), (14, 14), 14, (196, 196)),
        ((56, 112), (7, 14), 14, (98, 196)),
        ((224, 224), (14, 14), 32, (224, 224)),  # 448 would be twice as much
        ((224, 224), (14, 14), 8, (224, 224)),  # 112 would be half
        ((224, 224), None, 14, (224, 224)),
        ((100, 30), None, 14, (98, 28)),
        ((8, 8), None, 14, (14, 14)),
    ],
)
def test_the_size_of_an_image_gives_the_students_grid(image, grid, stride, expected):
    assert size_for(image, grid, stride, stride, None) == expected


def test_sizes_are_multiples_of_what_the_network_needs():
    assert size_for((112, 112), (7, 7), 16, 32, None) == (128, 128)  # 112 is none of 32
    assert size_for((112, 112), (7, 7), 16, 16, (64, 64)) == (64, 64)


@pytest.mark.parametrize('stride, seen, side', [(14, 98, 7), (32, 128, 7), (4, 112, 28)])
def test_the_map_has_the_students_grid_or_is_finer(stride, seen, side):
    student, teacher = SeeingStudent(112, 16), Means(stride)
    teacher.check_student(student)
    answer = teacher(student.images(pictures(112)))
    assert teacher.saw[-2:] == (seen, seen)
    assert answer.patches.shape == (2, side, side, 3)
    assert answer.tokens.shape == (2, 1 + side**2, 3)
    # where the image is bright the map is
    assert (answer.patches[:, -1, -1] > answer.patches[:, 0, 0]).all()


def test_maps_are_resized_as_pictures_are():
    patches = torch.randn(1, 4, 4, 2)
    larger = on_grid(patches, (7, 7))
    expected = F.interpolate(
        patches.movedim(-1, 1), size=(7, 7), mode='bicubic', antialias=True
    ).movedim(1, -1)
    torch.testing.assert_close(larger, expected)
    assert on_grid(patches, (4, 4)) is patches
    assert on_grid(patches.bfloat16(), (2, 2)).dtype == torch.bfloat16
    # every value counts in a smaller one
    peak = torch.zeros(1, 8, 8, 1)
    peak[0, 1, 1] = 1
    assert on_grid(peak, (2, 2))[0, 0, 0, 0] > 0.03


def test_the_students_patches_are_found():
    assert student_stride(autoencoder()) == 8
    assert student_stride(SeeingStudent(32, 4)) == 4
    assert student_stride(nn.Linear(1, 1)) is None
    holder = nn.Module()
    holder.backbone = autoencoder()
    assert student_stride(holder) == 8


def test_a_student_without_patches_gets_the_map_as_it_is():
    teacher = Means(14)
    teacher.check_student(SeeingStudent(None, None))
    assert teacher(torch.randn(1, 3, 56, 84)).patches.shape == (1, 4, 6, 3)


# Answers ------------------------------------------------------------------------------------------


def test_the_class_token_is_the_networks_the_mean_or_none():
    student = SeeingStudent(56, 14)
    images = student.images(pictures(56))
    answers = {}
    for kind in ('own', 'mean', 'none'):
        teacher = Means(14, cls=kind)
        teacher.check_student(student)
        answers[kind] = teacher(images)
    assert torch.equal(answers['own'].cls, answers['own'].patches[:, 0, 0])
    torch.testing.assert_close(answers['mean'].cls, answers['own'].patches.mean(dim=(1, 2)))
    assert answers['none'].cls is None and answers['none'].tokens.shape == (2, 16, 3)
    assert torch.equal(answers['own'].tokens[:, 0], answers['own'].cls)
    assert torch.equal(answers['own'].tokens[:, 1:], answers['own'].patches.flatten(1, 2))


def test_a_mask_hides_nothing_from_it():
    student, teacher = SeeingStudent(56, 14), Means(14)
    teacher.check_student(student)
    images = student.images(pictures(56))
    view = random_masking(torch.rand(2, 16), 0.75)._replace(hidden=torch.tensor([[3], [2]]))
    assert torch.equal(teacher(images, view).patches, teacher(images).patches)


def test_images_are_prepared_in_full_precision_and_run_in_the_teachers():
    student = SeeingStudent(56, 14)
    teacher = Means(14, dtype='bfloat16')
    teacher.check_student(student)
    images = student.images(pictures(56))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert teacher.prepared(images).dtype == torch.float32
        answer = teacher(images.requires_grad_())
    assert answer.patches.dtype == torch.bfloat16 and not answer.patches.requires_grad
