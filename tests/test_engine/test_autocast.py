"""bfloat16 without a scaler, on a CPU too."""

from __future__ import annotations

import pytest
import torch
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn

from ..helpers.runs import Slope, runner
from ..helpers.toys import words


def wrapper(model: nn.Module, **options):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return OPTIM_WRAPPERS.build(dict(type='AutocastOptimWrapper', optimizer=optimizer, **options))


def test_matrices_are_multiplied_in_bfloat16_inside_the_context_only():
    model, x = nn.Linear(2, 2), torch.ones(1, 2)
    optim = wrapper(model)
    with optim.optim_context(model):
        y = model(x)
        assert y.dtype == torch.bfloat16
    assert model(x).dtype == torch.float32
    optim.update_params(y.float().sum())
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_a_run_steps_in_it(tmp_path):
    class Net(Slope):
        def forward(self, inputs=None, data_samples=None, mode='tensor'):
            dtypes.append(torch.mm(torch.ones(1, 1), self.weight.reshape(1, 1)).dtype)
            return super().forward(inputs, data_samples, mode)

    dtypes = []
    model = Net()
    runner(
        tmp_path,
        model,
        optim_wrapper=dict(type='AutocastOptimWrapper', optimizer=dict(type='SGD', lr=1.0)),
    ).train()
    assert set(dtypes) == {torch.bfloat16}
    assert model.weight.item() == -8.0


def test_float16_is_refused():
    with pytest.raises(ValueError, match=words("for bfloat16, got 'float16'")):
        wrapper(nn.Linear(2, 2), dtype='float16')
