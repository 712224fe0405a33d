"""A run goes on from a checkpoint as its config says, whatever changed in between."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch.utils.data import DataLoader

from g2sd_mm.checkpoints import CheckpointError
from g2sd_mm.checkpoints.integrity import newest_whole
from g2sd_mm.compat.safe_load import load_checkpoint
from g2sd_mm.datasets import SeededSampler
from g2sd_mm.engine.fitting import _check_groups
from g2sd_mm.engine.hooks.access import updates_so_far
from g2sd_mm.errors import UserError

from ..helpers.runs import Slope, runner
from ..helpers.toys import Lines, refused, words

CLOSED = [dict(type='WarmupCosineLR', warmup=1, convert_to_iter_based=True)]
#: As stock configs have them: a warm-up by iterations, then a decay by epochs or iterations.
STOCK = {
    'multistep': [
        dict(type='LinearLR', start_factor=0.1, begin=0, end=6, by_epoch=False),
        dict(type='MultiStepLR', milestones=[1, 3], gamma=0.1, by_epoch=True),
    ],
    'cosine': [
        dict(type='LinearLR', start_factor=0.1, end=1, convert_to_iter_based=True),
        dict(type='CosineAnnealingLR', begin=1, eta_min=0.01, convert_to_iter_based=True),
    ],
    'poly': [dict(type='PolyLR', power=0.9, eta_min=0.001, convert_to_iter_based=True)],
    'step': [dict(type='StepLR', step_size=1, gamma=0.5, by_epoch=True)],
    'onecycle': [dict(type='OneCycleLR', eta_max=2.0, convert_to_iter_based=True)],
    'restart': [dict(type='CosineRestartLR', periods=[1, 9], restart_weights=[1, 0.5], eta_min=0.1,
                     convert_to_iter_based=True)],
}
ADAM = dict(type='AdamW', lr=1.0, weight_decay=0.1)


class Numbers:
    """Samples that are their numbers."""

    metainfo: dict = {}

    def __init__(self, number: int) -> None:
        self.number = number

    def __len__(self) -> int:
        return self.number

    def __getitem__(self, key: Any) -> tuple[int, int]:
        return key.epoch, key.index


class Diary(Hook):
    """Rate, images and number of updates before, of each step."""

    priority = 'VERY_LOW'

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.images: list[tuple[int, int]] = []
        self.updates: list[int] = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.rates.append(runner.optim_wrapper.param_groups[0]['lr'])
        self.images += data_batch['inputs']
        self.updates.append(updates_so_far(runner))


class Went:
    """A run that has ended."""

    def __init__(
        self, folder: Path, resume: Path | str | None = None, epochs: int = 4, batch: int = 2,
        number: int = 12, schedule: Any = CLOSED, optimizer: dict = ADAM, accumulation: int = 1,
        iterations: int | None = None, stop: int | None = None, **changes: Any,
    ) -> None:
        data = Numbers(number)
        sampler = SeededSampler(data, seed=0, infinite=iterations is not None)
        loader = DataLoader(
            data, batch, sampler=sampler, drop_last=True,
            collate_fn=lambda samples: dict(inputs=samples),
        )
        loop = dict(type='ResumableEpochLoop', max_epochs=epochs)
        if iterations is not None:
            loop = dict(type='ResumableIterLoop', max_iters=iterations)
        saving = dict(type='WholeCheckpointHook', interval=1, by_epoch=iterations is None)
        arguments = dict(
            train_dataloader=loader, train_cfg=loop, param_scheduler=schedule,
            optim_wrapper=dict(optimizer=optimizer, accumulative_counts=accumulation),
            default_hooks=dict(logger=None, checkpoint=saving),
            custom_hooks=[dict(type='ResumeHook', notes=[])],
            resume=resume is not None, load_from=resume and str(resume),
        )
        self.run = runner(folder, Slope(), **{**arguments, **changes})
        self.run.register_hook(diary := Diary())
        self.run.logger.addHandler(lines := Lines())
        self.run.logger.setLevel('INFO')
        self.run.train()
        self.rates, self.images, self.updates = diary.rates, diary.images, diary.updates
        self.said = '\n'.join(lines.lines)
        self.folder = folder
        self.last = load_checkpoint(newest_whole(folder)[0])

    @property
    def weight(self) -> torch.Tensor:
        return self.last['state_dict']['weight']


def same(one: Any, two: Any) -> bool:
    return repr(one) == repr(two)


@pytest.mark.parametrize('schedule', [CLOSED, *STOCK.values()], ids=['closed', *STOCK])
def test_with_nothing_changed_it_is_the_same_to_the_last_bit(tmp_path, schedule):
    whole = Went(tmp_path / 'a', schedule=schedule)
    rest = Went(tmp_path / 'b', tmp_path / 'a' / 'epoch_2.pth', schedule=schedule)
    assert rest.rates == whole.rates[12:]
    assert rest.images == whole.images[24:]
    for part in ('state_dict', 'optimizer', 'param_schedulers'):
        assert same(rest.last[part], whole.last[part]), part
    assert 'since the checkpoint' not in rest.said


CHANGES = {
    'larger batch': dict(batch=4), 'longer run': dict(epochs=7),
    'rate': dict(optimizer=dict(ADAM, lr=0.25)), 'smaller batch': dict(batch=1),
    'fewer images': dict(number=8), 'more images': dict(number=20),
}
#: All of them with the closed form, three with each of mmengine's.
CASES = {
    f'{name}-{change}': (schedule, CHANGES[change])
    for name, schedule in {'closed': CLOSED, **STOCK}.items()
    for change in list(CHANGES)[: 6 if name == 'closed' else 3]
}


@pytest.mark.parametrize(('schedule', 'now'), CASES.values(), ids=CASES)
def test_the_schedule_is_that_of_a_run_which_always_was_so(tmp_path, schedule, now):
    Went(tmp_path / 'a', schedule=schedule)
    always = Went(tmp_path / 'b', schedule=schedule, **now)
    rest = Went(tmp_path / 'c', tmp_path / 'a' / 'epoch_2.pth', schedule=schedule, **now)
    length = len(rest.run.train_dataloader)
    assert len(rest.rates) == (now.get('epochs', 4) - 2) * length
    assert rest.rates == always.rates[2 * length :]
    assert rest.images == always.images[-len(rest.images) :]
    if 'optimizer' not in now or schedule is not STOCK['onecycle']:  # it has a rate of its own
        assert 'changed since the checkpoint' in rest.said
    assert rest.last['meta']['epoch'] == now.get('epochs', 4)
    # and from there it goes on exactly
    again = Went(tmp_path / 'd', tmp_path / 'c' / 'epoch_3.pth', schedule=schedule, **now)
    assert same(again.last['optimizer'], rest.last['optimizer'])
    assert torch.equal(again.weight, rest.weight)


@pytest.mark.parametrize('schedule', [
    [dict(type='WarmupPolyLR', warmup=3, by_epoch=False)],
    [dict(type='WarmupMultiStepLR', warmup=3, milestones=[0.5, 0.9], by_epoch=False)],
    [dict(type='LinearLR', start_factor=0.1, end=3, by_epoch=False),
     dict(type='PolyLR', begin=3, end=20, by_epoch=False)],
], ids=['poly', 'multistep', 'stock'])
def test_by_iterations_the_next_image_comes_next(tmp_path, schedule):
    whole = Went(tmp_path / 'a', iterations=20, schedule=schedule)
    assert whole.last['meta']['position']['images'] == 40
    start = tmp_path / 'a' / 'iter_8.pth'
    same_again = Went(tmp_path / 'b', start, iterations=20, schedule=schedule)
    assert same_again.images == whole.images[16:]
    assert same(same_again.last['optimizer'], whole.last['optimizer'])
    larger = Went(tmp_path / 'c', start, iterations=20, batch=6, schedule=schedule)
    assert larger.rates == whole.rates[8:]
    assert larger.images[:24] == whole.images[16:40]
    assert 'train_dataloader.batch_size' in larger.said
    # the place in the data is not the number of iterations any more
    again = Went(tmp_path / 'd', tmp_path / 'c' / 'iter_10.pth', iterations=20, batch=6,
                 schedule=schedule)
    assert again.images == larger.images[12:]
    assert torch.equal(again.weight, larger.weight)


def test_accumulation_is_counted_in_updates(tmp_path):
    schedule = [dict(type='WarmupPolyLR', warmup=4, by_epoch=False)]
    accumulated = [dict(schedule[0], warmup=8, accumulation=2)]
    whole = Went(tmp_path / 'a', iterations=20, schedule=schedule)
    start = tmp_path / 'a' / 'iter_8.pth'
    rest = Went(tmp_path / 'b', start, iterations=40, accumulation=2, batch=1,
                schedule=accumulated)
    assert rest.rates[::2] == pytest.approx(whole.rates[8:])
    assert rest.images == whole.images[16:]
    assert rest.updates[::2] == whole.updates[8:]
    with pytest.raises(UserError, match=words('train_cfg.max_iters=40')):
        Went(tmp_path / 'c', tmp_path / 'a' / 'iter_10.pth', iterations=20, accumulation=2,
             schedule=[dict(accumulated[0], warmup=4)])


def test_warm_ups_of_losses_go_on_from_the_updates_that_were_made(tmp_path):
    Went(tmp_path / 'a')
    rest = Went(tmp_path / 'b', tmp_path / 'a' / 'epoch_2.pth', batch=4)
    assert rest.updates == [12, 13, 14, 15, 16, 17]
    assert Went(tmp_path / 'c', tmp_path / 'b' / 'epoch_3.pth', batch=2).updates[0] == 15


def test_in_the_middle_of_an_epoch_the_next_image_comes_next(tmp_path):
    whole = Went(tmp_path / 'a', default_hooks=dict(
        logger=None, checkpoint=dict(type='WholeCheckpointHook', interval=1, by_epoch=False),
    ))
    rest = Went(tmp_path / 'b', tmp_path / 'a' / 'iter_8.pth', batch=4)
    assert (rest.images, len(rest.rates)) == (whole.images[16:], 8)
    odd = Went(tmp_path / 'c', tmp_path / 'a' / 'iter_9.pth', batch=4)
    assert odd.images == whole.images[16:]  # two of them for the second time


def test_settings_of_the_optimizer_are_those_of_the_config(tmp_path):
    Went(tmp_path / 'a')
    rest = Went(tmp_path / 'b', tmp_path / 'a' / 'epoch_2.pth',
                optimizer=dict(ADAM, weight_decay=0.3, betas=(0.5, 0.9)))
    (group,) = rest.last['optimizer']['param_groups']
    assert (group['weight_decay'], tuple(group['betas'])) == (0.3, (0.5, 0.9))
    assert 'weight_decay: 0.1, now 0.3' in rest.said


def test_without_a_schedule_the_rate_is_the_configs(tmp_path):
    Went(tmp_path / 'a', schedule=None)
    rest = Went(tmp_path / 'b', tmp_path / 'a' / 'epoch_2.pth', schedule=None,
                optimizer=dict(ADAM, lr=0.5))
    assert set(rest.rates) == {0.5}


def test_scaling_the_rate_to_the_batch_has_its_effect(tmp_path):
    scaled = dict(enable=True, base_batch_size=2)
    Went(tmp_path / 'a', auto_scale_lr=scaled)
    always = Went(tmp_path / 'b', batch=1, auto_scale_lr=scaled)
    rest = Went(tmp_path / 'c', tmp_path / 'a' / 'epoch_2.pth', batch=1, auto_scale_lr=scaled)
    assert rest.rates == always.rates[24:]
    assert max(rest.rates) < 0.5


def test_a_schedule_that_was_not_saved_is_where_it_should_be(tmp_path):
    saving = dict(type='WholeCheckpointHook', interval=1, save_param_scheduler=False)
    whole = Went(tmp_path / 'a', default_hooks=dict(logger=None, checkpoint=saving))
    rest = Went(tmp_path / 'b', tmp_path / 'a' / 'epoch_2.pth')
    assert rest.rates == whole.rates[12:]


def test_another_kind_of_optimizer_is_refused(tmp_path):
    Went(tmp_path / 'a')
    with pytest.raises(CheckpointError, match=words('SGD', 'load_from')):
        Went(tmp_path / 'b', tmp_path / 'a' / 'epoch_2.pth',
             optimizer=dict(type='SGD', lr=1.0, momentum=0.9))


@pytest.mark.parametrize('kind', ['Adam', 'NAdam', 'Lamb'])
def test_a_kind_whose_settings_have_the_same_names_is_refused_too(tmp_path, kind):
    Went(tmp_path / 'a')
    with pytest.raises(CheckpointError, match=words(kind, 'AdamW', 'load_from')):
        Went(tmp_path / 'b', tmp_path / 'a' / 'epoch_2.pth', optimizer=dict(type=kind, lr=1.0))


def test_other_parameters_are_refused(tmp_path):
    class Two(Slope):
        def __init__(self):
            super().__init__()
            self.other = torch.nn.Parameter(torch.zeros(()), requires_grad=False)

    def go(folder, frozen, resume=None):
        model = Two()
        model.other.requires_grad = not frozen
        arguments = dict(
            train_cfg=dict(type='ResumableEpochLoop', max_epochs=2),
            optim_wrapper=dict(optimizer=ADAM, paramwise_cfg=dict(bypass_duplicate=True)),
            default_hooks=dict(
                logger=None, checkpoint=dict(type='WholeCheckpointHook', interval=1)
            ),
            custom_hooks=[dict(type='ResumeHook')],
            resume=bool(resume), load_from=resume and str(resume),
        )
        run = runner(folder, model, **arguments)
        run.train()

    go(tmp_path / 'a', True)
    with pytest.raises(CheckpointError, match=words('parameters', 'frozen', 'load_from')):
        go(tmp_path / 'b', False, tmp_path / 'a' / 'epoch_1.pth')


@pytest.mark.parametrize(
    ('now', 'fits'),
    [(['a', 'b'], True), (['_orig_mod.a', 'b'], True), (['a', 'c'], False), (['b', 'a'], False)],
)
def test_moments_go_to_no_other_parameters(now, fits):
    weights = [torch.nn.Parameter(torch.zeros(2)) for _ in range(2)]
    live = torch.optim.AdamW([dict(params=weights, lr=0.1, param_names=now)]).param_groups
    saved = [dict(params=[0, 1], lr=0.1, betas=(0.9, 0.999), param_names=['a', 'b'])]
    state = dict(param_groups=saved)
    if fits:
        return _check_groups('AdamW', live, state)
    with pytest.raises(CheckpointError, match=words('paramwise_cfg', 'load_from')):
        _check_groups('AdamW', live, state)


def test_another_seed_is_taken_and_said(tmp_path):
    Went(tmp_path / 'a')
    rest = Went(tmp_path / 'b', tmp_path / 'a' / 'epoch_2.pth', randomness=dict(seed=3))
    assert rest.run.seed == 3
    assert 'seed: 0, now 3' in rest.said


def test_a_checkpoint_without_a_record_goes_on_from_its_epoch(tmp_path):
    whole = Went(tmp_path / 'a')
    content = torch.load(tmp_path / 'a' / 'epoch_2.pth', weights_only=False)
    del content['meta']['position']
    torch.save(content, tmp_path / 'old.pth')
    rest = Went(tmp_path / 'b', tmp_path / 'old.pth')
    assert rest.rates == whole.rates[12:]
    assert 'does not record' in rest.said
    assert len(Went(tmp_path / 'c', tmp_path / 'old.pth', batch=4).rates) == 6


def test_a_schedule_that_follows_metrics_goes_on_as_it_was(tmp_path):
    plateau = [dict(type='ReduceOnPlateauLR', monitor='loss', patience=1)]
    Went(tmp_path / 'a', schedule=plateau)
    rest = Went(tmp_path / 'b', tmp_path / 'a' / 'epoch_2.pth', schedule=plateau, batch=4)
    assert len(rest.rates) == 6
    assert 'follows the metrics' in rest.said


@pytest.fixture
def tops(monkeypatch) -> dict:
    """Validations give 22 after the second epoch, and 17 after the others."""
    from mmengine.runner import ValLoop

    def run(self):
        top = 22.0 if self.runner.iter == 12 else 17.0
        self.runner.call_hook('after_val_epoch', metrics={'top': top})

    def __init__(self, runner, **arguments):
        self._runner = runner

    monkeypatch.setattr(ValLoop, 'run', run)
    monkeypatch.setattr(ValLoop, '__init__', __init__)
    saving = dict(type='WholeCheckpointHook', interval=1, save_best='top', rule='greater')
    return dict(
        val_dataloader=DataLoader([0]), val_cfg=dict(), val_evaluator=[],
        default_hooks=dict(logger=None, checkpoint=saving),
    )


@pytest.mark.parametrize('epoch', [1, 2, 3])
def test_a_schedule_that_follows_metrics_counts_a_validation_once(tmp_path, tops, epoch):
    """The checkpoints of the first two epochs are saved anew with the best metric."""
    plateau = [dict(type='ReduceOnPlateauLR', monitor='top', rule='greater', patience=1)]
    whole = Went(tmp_path / 'a', schedule=plateau, epochs=6, **tops)
    assert whole.rates[23:25] == [1.0, 0.1]
    file = tmp_path / 'a' / f'epoch_{epoch}.pth'
    rest = Went(tmp_path / 'b', file, schedule=plateau, epochs=6, **tops)
    assert rest.rates == whole.rates[6 * epoch :]


def test_a_run_that_waits_for_a_better_metric_has_waited_before(tmp_path, tops):
    hooks = [
        dict(type='ResumeHook', notes=[]),
        dict(type='EarlyStoppingHook', monitor='top', rule='greater', patience=2),
    ]
    whole = Went(tmp_path / 'a', epochs=8, custom_hooks=hooks, **tops)
    assert len(whole.rates) == 24
    file = tmp_path / 'a' / 'epoch_3.pth'
    assert len(Went(tmp_path / 'b', file, epochs=8, custom_hooks=hooks, **tops).rates) == 6


@pytest.mark.parametrize('resumed', [False, True])
def test_several_optimizers_are_refused_before_anything_is_loaded(tmp_path, resumed):
    parts = {name: OptimWrapper(torch.optim.SGD(Slope().parameters(), 0.1)) for name in 'ab'}
    run = runner(tmp_path, Slope(), custom_hooks=[dict(type='ResumeHook')], resume=resumed,
                 load_from='none.pth' if resumed else None,
                 optim_wrapper=OptimWrapperDict(**parts))  # fmt: skip
    with refused('optim_wrapper', 'a, b', 'paramwise_cfg.custom_keys'):
        run.train()
