"""The JSON beside a weights file."""

from __future__ import annotations

import json

import pytest

from g2sd_mm.checkpoints.record import read_sidecar, sidecar_path, write_sidecar
from g2sd_mm.errors import UserError
from g2sd_mm.provenance import file_digest

RECORD = {'network': None, 'origin': {'epoch': 1}}


def test_it_is_read_back_with_the_files_digest(tmp_path):
    weights = tmp_path / 'weights.pth'
    weights.write_bytes(b'numbers')
    assert write_sidecar(weights, RECORD, 7) == tmp_path / 'weights.json'
    assert read_sidecar(weights) == {
        'format': 1,
        'weights': {'file': 'weights.pth', 'sha256': file_digest(weights), 'parameters': 7},
        **RECORD,
    }


def test_it_lies_beside_any_kind_of_file(tmp_path):
    assert sidecar_path('a/b.safetensors').name == 'b.json'
    assert read_sidecar(tmp_path / 'alone.pth') is None


@pytest.mark.parametrize('text', ['', '[]', '{}', json.dumps({'format': 1, 'network': None})])
def test_another_json_is_named(tmp_path, text):
    (tmp_path / 'weights.json').write_text(text)
    with pytest.raises(UserError, match=r'weights\.json does not describe a student'):
        read_sidecar(tmp_path / 'weights.pth')


def test_a_later_format_is_named(tmp_path):
    (tmp_path / 'weights.json').write_text(json.dumps({'format': 9, **RECORD}))
    with pytest.raises(UserError, match='has format 9, this version of g2sd_mm reads 1'):
        read_sidecar(tmp_path / 'weights.pth')


def test_it_is_of_the_weights_that_it_was_written_for(tmp_path):
    weights = tmp_path / 'weights.pth'
    weights.write_bytes(b'numbers')
    write_sidecar(weights, RECORD, 7)
    weights.write_bytes(b'others')
    with pytest.raises(UserError, match=r'weights\.json describes other weights than .*\.pth'):
        read_sidecar(weights)
    content = json.loads(sidecar_path(weights).read_text())
    for known in (None, {}, {'sha256': None}, 'x'):
        sidecar_path(weights).write_text(json.dumps({**content, 'weights': known}))
        assert read_sidecar(weights)['origin'] == {'epoch': 1}
