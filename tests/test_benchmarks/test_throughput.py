"""The throughput of a suite's workloads, at toy size."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache

import pytest
import torch

from benchmarks.speed import throughput
from benchmarks.speed.formulation import Variant
from benchmarks.speed.throughput import Settings, measure, workloads_of
from g2sd_mm.bench.suites.budget import raw_config, read_throughput, work_of, workload
from g2sd_mm.bench.suites.paper import PAPER
from g2sd_mm.models.vit import Block

TOY = Settings('toy', batch=2, rounds=1)


@cache
def everything() -> dict[str, throughput.Workload]:
    return {one.stage.name: one for one in workloads_of(PAPER, PAPER.rows)}


def of(name: str) -> throughput.Workload:
    return next(one for one in everything().values() if name in one.steps)


def test_every_step_of_the_suite_is_in_one_workload():
    steps = [name for one in everything().values() for name in one.steps]
    assert sorted(steps) == sorted(step.name for step in PAPER.steps_of(PAPER.rows))
    for step in PAPER.steps:
        one = of(step.name)
        assert one.key == workload(raw_config(step.config, step.options))
        assert one.dtype == ('bfloat16' if step.amp else 'float32')
    assert of('vits_single_stage') is of('g2sd_vits_cls') is not of('g2sd_vits_cls_nosd')


def test_batches_are_the_recipes_of_one_gpu():
    batches = {name: of(name).stage.gpu_batch for name in ('vitl_mae', 'g2sd_vits_generic',
               'vitb_cls', 'vitb_maskrcnn', 'vitl_upernet')}
    assert list(batches.values()) == [256, 256, 128, 8, 2]
    assert [of(name).stage.task for name in batches] == ['generic', 'generic', 'cls', 'det', 'seg']


def test_precisions_can_be_chosen():
    rows = PAPER.select(table=['main'], task=['det'], method=['g2sd'], student=['vits'])
    asked = [(one.stage.name, one.dtype) for one in workloads_of(PAPER, rows, dtypes=['float32'])]
    assert ('g2sd_vits_generic', 'float32') in asked and ('g2sd_vits_maskrcnn', 'float32') in asked
    assert {dtype for _, dtype in asked} == {'float32'}


@pytest.mark.parametrize(
    ('name', 'kind'),
    [
        ('vitt_mae', 'MAEPretraining'),
        ('g2sd_vitt_generic_dec64d4b', 'SpecificDistiller'),
        ('g2sd_vits_generic_relation', 'SpecificDistiller'),
        ('vits_mae_cls', 'ImageClassifier'),
        ('g2sd_vits_cls_nkd', 'SpecificDistiller'),
        ('vitl_upernet', 'EncoderDecoder'),
        ('ade20k_vits_upernet_features', 'SpecificDistiller'),
        pytest.param('vitb_maskrcnn', 'MaskRCNN', marks=pytest.mark.slow),
        pytest.param('g2sd_vits_maskrcnn_objectness', 'SpecificDistiller', marks=pytest.mark.slow),
    ],
)
def test_every_kind_of_network_is_measured(name, kind, monkeypatch):
    built = []
    make = throughput.Formulation
    monkeypatch.setattr(throughput, 'Formulation', lambda *a: built.append(make(*a)) or built[-1])
    figure = throughput.measure_one(of(name), TOY)
    assert 'error' not in figure
    assert figure['images_per_second'] == pytest.approx(2 / figure['seconds'][0])
    assert (figure['part'], figure['batch'], figure['dtype']) == ('step', 2, of(name).dtype)
    (formulation,) = built
    assert type(formulation.model).__name__ == kind
    mixed = figure['dtype'] == 'bfloat16'
    assert (type(formulation.optimizer).__name__ == 'AutocastOptimWrapper') == mixed
    if hasattr(formulation.model, 'teacher'):
        assert formulation.model.teacher.dtype == getattr(torch, figure['dtype'])


def test_options_of_a_step_are_in_its_network():
    step = PAPER.step('vitt_mae')
    changed = replace(step, options={'model.mask_ratio': 0.5})
    stage = throughput.stage_of(changed)
    model = throughput.Formulation(stage, 'toy', 'cpu', Variant()).model
    assert model.mask_ratio == 0.5


def test_a_workload_that_does_not_fit_is_told_and_the_others_go_on(monkeypatch):
    good, bad = of('vitt_mae'), of('vitb_mae')
    run = throughput._time

    def time(stage, *rest):
        if stage.name == 'vitb_mae':
            raise torch.OutOfMemoryError('CUDA out of memory.\nTried to allocate 2 GiB')
        return run(stage, *rest)

    monkeypatch.setattr(throughput, '_time', time)
    heard = []
    measured = measure([bad, good], TOY, lambda so_far: heard.append(json.dumps(so_far)))
    (failed,), (figure,) = measured['failed'], measured['figures']
    assert failed['steps'] == ['vitb_mae'] and failed['error'].startswith('CUDA out of memory')
    assert '\n' not in failed['error'] and 'images_per_second' not in failed
    assert figure['steps'] == ['vitt_mae']
    assert [len(json.loads(text)['figures']) for text in heard] == [0, 1]


def test_blocks_are_compiled_where_training_compiles_them(monkeypatch):
    monkeypatch.setattr(throughput, 'why_not', lambda device: None)
    assert throughput._compiles('cuda') and not throughput._compiles('cpu')
    monkeypatch.setattr(throughput, 'why_not', lambda device: 'no Triton')
    assert not throughput._compiles('cuda')
    compiled = []
    monkeypatch.setattr(Block, 'compile', lambda self, **_: compiled.append(self))
    figure = throughput.measure_one(of('vitt_mae'), TOY, compiled=True)
    assert figure['variant'] == 'bfloat16, compiled'
    assert len(compiled) == 2 + 3


def test_its_figures_give_the_hours_of_every_step(tmp_path, monkeypatch):
    """What would be measured on a GPU, read by the dry run."""
    def time(stage, variant, batch, settings):
        return throughput.Timing((batch / 1000,))

    monkeypatch.setattr(throughput, '_time', time)
    monkeypatch.setattr(throughput.surroundings, 'bfloat16_counts', lambda device: True)
    monkeypatch.setattr(throughput, '_free', lambda device: None)  # nothing is built
    measured = measure(list(everything().values()), Settings())
    measured['environment'] |= {'gpu': 'H100', 'device': 'cuda'}
    (tmp_path / 'speed.json').write_text(json.dumps(measured))
    told = read_throughput(str(tmp_path / 'speed.json'))
    for step in PAPER.steps:
        cfg = raw_config(step.config, step.options)
        hours = told.gpu_hours(workload(cfg), step.amp, work_of(cfg))
        assert hours == pytest.approx(work_of(cfg).seen / 1000 / 3600), step.name


@pytest.mark.slow
def test_every_workload_of_the_paper_can_be_measured():
    toy = measure(list(everything().values()), TOY)
    # taps or heads of one size alone
    whole = [everything()[each['steps'][0]] for each in toy['failed']]
    others = ('baselines', 'dinov2', 'dinov3', 'siglip2')
    assert all(any(name in each.stage.config for name in others) for each in whole)
    measured = measure(whole, Settings(batch=2, rounds=1))
    assert measured['failed'] == []
    assert len(toy['figures']) > len(measured['figures'])
    assert len(toy['figures']) + len(measured['figures']) == len(everything())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')
def test_a_workload_is_measured_on_a_gpu():
    measured = measure([of('g2sd_vitt_generic')], Settings('full', 'cuda', rounds=2))
    (figure,) = measured['figures']
    assert figure['batch'] == 256 and figure['images_per_second'] > 0
