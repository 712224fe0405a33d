"""Modules that bring a student's record to the shape of the teacher's."""

from __future__ import annotations

import torch
from mmengine.registry import MODELS

import g2sd_mm.distill  # noqa: F401  (registers the adapters)


def test_tokens_of_any_number_get_the_teachers_width():
    adapter = MODELS.build(dict(type='TokenAdapter', in_channels=4, out_channels=6))
    for count in (1, 5):
        assert adapter(torch.randn(2, count, 4)).shape == (2, count, 6)


def test_every_token_is_mapped_by_itself_and_alike():
    adapter = MODELS.build(dict(type='TokenAdapter', in_channels=4, out_channels=6))
    tokens, order = torch.randn(2, 5, 4), torch.tensor([3, 0, 4, 1, 2])
    torch.testing.assert_close(adapter(tokens[:, order]), adapter(tokens)[:, order])
