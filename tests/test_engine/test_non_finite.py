"""What is not a number stays out of the weights, and is told of."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from g2sd_mm.engine.failure_dump import read_bundle
from g2sd_mm.engine.hooks.non_finite import NonFiniteHook
from g2sd_mm.engine.tensors import all_finite, tensors_in
from g2sd_mm.errors import RunError

from ..helpers.runs import Slope, runner
from ..helpers.toys import words


class Cliff(Slope):
    """Its gradient, or its loss, is not finite at some steps."""

    def __init__(self, bad=(), at: str = 'gradient', value: float = math.nan) -> None:
        super().__init__()
        self.bad, self.at, self.value, self.step = bad, at, value, 0

    def forward(self, inputs=None, data_samples=None, mode: str = 'tensor'):
        self.step += 1
        loss = self.weight * 1.0
        if self.step in self.bad:
            if self.at == 'gradient':
                loss.register_hook(lambda grad: grad * self.value)
            elif self.at == 'loss':
                loss = loss * self.value
            else:
                return {'loss': loss, 'loss_other': torch.tensor(self.value)}
        return {'loss': loss}


def go(folder: Path, model: nn.Module, max_skips: int = 0, **changes):
    run = runner(
        folder, model, custom_hooks=[dict(type='NonFiniteHook', max_skips=max_skips)], **changes
    )
    run.train()
    return run


@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize('at', ['gradient', 'loss'])
def test_the_run_stops_at_the_step_with_its_weights_whole(tmp_path, at, value):
    model = Cliff([3], at, value)
    message = words(f'non-finite {at} at step 3', 'loss=', 'batch: ', '--replay', 'max_skips=N')
    with pytest.raises(RunError, match=message):
        go(tmp_path, model)
    assert model.weight.item() == -2


def test_a_term_that_trains_nothing_is_told_of_too(tmp_path):
    with pytest.raises(RunError, match=words('step 2', 'and was applied', 'loss_other=nan')):
        go(tmp_path, Cliff([2], 'term'))


def test_so_many_may_be_left_out(tmp_path):
    model = Cliff([2, 5])
    run = go(tmp_path, model, max_skips=2)
    assert model.weight.item() == -6
    assert run.message_hub.get_info('skipped_updates') == 2
    with pytest.raises(RunError, match=words('step 5', 'this is update 2 of its kind')):
        go(tmp_path / 'fewer', Cliff([2, 5]), max_skips=1)


def test_the_count_is_that_of_the_whole_run(tmp_path):
    """A resumed run goes on counting."""
    hooks = dict(logger=None, checkpoint=dict(type='WholeCheckpointHook', interval=1))
    go(tmp_path, Cliff([2]), max_skips=1, default_hooks=hooks)
    with pytest.raises(RunError, match='update 2 of its kind'):
        go(
            tmp_path, Cliff([1]), max_skips=1, default_hooks=hooks, resume=True,
            load_from=str(tmp_path / 'epoch_1.pth'),
        )


def test_an_update_of_several_batches_is_judged_at_its_end(tmp_path):
    model = Cliff([3], 'loss')
    wrapper = dict(optimizer=dict(type='SGD', lr=1.0), accumulative_counts=2)
    with pytest.raises(RunError, match='non-finite loss at step 3'):
        go(tmp_path, model, optim_wrapper=wrapper)
    assert model.step == 4
    (path,) = tmp_path.glob('non_finite_3_rank0.pth')
    bundle = read_bundle(path)
    assert bundle['steps'] == [2, 3]
    assert len(bundle['batches']) == 2
    assert math.isnan(bundle['losses'][0]['loss'])
    assert math.isfinite(bundle['losses'][1]['loss'])


def test_the_bundle_has_what_the_step_was_made_of(tmp_path):
    with pytest.raises(RunError):
        go(tmp_path, Cliff([2]))
    bundle = read_bundle(tmp_path / 'non_finite_2_rank0.pth')
    assert bundle['state_dict']['weight'].item() == -1
    assert (bundle['seed'], bundle['rank']) == (0, 0)
    assert len(bundle['batches'][0]['inputs']) == 2


def test_a_full_disk_does_not_hide_the_cause(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('g2sd_mm.engine.hooks.non_finite.write_bundle', full)
    with pytest.raises(RunError, match=words('step 2', 'could not be written', 'No space left')):
        go(tmp_path, Cliff([2]))


def test_a_fused_optimizer_leaves_the_update_out_by_itself(tmp_path):
    """Moments and counts too: the end is that of a run without this batch."""
    ends = []
    for folder, bad in (('bad', [3]), ('none', [])):
        model = Cliff(bad)
        model.weight.data.fill_(1.0)
        run = go(
            tmp_path / folder, model, max_skips=1,
            optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.1, fused=True)),
        )
        state = run.optim_wrapper.optimizer.state[model.weight]
        ends.append((model.weight.item(), int(state['step']), state['exp_avg'].item()))
        assert not hasattr(run.optim_wrapper.optimizer, 'found_inf')
    assert [step for _, step, _ in ends] == [7, 8]
    assert all(math.isfinite(weight) for weight, _, _ in ends)
    assert ends[0][0] > ends[1][0]  # one step less was made


def test_what_is_not_read_at_once_is_read_at_the_next_update(tmp_path, monkeypatch):
    """As on a GPU: the weights are those of the bad step still, and so is the bundle."""
    monkeypatch.setattr(NonFiniteHook, '_settle', settle_later(NonFiniteHook._settle))
    model = Cliff([3])
    with pytest.raises(RunError, match='non-finite gradient at step 3'):
        go(tmp_path, model)
    assert (model.step, model.weight.item()) == (4, -2)


def settle_later(settle):
    import sys

    def from_elsewhere(hook):
        if sys._getframe(1).f_code.co_name != 'after_train_iter':
            settle(hook)

    return from_elsewhere


def test_files_of_the_batch_are_named():
    from g2sd_mm.engine.hooks.non_finite import Step

    samples = [SimpleNamespace(img_path=f'{i}.jpg') for i in range(6)]
    step = Step(0, {'data_samples': samples}, losses={})
    assert step.files() == [f'{i}.jpg' for i in range(6)]
    assert Step(0, [1], {}).files() == []


def test_large_numbers_are_finite():
    assert all_finite([torch.full((100,), 1e30), torch.tensor([1, 2]), torch.zeros(0)])
    assert not all_finite([torch.ones(3), torch.tensor([1.0, math.nan])])
    assert all_finite([])


def test_tensors_are_found_in_any_nesting():
    one, two, three = torch.zeros(1), torch.ones(1), torch.ones(2)
    found = list(tensors_in({'a': [one, (two,)], 'b': three, 'c': 'text', 'd': None}))
    assert [t is u for t, u in zip(found, (one, two, three), strict=True)] == [True] * 3
