"""The benchmark of reading annotations: its files are sound, and its figures those of the file."""

import json

import pytest

from benchmarks.speed import annotations
from g2sd_mm.data_layouts.coco_file import read_annotations


@pytest.mark.parametrize('kind', ['boxes', 'polygons'])
def test_its_files_are_read_without_a_note(tmp_path, kind):
    file = tmp_path / 'some.json'
    annotations.write_file(file, 50, kind)
    found = read_annotations(file)
    assert found.notes == () and len(found.content['annotations']) == 50
    assert ('segmentation' in found.content['annotations'][0]) == (kind == 'polygons')


def test_figures_are_written_with_their_command(tmp_path):
    annotations.main(['--number', '20', '--rounds', '2', '--out', str(tmp_path / 'out.json')])
    found = json.loads((tmp_path / 'out.json').read_text())
    assert [figure['of'] for figure in found['figures']] == ['boxes', 'polygons']
    assert all(f['range'][0] <= f['ratio'] <= f['range'][1] for f in found['figures'])
    assert '--number 20' in found['command'] and found['environment']['commit']
