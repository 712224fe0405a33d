"""The size of the images that really come is compared, said, and written beside the weights."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from torch.utils.data import BatchSampler, DataLoader, SequentialSampler

from g2sd_mm.engine.fitting import units_of
from g2sd_mm.engine.hooks import reporting
from g2sd_mm.engine.hooks.console import _schedule
from g2sd_mm.engine.hooks.reporting import (
    AgreementHook,
    DivergenceHook,
    DrawPredictionsHook,
    ThroughputHook,
    seen_size,
)
from g2sd_mm.engine.position import images_of_iteration

from ..helpers.runs import loader, runner
from ..helpers.toys import Lines, classifier, distiller, words


@pytest.fixture
def run():
    lines, logger = Lines(), logging.getLogger('test_agreement_hook')
    logger.handlers = [lines]
    return SimpleNamespace(
        logger=logger, lines=lines.lines, hooks=[], model=classifier()  # laid out for 32 px
    )


def batch(size: int) -> dict:
    return dict(inputs=torch.zeros(2, 3, size, size))


def test_notes_are_said_once_at_the_start(run):
    AgreementHook(['a', 'b']).before_run(run)
    assert run.lines == ['a', 'b']


def test_images_of_the_right_size_give_no_line(run):
    hook = AgreementHook()
    for step in (hook.before_train_iter, hook.before_val_iter, hook.before_test_iter):
        step(run, 0, batch(32))
        step(run, 1, batch(32))
    assert run.lines == []
    assert hook.seen == {'train': (32, 32), 'val': (32, 32), 'test': (32, 32)}


def test_smaller_images_than_the_network_is_laid_out_for_are_said_once(run):
    hook = AgreementHook()
    run.hooks.append(hook)
    for number in range(3):
        hook.before_train_iter(run, number, batch(24))
    (line,) = run.lines
    assert 'laid out for images of 32x32 px and is trained on 24x24 px' in line
    assert seen_size(run) == (24, 24)
    hook.before_val_iter(run, 0, batch(32))
    assert 'trained on images of 24x24 px and validation images are 32x32 px' in run.lines[1]


def test_a_test_is_compared_with_what_the_weights_say(run):
    hook = AgreementHook(size=[24, 24])
    hook.before_test_iter(run, 0, batch(32))
    (line,) = run.lines
    assert 'trained on images of 24x24 px and test images are 32x32 px' in line


@pytest.mark.parametrize('scope', ['mmpretrain', 'mmdet'])
def test_images_of_many_sizes_are_not_asked(run, scope):
    hook = AgreementHook()
    run.cfg = dict(default_scope=scope)
    hook.before_train_iter(run, 0, dict(inputs=[torch.zeros(3, 8, 9), torch.zeros(3, 9, 8)]))
    assert (run.lines, hook.seen, seen_size(run)) == ([], {}, None)


@pytest.mark.parametrize(('scope', 'seen'), [('mmpretrain', (32, 32)), ('mmseg', None)])
def test_images_that_the_preprocessor_stacks_are_of_one_size_in_classification(run, scope, seen):
    """mmpretrain's own configs name no way to collate: mmengine gives lists."""
    hook = AgreementHook()
    run.cfg = dict(default_scope=scope)
    run.hooks.append(hook)
    hook.before_train_iter(run, 0, dict(inputs=[*torch.zeros(2, 3, 32, 32)]))
    assert (run.lines, seen_size(run)) == ([], seen)


def told(losses, **arguments) -> list[str]:
    logger = logging.getLogger('divergence under test')
    logger.handlers = [lines := Lines()]
    hook = DivergenceHook(**{**dict(factor=3.0, patience=4, window=20), **arguments})
    for step, loss in enumerate(losses):
        run = SimpleNamespace(logger=logger, iter=step)
        hook.after_train_iter(run, step, outputs={'loss': torch.tensor(loss)})
    return lines.lines


def test_a_loss_that_stays_high_is_told_of_once():
    (line,) = told([1.0] * 15 + [5.0] * 10)
    start = 'the loss diverges: 5 at step 19, above 3 x its running median of 1 for 4 steps'
    assert line.startswith(start)


def test_a_loss_that_is_nothing_but_zero_is_told_of_once():
    (line,) = told([0.0] * 30)
    assert 'nothing is trained' in line and 'loss_weight' in line
    assert told([0.0] * 3 + [1.0] * 30) == []  # a warm-up


@pytest.mark.parametrize(
    'losses',
    [
        [1.0] * 40,
        [1.0] * 15 + [5.0] * 3 + [1.0] * 15,  # a spike
        [1.0] * 15 + [2.9] * 20,  # below the limit
        [5.0] * 5 + [1.0] * 20,  # falling
        [1.0] * 5 + [5.0] * 8,  # too early to know what is usual
    ],
    ids=['flat', 'spike', 'small', 'falling', 'early'],
)
def test_other_losses_are_not(losses):
    assert told(losses) == []


def test_the_next_time_is_told_of_again():
    wave = [1.0] * 15 + [5.0] * 5
    assert len(told(wave + wave)) == 2


def test_a_window_that_the_loss_would_fill_is_refused():
    with pytest.raises(ValueError, match=words('window of 10', 'patience of 6')):
        DivergenceHook(window=10, patience=6)


@pytest.mark.parametrize('images', [4, 3])  # of three the sampler repeats one
def test_no_picture_of_a_prediction_replaces_another(tmp_path, monkeypatch, images):
    blank = np.zeros((2, 2, 3), np.uint8)
    monkeypatch.setattr(reporting, 'task_of_config', lambda cfg: SimpleNamespace(scope='any'))
    monkeypatch.setattr(reporting.FileReader, 'picture', lambda *of: blank)
    monkeypatch.setattr(reporting, 'draw_sample', lambda *of: blank)
    monkeypatch.setattr(reporting, 'get_world_size', lambda: 2)

    class Images(list):
        metainfo: dict = {}

    dataset = Images(range(images))
    cfg = Config(dict(model={}))
    runner = SimpleNamespace(cfg=cfg, test_dataloader=SimpleNamespace(dataset=dataset))
    for rank in range(2):
        monkeypatch.setattr(reporting, 'get_rank', lambda rank=rank: rank)
        hook = DrawPredictionsHook(str(tmp_path))
        for image in ('cat/1.jpg', 'dog/1.png'):
            hook.draw(runner, 'test_dataloader', [SimpleNamespace(img_path=image)])
    names = ['0000_1', '0001_1', '0002_1', '0003_1']
    assert sorted(path.stem for path in tmp_path.iterdir()) == names[:images]


def test_images_are_counted_where_a_sampler_of_batches_decides(tmp_path):
    plain = loader(batches=4, batch_size=2, stacked=True)
    batches = BatchSampler(SequentialSampler(plain.dataset), 2, drop_last=False)
    data = DataLoader(plain.dataset, batch_sampler=batches, collate_fn=plain.collate_fn)
    assert data.batch_size is None  # as of mmdet's loaders, whose batches are of one aspect ratio
    hook = ThroughputHook()
    run = runner(tmp_path, distiller(), train_dataloader=data, custom_hooks=[hook])
    run.train()
    hub = run.message_hub
    hook.after_train_iter(run, 0)
    seconds = hub.get_scalar('train/time').mean(50)
    assert hub.get_scalar('train/images_per_second').current() == pytest.approx(2 / seconds)
    assert '8 updates of 2 images' in _schedule(run)
    assert (images_of_iteration(data), images_of_iteration(plain), units_of(run).batch) == (2, 2, 2)
