"""Numbers that are not finite, in tensors that are whole and in parts."""

from __future__ import annotations

import pytest
import torch

from g2sd_mm.engine.tensors import DeferredScalar, any_not_finite


class Part:
    """A sharded tensor, as this process sees it."""

    def __init__(self, own: torch.Tensor) -> None:
        self.own = own

    def detach(self) -> Part:
        return self

    def to_local(self) -> torch.Tensor:
        return self.own


@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf')])
def test_one_number_is_enough(value):
    fine = [torch.ones(3), torch.full((2,), 1e38), torch.zeros(0), torch.ones(2).int()]
    assert any_not_finite(fine) == 0
    assert any_not_finite([]) == 0
    assert any_not_finite([*fine, torch.tensor([1.0, value])]) == 1


@pytest.mark.parametrize(('own', 'others'), [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0)])
def test_processes_that_hold_parts_agree(own, others, monkeypatch):
    def reduce(flag, operation):
        assert operation == torch.distributed.ReduceOp.MAX
        flag.clamp_(min=others)

    monkeypatch.setattr(torch.distributed, 'all_reduce', reduce)
    # of a small tensor some processes hold nothing
    parts = [Part(torch.zeros(0, 4)), Part(torch.tensor([1.0, float('nan') if own else 2.0]))]
    assert any_not_finite(parts) == max(own, others)


@pytest.mark.parametrize('value', [0.0, 1.0, float('inf')])
def test_a_number_on_a_cpu_is_there_at_once(value):
    assert DeferredScalar(torch.tensor(value, requires_grad=True)).item() == value


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')
def test_a_number_on_a_gpu_waits_only_for_what_stood_before_it():
    value = torch.ones((), device='cuda') + 2
    number = DeferredScalar(value)
    torch.cuda._sleep(2_000_000_000)  # cycles: about a second of work behind it
    assert number.item() == 3
    assert not torch.cuda.current_stream().query()  # that work still runs
    torch.cuda.synchronize()
