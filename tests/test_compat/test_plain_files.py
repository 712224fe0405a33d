"""What mmengine loads by its ending: plain values, and no code."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from io import BytesIO

import mmengine
import pytest

from g2sd_mm.compat.plain_files import load_plain_pickle
from g2sd_mm.errors import DataError

from ..helpers.toys import Calls, writes_a_file

PLAIN = {'metainfo': {'classes': ['a', 'b']}, 'data_list': [{'box': (1, 2.5), 'x': None}]}


@pytest.mark.parametrize('protocol', [0, 2, 4, 5])
def test_plain_values_are_read(tmp_path, protocol):
    path = tmp_path / 'ann.pkl'
    path.write_bytes(pickle.dumps(PLAIN, protocol))
    assert mmengine.load(path) == PLAIN


@pytest.mark.parametrize('protocol', [0, 2, 4])
def test_a_pickle_that_asks_for_code_is_refused(tmp_path, protocol):
    victim, path = tmp_path / 'victim.txt', tmp_path / 'ann.pkl'
    path.write_bytes(pickle.dumps([writes_a_file(victim)], protocol))
    with pytest.raises(DataError, match=r'ann\.pkl: refused, the pickle asks for ') as caught:
        mmengine.load(path)
    assert '\n' not in str(caught.value)
    assert not victim.exists()


@pytest.mark.parametrize('content', [OrderedDict(), Calls(print, 'x'), print])
def test_nothing_is_on_the_list(content):
    with pytest.raises(DataError, match=r'^refused, the pickle asks for '):
        load_plain_pickle(BytesIO(pickle.dumps(content)))


@pytest.mark.parametrize('content', [b'', b'\x80\x04', b'nothing', pickle.dumps(PLAIN)[:-20]])
def test_a_damaged_pickle_is_named(content):
    with pytest.raises(DataError, match='this is not a pickle, or damaged'):
        load_plain_pickle(BytesIO(content))


def test_yaml_calls_nothing(tmp_path):
    import yaml

    path, victim = tmp_path / 'ann.yaml', tmp_path / 'victim'
    path.write_text('a: [1, 2.5, text]')
    assert mmengine.load(path) == {'a': [1, 2.5, 'text']}
    path.write_text(f'!!python/object/apply:os.mkdir ["{victim}"]')
    with pytest.raises(yaml.YAMLError):
        mmengine.load(path)
    assert not victim.exists()
