"""The same place in a run that counts in other units."""

from __future__ import annotations

from dataclasses import replace

import pytest

from g2sd_mm.checkpoints import CheckpointError
from g2sd_mm.engine.position import KEY, Position, Units, changes, read_position, translate
from g2sd_mm.errors import UserError

from ..helpers.toys import words

EPOCHS = Units(True, end=8, epoch_length=15, dataset=240, batch=16, processes=1, accumulation=1)
ITERS = Units(False, end=100, epoch_length=15, dataset=240, batch=16, processes=1, accumulation=1)


def at(units: Units, epoch: int, iteration: int) -> Position:
    updates = iteration // units.accumulation
    return Position(units, epoch, iteration, updates, iteration * units.step)


def place(old: Position, **now) -> tuple[int, int]:
    found = translate(old, replace(old.units, **now))
    return found.epoch, found.iteration


def test_nothing_changed_is_the_same_object():
    old = at(EPOCHS, 4, 62)
    assert translate(old, replace(EPOCHS)) is old
    assert changes(old, old) == []


@pytest.mark.parametrize(('now', 'iteration'), [
    (dict(batch=48, epoch_length=5), 20),
    (dict(batch=8, epoch_length=30), 120),
    (dict(processes=3, epoch_length=5), 20),
    (dict(dataset=120, epoch_length=7), 28),
    (dict(dataset=480, epoch_length=30), 120),
    (dict(accumulation=4), 60),
    (dict(end=16), 60),
])
def test_whole_epochs_stay_whole(now, iteration):
    assert place(at(EPOCHS, 4, 60), **now) == (4, iteration)


@pytest.mark.parametrize(('begun', 'now', 'step'), [
    (6, dict(batch=48, epoch_length=5), 2),
    (7, dict(batch=48, epoch_length=5), 2),  # 16 images are seen twice
    (7, dict(batch=8, epoch_length=30), 14),
    (7, dict(batch=8, processes=4, epoch_length=7), 3),
    (14, dict(batch=17, epoch_length=14), 13),
    (5, dict(dataset=480, epoch_length=30), 10),  # of other images their share
    (15, dict(batch=7, epoch_length=34), 34),  # only the end of the epoch is left
])
def test_in_an_epoch_images_count(begun, now, step):
    assert place(at(EPOCHS, 2, 30 + begun), **now) == (2, 2 * now['epoch_length'] + step)


def test_the_place_is_rounded_down_to_a_whole_update():
    assert place(at(EPOCHS, 2, 37), accumulation=4) == (2, 36)
    assert place(at(EPOCHS, 3, 45), accumulation=4) == (2, 44)  # the end of the epoch before
    assert place(at(replace(EPOCHS, end=1), 1, 15), accumulation=4, end=2) == (0, 12)


def test_updates_and_images_are_those_that_were_made():
    found = translate(at(EPOCHS, 4, 60), replace(EPOCHS, batch=48, epoch_length=5))
    assert (found.updates, found.images) == (60, 960)
    later = found.after(5, 25)
    assert (later.updates, later.images, later.iteration) == (65, 960 + 5 * 48, 25)
    back = translate(later, EPOCHS)
    assert (back.epoch, back.iteration, back.updates) == (5, 75, 65)


@pytest.mark.parametrize(('now', 'iteration'), [
    (dict(batch=4), 40), (dict(processes=8), 40), (dict(dataset=7, epoch_length=1), 40),
    (dict(end=60), 40), (dict(accumulation=2, end=200), 80),
])
def test_runs_by_iterations_keep_their_updates(now, iteration):
    assert place(at(ITERS, 0, 40), **now) == (0, iteration)


def test_less_accumulation_is_fewer_iterations():
    old = replace(ITERS, accumulation=4)
    assert place(at(old, 0, 40), accumulation=1) == (0, 10)


@pytest.mark.parametrize(('old', 'now', 'option'), [
    (at(EPOCHS, 4, 60), dict(end=4), 'train_cfg.max_epochs=8'),
    (at(EPOCHS, 8, 120), dict(end=6), 'train_cfg.max_epochs=9'),
    (at(ITERS, 0, 60), dict(accumulation=2), 'train_cfg.max_iters=200'),
    (at(ITERS, 0, 60), dict(end=60), 'train_cfg.max_iters=100'),
])
def test_a_run_without_a_step_is_refused_with_a_length_that_has_one(old, now, option):
    with pytest.raises(UserError, match=words('nothing is left to train', option)):
        place(old, **now)
    # what the message offers works
    place(old, **{**now, 'end': int(option.partition('=')[2])})


def test_a_finished_run_is_finished_whatever_its_batch():
    now = dict(batch=48, epoch_length=5, accumulation=3)
    assert place(at(EPOCHS, 8, 120), **now) == (8, 40)


def test_epochs_do_not_become_iterations():
    with pytest.raises(CheckpointError, match='train_cfg'):
        translate(at(EPOCHS, 4, 60), ITERS)


def test_what_is_recorded_is_read():
    old = at(EPOCHS, 4, 61)
    assert read_position({KEY: old.plain(), 'epoch': 9, 'iter': 9}, ITERS) == old


@pytest.mark.parametrize('damage', [
    {'epoch': -1}, {'batch': '16'}, {'epoch_length': 0}, {'accumulation': 0}, {'images': None},
    {'iteration': 10**12}, {'epoch': 5},
])
def test_a_damaged_record_is_refused(damage):
    with pytest.raises(CheckpointError, match=r'meta\.position'):
        read_position({KEY: at(EPOCHS, 4, 61).plain() | damage}, EPOCHS)


def test_without_a_record_the_counts_tell():
    small = replace(EPOCHS, batch=8, epoch_length=30)
    old = read_position(dict(epoch=4, iter=60), small)
    assert translate(old, small).iteration == 120
    assert read_position(dict(epoch=4, iter=62), EPOCHS) == at(EPOCHS, 4, 62)
    with pytest.raises(CheckpointError, match='batch size'):
        read_position(dict(epoch=4, iter=62), small)


def test_without_a_record_a_shorter_run_is_refused():
    for meta, units in ((dict(epoch=4, iter=60), EPOCHS), (dict(epoch=0, iter=60), ITERS)):
        shorter = replace(units, end=3)
        with pytest.raises(UserError, match='nothing is left'):
            translate(read_position(meta, shorter), shorter)


def test_the_log_names_what_changed_and_what_it_means():
    old = at(EPOCHS, 4, 60)
    found = translate(old, replace(EPOCHS, batch=48, epoch_length=5, dataset=250))
    said = '\n'.join(changes(old, found))
    for part in ('batch_size', '16, now 48', '240, now 250', 'iteration 20', '--auto-scale-lr'):
        assert part in said
