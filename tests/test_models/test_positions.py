"""Sin-cos tables in the published layout, and resizing."""

from __future__ import annotations

import math

import pytest
import torch

from g2sd_mm.models.positions import resize_positions, sincos_position_embedding, square_grid


def test_the_first_half_of_the_channels_follows_the_column():
    table = sincos_position_embedding(8, (3, 4))[0, 1:].reshape(3, 4, 8)
    assert torch.equal(table[0, :, :4], table[2, :, :4])  # rows share it
    assert not torch.equal(table[:, 0, :4], table[:, 1, :4])
    assert torch.equal(table[:, 0, 4:], table[:, 3, 4:])  # columns share the second half


def test_sines_come_before_cosines():
    row, column = 2, 3
    table = sincos_position_embedding(8, (3, 4))[0, 1:].reshape(3, 4, 8)
    frequencies = (1.0, 10000.0**-0.5)
    expected = [f(c * w) for c in (column, row) for f in (math.sin, math.cos) for w in frequencies]
    assert torch.allclose(table[row, column], torch.tensor(expected), atol=1e-7)


def test_the_class_token_has_a_row_of_zeros():
    table = sincos_position_embedding(8, (2, 2))
    assert table.shape == (1, 5, 8)
    assert not table[:, 0].any()


def test_channels_must_divide_by_four():
    with pytest.raises(ValueError, match='multiple of 4 channels, got 6'):
        sincos_position_embedding(6, (2, 2))


def test_only_squares_of_positions_have_a_grid():
    assert square_grid(196) == (14, 14)
    with pytest.raises(ValueError, match='15 patch positions do not form a square'):
        square_grid(15)


def test_resizing_keeps_the_class_row_and_a_constant():
    embedding = torch.cat([torch.full((1, 1, 4), 7.0), torch.full((1, 9, 4), 2.0)], dim=1)
    resized = resize_positions(embedding, (3, 3), (2, 5))
    assert resized.shape == (1, 11, 4)
    assert torch.equal(resized[:, :1], embedding[:, :1])
    assert torch.allclose(resized[:, 1:], torch.tensor(2.0))


def test_resizing_keeps_rows_and_columns_apart():
    grid = torch.arange(3.0).expand(3, 3)  # value = column
    resized = resize_positions(grid.reshape(1, 9, 1), (3, 3), (3, 6)).reshape(3, 6)
    assert torch.allclose(resized[0], resized[2])
    assert (resized.diff(dim=1) > 0).all()


def test_an_equal_grid_is_not_touched():
    embedding = torch.randn(1, 5, 4)
    assert resize_positions(embedding, (2, 2), (2, 2)) is embedding


def test_half_precision_is_resized_in_full_precision():
    embedding = torch.randn(1, 17, 4)
    resized = resize_positions(embedding.bfloat16(), (4, 4), (7, 7))
    exact = resize_positions(embedding.bfloat16().float(), (4, 4), (7, 7))
    assert resized.dtype == torch.bfloat16
    assert torch.equal(resized, exact.bfloat16())
