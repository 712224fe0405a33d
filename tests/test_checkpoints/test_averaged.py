"""Of two sets of weights in a file, it is said which is taken, and the other can be."""

from __future__ import annotations

import pytest
import torch

from g2sd_mm.checkpoints import CheckpointError, read_weights
from g2sd_mm.checkpoints.facts import facts_of
from g2sd_mm.checkpoints.read import Which

from ..helpers.runs import Slope, runner

RAW, EMA = {'a.weight': torch.ones(2, 2)}, {'a.weight': torch.ones(2, 2) * 2}
WRAPPED = {f'module.{name}': t for name, t in EMA.items()}


@pytest.mark.parametrize(('content', 'key'), [
    ({'state_dict': RAW, 'state_dict_ema': EMA}, 'state_dict_ema'),
    ({'model': RAW, 'model_ema': EMA, 'optimizer': {}}, 'model_ema'),
    ({'model': RAW, 'model_ema': {**WRAPPED, 'n_averaged': torch.tensor(3)}}, 'model_ema'),
    ({'state_dict': RAW, 'ema_state_dict': EMA}, 'ema_state_dict'),
])  # fmt: skip
def test_the_raw_ones_lie_where_all_do(tmp_path, content, key):
    path = tmp_path / 'file.pth'
    torch.save(content, path)
    taken: dict[Which | None, float] = {
        which: read_weights(path, which=which).state['a.weight'].mean().item()
        for which in (None, 'raw', 'ema')
    }
    assert taken == {None: 1.0, 'raw': 1.0, 'ema': 2.0}
    assert list(read_weights(path, which='ema').state) == list(RAW)
    (note,) = read_weights(path).notes
    assert key in note and 'the raw ones are taken' in note
    assert note in facts_of(read_weights(path)).notes


def test_mmengines_have_the_average_in_their_place(tmp_path):
    run = runner(tmp_path, Slope(), custom_hooks=[dict(type='EMAHook', momentum=0.5)])
    run.train()
    path = tmp_path / 'epoch_2.pth'
    taken = {w: read_weights(path, which=w).state['weight'].item() for w in (None, 'raw', 'ema')}
    assert taken['raw'] == run.model.weight.item() == -8.0
    assert taken[None] == taken['ema'] > -8.0
    (note,) = read_weights(path).notes
    assert 'the averaged (EMA) ones are taken' in note


def test_mmcvs_have_the_other_set_among_the_names(tmp_path):
    state = {'a.weight': torch.ones(1), 'a.bias': torch.ones(1)}
    buffers = {f'ema_{name.replace(".", "_")}': t * 2 for name, t in state.items()}
    torch.save({'state_dict': {**state, **buffers}}, tmp_path / 'file.pth')
    for which, value in ((None, 1.0), ('ema', 1.0), ('raw', 2.0)):
        found = read_weights(tmp_path / 'file.pth', which=which).state
        assert {name: t.item() for name, t in found.items()} == dict.fromkeys(state, value)


def test_the_average_alone_is_taken(tmp_path):
    torch.save({'model_ema': EMA, 'epoch': 3}, tmp_path / 'file.pth')
    assert read_weights(tmp_path / 'file.pth').state['a.weight'].mean() == 2
    with pytest.raises(CheckpointError, match='averaged'):
        read_weights(tmp_path / 'file.pth', which='raw')


def test_what_is_not_there_cannot_be_taken(tmp_path):
    for content in (RAW, {'model': RAW}, {'state_dict': RAW, 'state_dict_ema': None}):
        torch.save(content, tmp_path / 'file.pth')
        assert read_weights(tmp_path / 'file.pth').notes == ()
        assert read_weights(tmp_path / 'file.pth', which='raw').state.keys() == RAW.keys()
        with pytest.raises(CheckpointError, match='no averaged weights'):
            read_weights(tmp_path / 'file.pth', which='ema')
