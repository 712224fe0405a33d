"""Which token of the student stands beside which of the teacher."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from g2sd_mm.distill import Features, FrozenTeacher, SpecificDistiller
from g2sd_mm.distill.losses.alignment import align, as_patches, resized
from g2sd_mm.models.masking import random_masking, some_hidden

from ..helpers.toys import images, refused, stage1_cfg

ROWS, COLUMNS = 2, 4
L = ROWS * COLUMNS


def numbered(rows: int = ROWS, columns: int = COLUMNS, width: int = 3) -> torch.Tensor:
    """Patches [2, rows, columns, width] whose features are row and column of their middle."""
    row = (torch.arange(rows) + 0.5) / rows
    column = (torch.arange(columns) + 0.5) / columns
    grid = torch.stack(torch.meshgrid(row, column, indexing='ij'), dim=-1)
    grid = torch.cat([grid, torch.ones(rows, columns, width - 2)], dim=-1)
    return torch.stack([grid, grid + 10])


def features(cls: bool = True, **grid: int) -> Features:
    patches = numbered(**grid)
    return Features(torch.full((2, patches.shape[-1]), -1.0) if cls else None, patches)


def student(patches: torch.Tensor, cls: bool = True) -> torch.Tensor:
    """Tokens of patches [2, n, C], a class token first."""
    first = [torch.full((2, 1, patches.shape[-1]), -1.0)] if cls else []
    return torch.cat([*first, patches], dim=1)


def picked(patches: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    flat = patches.flatten(1, 2)
    return torch.stack([flat[image, numbers[image]] for image in range(len(flat))])


@pytest.mark.parametrize('theirs', [True, False])
@pytest.mark.parametrize('own', [True, False])
def test_whole_images_with_and_without_class_tokens(own, theirs):
    answer = features(theirs)
    aligned = align(student(answer.patches.flatten(1, 2), own), answer)
    assert torch.equal(aligned.student, aligned.teacher)
    assert aligned.first == (own and theirs)
    assert aligned.student.shape[1] == L + aligned.first
    assert aligned.lacking == {(True, False): 'teacher', (False, True): 'student'}.get(
        (own, theirs), ''
    )


@pytest.mark.parametrize('part', ['raster', 'visible', 'visible and hidden'])
def test_the_patches_of_a_view_are_picked_in_its_order(part):
    answer = features()
    view = random_masking(torch.rand(2, L), 0.5)
    assert not torch.equal(view.keep[0], view.keep[1])
    numbers = torch.arange(L).expand(2, -1)
    if part == 'visible':
        numbers = view.keep
    elif part == 'visible and hidden':
        view = view._replace(hidden=some_hidden(view, 0.5))
        numbers = torch.cat([view.keep, view.hidden], dim=1)
    aligned = align(student(picked(answer.patches, numbers)), answer, view)
    assert torch.equal(aligned.student, aligned.teacher)
    assert aligned.student.shape == (2, 1 + numbers.shape[1], 3)


def test_all_hidden_ones_that_are_decoded_are_in_the_order_of_the_view_still():
    answer, view = features(), random_masking(torch.rand(2, L), 0.5)
    view = view._replace(hidden=some_hidden(view, 1.0))
    numbers = torch.cat([view.keep, view.hidden], dim=1)
    assert numbers.sort(dim=1).values.tolist() == [list(range(L))] * 2
    aligned = align(student(picked(answer.patches, numbers)), answer, view)
    assert torch.equal(aligned.student, aligned.teacher)


def test_with_nothing_hidden_tokens_are_in_raster_order():
    answer, view = features(), random_masking(torch.rand(2, L), 0.0)
    assert view.keep.tolist() == [list(range(L))] * 2
    aligned = align(student(picked(answer.patches, view.keep)), answer, view)
    assert torch.equal(aligned.student, aligned.teacher)


def cubic(x: float) -> float:
    """The kernel of bicubic interpolation, a = -0.75."""
    a, x = -0.75, abs(x)
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


def enlarged(values: np.ndarray, length: int) -> np.ndarray:
    """[n, C] -> [length, C] along the first axis; borders are repeated."""
    result = np.zeros((length, values.shape[1]))
    for place in range(length):
        middle = (place + 0.5) * len(values) / length - 0.5
        for near in range(int(np.floor(middle)) - 1, int(np.floor(middle)) + 3):
            source = values[min(max(near, 0), len(values) - 1)]
            result[place] += cubic(middle - near) * source
    return result


def test_resizing_is_bicubic():
    tokens = torch.randn(1, 12, 2, dtype=torch.float64)
    grid = tokens[0].unflatten(0, (3, 4)).numpy()
    by_rows = enlarged(grid.reshape(3, -1), 5).reshape(5, 4, 2)
    expected = np.stack([enlarged(row, 7) for row in by_rows])
    value = resized(tokens, (3, 4), (5, 7))
    np.testing.assert_allclose(value[0].unflatten(0, (5, 7)).numpy(), expected, atol=1e-9)


def test_the_smaller_map_is_resized_to_the_larger():
    small, large = numbered(2, 4), numbered(4, 8)
    up = resized(small.flatten(1, 2), (2, 4), (4, 8))
    enlarged_student = align(student(small.flatten(1, 2)), Features(None, large))
    assert torch.equal(enlarged_student.student, up)
    assert torch.equal(enlarged_student.teacher, large.flatten(1, 2))
    enlarged_teacher = align(student(large.flatten(1, 2)), Features(torch.zeros(2, 3), small))
    assert torch.equal(enlarged_teacher.student[:, 1:], large.flatten(1, 2))
    assert torch.equal(enlarged_teacher.teacher[:, 1:], up)


@pytest.mark.parametrize('teacher', [(2, 4), (8, 16)])
def test_of_a_view_the_teachers_map_is_resized_then_picked(teacher):
    """Positions still belong together, in whichever direction the teacher's map is resized."""
    own, view = numbered(4, 8), random_masking(torch.rand(2, 32), 0.5)
    patches = picked(own, view.keep)
    aligned = align(student(patches), Features(None, numbered(*teacher)), view)
    assert torch.equal(aligned.student, patches)
    assert (aligned.teacher - patches).abs().max() < 0.13  # a patch is 0.25 high, 0.125 wide
    assert (aligned.teacher - patches.roll(1, dims=1)).abs().max() > 0.3


def test_hidden_patches_are_those_of_the_students_grid():
    view = random_masking(torch.rand(2, L), 0.5)
    aligned = align(student(numbered().flatten(1, 2)), Features(None, numbered(4, 8)), view,
                    masked=True)  # fmt: skip
    assert aligned.student.shape[1] == aligned.teacher.shape[1] == L


def test_maps_of_either_layout_are_tokens():
    answer = features()
    for own in (answer.patches, answer.patches.movedim(-1, 1)):
        aligned = align(own, answer)
        assert torch.equal(aligned.student, answer.patches.flatten(1, 2))
        assert torch.equal(aligned.student, aligned.teacher)
    cls = align(student(answer.patches.flatten(1, 2)), answer.cls)
    assert cls.student.shape == cls.teacher.shape == (2, 1, 3) and cls.first == 1


@pytest.mark.parametrize('rows, columns', [(2, 4), (3, 3), (1, 2)])
def test_a_map_of_another_width_than_the_teachers_has_its_channels_last_too(rows, columns):
    """As FeatureStudent's is; losses that take any widths need no adapter to the teacher's."""
    own, theirs = numbered(rows, columns, width=7), features(rows=rows, columns=columns)
    for layout in (own, own.movedim(-1, 1)):
        assert torch.equal(align(layout, theirs).student[:, -rows * columns :], own.flatten(1, 2))


@pytest.mark.parametrize('rows, columns, width', [(4, 8, 64), (2, 2, 64), (8, 16, 12), (4, 8, 4)])
def test_the_grid_of_a_map_has_the_shape_of_the_images(rows, columns, width):
    last = torch.randn(2, rows, columns, width)
    pictures = torch.zeros(2, 3, 16 * rows, 16 * columns)
    for heard in (last, last.movedim(-1, 1)):
        assert torch.equal(as_patches(heard, pictures), last)
    tokens = last.flatten(1, 2)
    assert torch.equal(as_patches(tokens, pictures), last)
    assert as_patches(tokens, pictures, part=True) is tokens
    with_class = student(tokens)
    assert as_patches(with_class, pictures) is with_class


def test_what_cannot_belong_together_is_refused():
    with refused('the 7 tokens of the student', '(2, 4)'):
        align(torch.zeros(2, 7, 3), features())
    view = random_masking(torch.rand(2, L), 0.5)
    with refused('the 7 tokens of the student', '4 of 8 visible', '(2, 4)'):
        align(torch.zeros(2, 7, 3), features(), view)
    with refused('[2, 5, 3]', '[2, 9, 3]'):
        align(torch.zeros(2, 9, 3), torch.zeros(2, 5, 3))


class Positions(FrozenTeacher):
    """Sees the image, and answers with where each patch is; its patches are of any size."""

    width = 20

    def __init__(self, side: int, cls: bool = True) -> None:
        super().__init__(torch.nn.Identity())
        self.side, self.cls = side, cls

    def answer(self, images, view):
        patches = numbered(self.side, self.side, self.width)[: len(images)]
        return Features(patches[:, 0, 0] if self.cls else None, patches)


@pytest.mark.parametrize('share', [1.0, 0.5])
@pytest.mark.parametrize('side', [4, 2, 8])
def test_a_tap_on_the_students_side_alone_is_compared_with_the_teachers_features(side, share):
    cfg = stage1_cfg()
    cfg['distillation']['taps'] = {'tokens': dict(student='decoder_blocks.-1')}
    cfg['distillation']['teacher'] = dict(type=Positions, side=side)
    model = SpecificDistiller(
        student={**cfg['model'], 'decode_share': share}, **cfg['distillation']
    )
    seen = []
    loss = model.distillation.losses['loss_tokens']
    inner = loss.compared
    loss.compared = lambda *given: seen.append(inner(*given)) or seen[-1]
    losses = model(images(), mode='loss')
    (predicted, target), _ = seen
    number = 64 if side == 8 and share == 1 else 16 if share == 1 else 4 + 6
    assert predicted.shape == target.shape == (2, 1 + number, 20)
    assert {'loss_tokens', 'explained_variance'} == set(losses)
    losses['loss_tokens'].backward()


def test_other_losses_get_tokens_class_and_patches_as_tensors():
    class Keeps(torch.nn.Module):
        def forward(self, student, **given):
            self.given = given
            return student.mean()

    inputs = {name: f'teacher.{name}' for name in ('tokens', 'cls', 'patches')}
    cfg = stage1_cfg()
    cfg['distillation'] |= dict(
        teacher=dict(type=Positions, side=4),
        taps={'tokens': dict(student='decoder_blocks.-1')},
        losses=dict(loss_keeps=dict(type=Keeps, inputs=dict(student='student.tokens', **inputs))),
    )
    model = SpecificDistiller(student=cfg['model'], **cfg['distillation'])
    model(images(), mode='loss')
    given = model.distillation.losses['loss_keeps'].given
    assert given['cls'].shape == (2, 20) and given['patches'].shape == (2, 4, 4, 20)
    both = torch.cat([given['cls'][:, None], given['patches'].flatten(1, 2)], dim=1)
    assert torch.equal(given['tokens'], both)
