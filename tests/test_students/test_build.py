"""A sidecar is data: nothing that it names is imported or called but registered components."""

from __future__ import annotations

import sys
import types

import pytest

from g2sd_mm.errors import UserError
from g2sd_mm.students.build import check_network

from ..students import record
from ..toys import words


@pytest.fixture
def network():
    return record()['network']


@pytest.mark.parametrize('name', ['os.system', 'mmpretrain.os.system', 'a-b', ''])
@pytest.mark.parametrize('place', ['model', 'test_pipeline'])
def test_only_registered_names_are_built(network, name, place):
    part = network['model']['head'] if place == 'model' else network['test_pipeline'][1]
    part['type'] = name
    with pytest.raises(UserError, match=words(f'names {name!r}, which is no component')):
        check_network(network)


def test_a_librarys_name_may_stand_before_it(network):
    network['model']['head']['type'] = 'mmpretrain.DeiTClsHead'
    check_network(network)


def test_only_the_task_libraries_are_scopes(network):
    network['model']['head']['_scope_'] = 'antigravity'
    with pytest.raises(UserError, match=words("scope 'antigravity'", 'mmpretrain, mmdet, mmseg')):
        check_network(network)


def test_other_modules_are_imported_by_the_person(network, monkeypatch):
    network['imports'].append('my_layers')
    with pytest.raises(UserError, match='the student needs my_layers: if you trust it, import'):
        check_network(network)
    assert 'my_layers' not in sys.modules
    monkeypatch.setitem(sys.modules, 'my_layers', types.ModuleType('my_layers'))
    check_network(network)
