"""Steps with more classes, objects and processes."""

from __future__ import annotations

import json

import pytest

from benchmarks import growth_steps


def test_a_batch_has_the_classes_or_the_objects_that_are_asked_for():
    stage = growth_steps.stage_of('classes', 3)
    batch = growth_steps.batch_of('classes', 3, stage)
    assert {int(sample.gt_label) for sample in batch['data_samples']} == {0, 1, 2}
    (sample,) = growth_steps.batch_of('objects', 40, growth_steps.stage_of('objects', 40))[
        'data_samples'
    ]
    assert len(sample.gt_instances) == len(sample.gt_instances.masks) == 40


def test_all_numbers_are_written_and_what_grows_faster_is_said(tmp_path):
    def measured(part: str, number: int) -> dict[str, float]:
        of_step = number**2 if part == 'objects' else 1.0
        return {'seconds': 1.0, 'cpu_seconds': of_step, 'bytes': 1, 'start_seconds': 1.0}

    out = tmp_path / 'folder' / 'steps.json'
    growth_steps.run({'classes': (10, 100), 'objects': (1, 10)}, out, measured)
    content = json.loads(out.read_text())
    assert [figure['number'] for figure in content['figures']['classes']] == [10, 100]
    (line,) = content['faster_than_linear']
    assert line.startswith('objects: cpu_seconds: 1 to 10 number')


@pytest.mark.slow
@pytest.mark.parametrize(('part', 'number'), [('classes', 10), ('objects', 3), ('processes', 2)])
def test_steps_are_timed_in_processes_of_their_own(part, number):
    figures = growth_steps.in_processes(part, number)
    assert 0 < figures['lowest'] <= figures['seconds'] <= figures['highest']
    assert figures['start_seconds'] > figures['seconds'] and figures['bytes'] > 0


def test_a_process_that_fails_is_named():
    with pytest.raises(RuntimeError, match='a step of many classes'):
        growth_steps.in_processes('classes', 'many')
