"""Long runs on few images show a few views of each, whose answers of the teacher are kept."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from g2sd_mm.bench.own_student import kept_answers as module
from g2sd_mm.bench.own_student import trial as trial_module
from g2sd_mm.bench.own_student.kept_answers import kept_answers, share_asked, size_of, views_of
from g2sd_mm.bench.own_student.plan import Wishes, describe, look_at, make_plan
from g2sd_mm.bench.own_student.trial import UPDATES, Trial, _in_passes
from g2sd_mm.bench.suites.budget import raw_config, step_work, work_of
from g2sd_mm.bench.suites.derived import smoke

from ...helpers.toys import image_folder

#: Name -> config, passes over 512 images, and how often each view is met.
RUNS = {
    'stage 1': ('configs/mini/g2sd_vits_generic.py', 476, 5),
    'stage 2': ('configs/mini/g2sd_plus_vits_cls.py', 159, 2.5),
}


def asked(config, passes, images=512, options=None):
    cfg = raw_config(config, options)
    cfg.train_cfg.max_epochs = round(passes * images / (images // 64 * 64))
    return kept_answers(cfg, work_of(cfg, images))


@pytest.fixture(scope='module')
def plan(tmp_path_factory):
    root = tmp_path_factory.mktemp('own') / 'fruit'
    image_folder(root / 'train', classes=2, each=64, size=8)
    image_folder(root / 'val', classes=2, each=2, size=8, seed=1)
    wishes = Wishes(str(root))
    return make_plan(wishes, look_at(wishes))


@pytest.mark.parametrize('name', RUNS)
def test_each_view_is_met_a_few_times(name):
    config, passes, meetings = RUNS[name]
    options = asked(config, passes)
    assert options['train_dataloader.dataset.views'] == pytest.approx(passes / meetings, abs=1)
    hooks = options['custom_hooks']
    assert hooks[:-1] == raw_config(config).custom_hooks
    assert hooks[-1]['type'] == 'TeacherAnswersHook'


@pytest.mark.parametrize(
    ('config', 'passes', 'images'),
    [
        ('configs/mini/g2sd_vits_generic.py', 12, 8_000),  # few passes
        ('configs/mini/g2sd_plus_vits_cls.py', 159, 500),  # a tenth is left out of each pass
        ('configs/mini/vitb_mae.py', 476, 500),  # no teacher
        ('configs/mini/g2sd_vits_cls_nosd.py', 159, 500),
        ('configs/mini/g2sd_vits_maskrcnn.py', 100, 500),  # maps
        ('configs/mini/g2sd_vits_upernet.py', 100, 500),
        ('configs/mini/g2sd_vits_generic.py', 476, 5_000),  # 6 GB
    ],
)
def test_where_it_gains_nothing_or_does_not_fit_every_pass_is_new(config, passes, images):
    assert asked(config, passes, images) == {}


def test_the_plan_says_what_is_kept_and_how_much_it_takes(plan):
    kept = {step.name: views_of(step) for step in plan.steps() if views_of(step)}
    assert set(kept) == {'g2sd_vits_generic', 'g2sd_vits_cls'}
    lines = {line.partition(':')[0]: line for line in describe(plan)}
    assert f'{kept["g2sd_vits_cls"]} views' in lines['stage 2']
    assert 'views' not in lines['fine-tuning of the teacher']
    step = plan.suite.step('g2sd_vits_generic')
    rows = kept[step.name] * 128
    # as the hook counts: 50 tokens of the 64 channels of the teacher's decoder
    assert size_of(step, plan.data) == rows * 50 * 64 * 4 <= module.MOST_BYTES


def test_its_time_is_that_of_asking_for_a_part(plan):
    step = plan.suite.step('g2sd_vits_cls')
    trial = Trial({step.name: 1.0}, {step.name: 0.0}, 0, {}, {step.name: 0.5})
    assert share_asked(step, plan.data) == pytest.approx(0.4, abs=0.01)
    assert trial.mean_update(step, plan.data) == pytest.approx(0.7, abs=0.01)
    plain = replace(step, options={})
    assert trial.mean_update(plain, plan.data) == 1.0


def played_through(images, views, epochs):
    """Share of batches of 64 with an image that has not been in its view before."""
    order = np.random.default_rng(0)
    known, asked, steps = [set() for _ in range(views)], 0, images // 64
    for epoch in range(epochs):
        seen = known[epoch % views]
        for batch in np.split(order.permutation(images)[: steps * 64], steps):
            asked += not seen.issuperset(batch)
            seen.update(batch)
    return asked / (epochs * steps)


@pytest.mark.parametrize(
    ('images', 'views'), [(512, 4), (500, 4), (4_000, 4), (4_000, 8), (512, 40)]
)
def test_images_that_a_pass_leaves_out_are_asked_for_later(images, views):
    cfg = raw_config('configs/mini/g2sd_vits_generic.py', {'train_cfg.max_epochs': 20})
    expected = played_through(images, views, 20)
    assert module._asked(work_of(cfg, images), views) == pytest.approx(expected, abs=0.06)


def test_a_trial_asks_in_half_of_its_passes_and_reads_in_the_others(plan):
    def tried(name):
        return _in_passes(smoke(plan.suite, UPDATES).step(name), plan.data)

    step = tried('g2sd_vits_cls')
    cfg = raw_config(step.config, step.options)
    passes = UPDATES * 64 // 128  # each has two updates
    assert cfg.train_dataloader.dataset.views == passes
    assert cfg.train_cfg.max_epochs == cfg.train_cfg.val_interval == 2 * passes
    assert step_work(step, plan.data)[0].updates == 2 * UPDATES
    twin = tried('g2sd_vits_cls_nosd')
    assert step_work(twin, plan.data)[0].updates == UPDATES
    assert 'train_dataloader.dataset.views' not in twin.options


def test_times_with_a_teacher_and_with_its_answers_are_told_apart(plan, tmp_path, monkeypatch):
    def run_suite(suite, rows, seeds, folder, **how):
        for step in suite.steps_of(rows):
            updates = int(step_work(step, plan.data)[0].updates)
            log = folder / 'seed0' / step.name / 'now' / 'vis_data' / 'scalars.json'
            log.parent.mkdir(parents=True)
            asked = updates // 2 if views_of(step) else updates
            lines = [{'loss': 1.0, 'time': 3.0 if i < asked else 1.0} for i in range(updates)]
            log.write_text('\n'.join(map(json.dumps, lines)))
            (log.parents[2] / 'result.json').write_text('{"train_seconds": 99}')
        return {'rows': []}

    monkeypatch.setattr(trial_module, 'run_suite', run_suite)
    trial = trial_module.try_out(plan, tmp_path, 1)
    assert set(trial.update.values()) == {3.0}
    assert trial.known == dict.fromkeys(('g2sd_vits_generic', 'g2sd_vits_cls'), 1.0)
