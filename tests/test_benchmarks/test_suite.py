"""A whole benchmark at toy size: what is measured, and what is written down."""

from __future__ import annotations

import json

import pytest
import torch

from benchmarks.speed import suite, surroundings
from benchmarks.speed.figures import Memory, Reading, Speed
from benchmarks.speed.formulation import Formulation, Variant
from benchmarks.speed.pairing import Timing
from benchmarks.speed.report import HEADER, cells, line, plain
from benchmarks.speed.stages import STAGES
from benchmarks.speed.suite import Settings, measure
from g2sd_mm.models.vit import Block

PARTS = ('step', 'teacher', 'student', 'input', 'end_to_end', 'memory')
VARIANTS = (Variant('float32'), Variant('bfloat16'))


@pytest.fixture(scope='module')
def measured() -> tuple[dict, list]:
    said: list = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('benchmarks.speed.pipeline.PICTURES', 4)
        patch.setattr(suite, 'measure_memory', lambda stage, reference, **_: 100 + 100 * reference)
        settings = Settings(('generic_vits',), PARTS, VARIANTS, 'toy', batch=2, pairs=2)
        return measure(settings, said.append), said


def test_every_part_is_measured_in_every_variant(measured):
    result, said = measured
    assert [(f.part, f.variant) for f in result['speed']] == [
        *(
            (part, dtype)
            for part in ('step', 'teacher', 'student', 'end_to_end')
            for dtype in ('float32', 'bfloat16')
        ),
        ('input', 'pipeline'),
        ('input', 'decoding alone'),
        ('input', 'decoding at 1/8'),
    ]
    assert result['memory'] == [
        Memory('generic_vits', dtype, 2, 100, 200) for dtype in ('float32', 'bfloat16')
    ]
    assert [type(f) for f in said] == [Speed] * 11 + [Memory] * 2
    for figure in result['speed']:
        assert figure.ratio.rounds == len(figure.seconds) == 2
        assert figure.ratio.lowest <= figure.ratio.median <= figure.ratio.highest
        assert (figure.utilisation is None) == (figure.part in ('teacher', 'student', 'input'))


def test_utilisation_is_work_done_over_the_ceiling(measured):
    result, _ = measured
    step = result['speed'][1]
    done = step.images_per_second * result['step_flops']['generic_vits']
    assert step.utilisation == pytest.approx(done / result['peaks']['bfloat16'])
    done = step.reference_images_per_second * result['step_flops']['generic_vits']
    assert step.reference_utilisation == pytest.approx(done / result['peaks']['float32'])


def test_json_has_the_environment_and_every_round(measured):
    content = json.loads(json.dumps(plain(measured[0])))
    assert content['environment']['threads'] == torch.get_num_threads()
    assert len(content['environment']['load_average']) == 2
    assert content['size'] == 'toy'
    assert content['figures'][0]['config'] == 'configs/imagenet/g2sd_vits_generic.py'
    assert content['figures'][0]['ratio']['rounds'] == 2
    assert len(content['figures'][0]['reference_seconds']) == 2
    assert content['memory'][0]['ratio'] == 0.5


def test_a_quick_stage_has_one_name_in_all_that_is_written(monkeypatch):
    def speeds(stage, settings, flops, peaks):
        times = Timing((1.0,))
        yield Speed.of(stage.name, 'step', 'float32', 1, 1, times, times, flops=flops,
                       peaks=(1.0, 1.0))  # fmt: skip

    monkeypatch.setattr(suite, '_of_stage', speeds)
    monkeypatch.setattr(suite, 'step_flops', lambda *_: 1.0)
    monkeypatch.setattr(suite, 'matmul_peak', lambda *_: 1.0)
    names = ('cls_vits', 'det_vits')
    quick = measure(Settings(names, ('step',), (Variant('float32'),), quick=True))
    figures = plain(quick)['figures']
    assert [figure['stage'] for figure in figures] == list(quick['step_flops'])
    assert [figure['config'] for figure in figures] == [STAGES[name].config for name in names]
    # and the columns of the table are as wide as the names
    lines = [line(HEADER), *(line(cells(figure)) for figure in quick['speed'])]
    words = ('part', 'step', 'step')
    assert len({text.index(word) for text, word in zip(lines, words, strict=True)}) == 1


def test_tables_have_a_line_a_figure(measured):
    _, said = measured
    assert all(len(cells(figure)) == len(HEADER) for figure in said)
    reading = Reading('det_vits', 0, 12.34)
    assert line(cells(reading)).split() == ['det_vits', 'input', 'in', 'process', '12.3/s']
    memory = Memory('det_vits', 'float32', 1, 900_000_000, 3_000_000_000)
    assert line(cells(memory)).split() == [
        'det_vits', 'memory', 'float32', '1', '900', 'MB', '3000', 'MB', '0.30']


def test_bfloat16_without_instructions_is_marked(measured, monkeypatch):
    monkeypatch.setattr(surroundings, 'cpu_flags', lambda: ['avx2', 'avx512f'])
    assert not surroundings.bfloat16_counts('cpu')
    monkeypatch.setattr(surroundings, 'cpu_flags', lambda: ['avx512_bf16'])
    assert surroundings.bfloat16_counts('cpu')
    step = measured[0]['speed'][1]
    marked = Speed(**{**vars(step), 'counts': False})
    assert cells(marked)[2] == 'bfloat16 (emulated)'


@pytest.mark.parametrize(
    ('loads', 'shared'), [([0.4, 2.1], False), ([1.0, 7.5], True), ([], False)]
)
def test_other_work_on_the_machine_is_noticed(loads, shared, monkeypatch):
    monkeypatch.setattr(torch, 'get_num_threads', lambda: 2)
    assert surroundings.describe('cpu', loads)['shared_with_other_work'] == shared


def test_each_device_has_its_batch():
    settings = Settings(('det_vits',), PARTS, VARIANTS)
    assert settings.batch_of(STAGES['det_vits']) == 1
    on_gpu = Settings(('det_vits',), PARTS, VARIANTS, device='cuda')
    assert on_gpu.batch_of(STAGES['det_vits']) == 8
    assert Settings((), PARTS, VARIANTS, batch=3).batch_of(STAGES['seg_vits']) == 3


def test_steps_on_a_gpu_are_waited_for(monkeypatch):
    waited = []
    monkeypatch.setattr(torch.cuda, 'synchronize', lambda: waited.append(True))
    formulation = Formulation(STAGES['generic_vits'], 'toy')
    formulation.device = 'cuda'
    monkeypatch.setattr(formulation, '_step', lambda batch: waited.append(False))
    formulation.run('step', {})
    assert waited == [False, True]


def test_a_compiled_variant_has_both_networks_compiled(monkeypatch):
    compiled = []
    monkeypatch.setattr(Block, 'compile', lambda self, **_: compiled.append(self))
    Formulation(STAGES['generic_vits'], 'toy', variant=VARIANTS[0])
    assert not compiled
    Formulation(STAGES['generic_vits'], 'toy', variant=Variant('float32', compiled=True))
    assert len(compiled) == (2 + 3) + (2 + 2)  # the teacher stops at decoder block 2


def test_variants_differ_in_the_precision_of_both_networks():
    formulation = Formulation(STAGES['generic_vits'], 'toy', variant=VARIANTS[1])
    assert formulation.model.teacher.dtype == torch.bfloat16
    assert next(formulation.model.parameters()).dtype == torch.float32
    with formulation.optimizer.optim_context(formulation.model):
        assert torch.is_autocast_enabled('cpu')
    assert Variant('bfloat16', True).name == 'bfloat16, compiled'


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')
@pytest.mark.parametrize('name', ['generic_vits', 'cls_vits', 'det_vits', 'seg_vits'])
def test_everything_is_measured_on_a_gpu(name):
    settings = Settings((name,), PARTS, VARIANTS, 'toy', 'cuda', batch=2, pairs=1, workers=1)
    result = measure(settings)
    assert len(result['speed']) == 8 + (name in ('generic_vits', 'cls_vits'))
    assert all(figure.bytes > 0 for figure in result['memory'])
