"""Licences of teachers go with weights, from stage to stage."""

from __future__ import annotations

import json

import torch

from g2sd_mm.checkpoints.record import licences_beside, licences_of

from ..helpers.toys import save


def test_licences_of_the_teacher_of_several_and_of_those_before():
    assert licences_of({'teacher': {'model': 'a', 'licence': 'mit'}}) == {'a': 'mit'}
    assert licences_of({'teacher': {'file': 'b.pth', 'licence': 'mit'}}) == {'b.pth': 'mit'}
    several = {'teachers': {'one': {'model': 'a', 'licence': 'mit'}, 'two': {'model': 'b'}}}
    assert licences_of({'teacher': None, **several}) == {'a': 'mit'}
    before = {'initialised_from': {'file': 'w.pth', 'licences': {'c': 'x'}}, 'teacher': None}
    assert licences_of(before) == {'c': 'x'}
    both = {**before, 'teacher': {'config': 'd.py', 'licence': 'y'}}
    assert licences_of(both) == {'c': 'x', 'd.py': 'y'}
    passed_on = {'teacher': {'file': 't.pth', 'licences': {'e': 'z'}}}
    assert licences_of(passed_on) == licences_of({'teachers': {'one': passed_on['teacher']}})
    assert licences_of(passed_on) == {'e': 'z'}


def test_odd_records_say_nothing():
    for origin in (None, [], {}, {'teacher': 'x'}, {'teacher': {'licence': 5}},
                   {'initialised_from': {'licences': 'mit'}}):
        assert licences_of(origin) == {}


def test_what_the_json_beside_a_file_says(tmp_path):
    file = save(tmp_path / 'weights.pth', {'x.weight': torch.ones(2)})
    assert licences_beside(file) == {} and licences_beside(None) == {}
    record = {'network': None, 'origin': {'teacher': {'model': 'a', 'licence': 'mit'}}}
    (tmp_path / 'weights.json').write_text(json.dumps(record))
    assert licences_beside(file) == {'a': 'mit'}
    (tmp_path / 'weights.json').write_text('{')
    assert licences_beside(file) == {}


def test_a_training_checkpoint_says_it_itself(tmp_path):
    """No JSON lies beside it."""
    student = {'network': None, 'origin': {'teacher': {'model': 'a', 'licence': 'mit'}}}
    file = save(tmp_path / 'epoch_1.pth', {'x.weight': torch.ones(2)}, student=student)
    assert licences_beside(file) == {'a': 'mit'}
    assert licences_beside(str(tmp_path / 'nowhere.pth')) == {}
    (tmp_path / 'broken.pth').write_bytes(b'x')
    assert licences_beside(str(tmp_path / 'broken.pth')) == {}
