"""The notebook runs from its first cell to its last, in an empty folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ..helpers.toys import ROOT

NOTEBOOK = ROOT / 'docs' / 'first_student.ipynb'
_LARGEST = 60_000  # bytes, outputs included: what is committed stays small


def execute(folder: Path) -> list[str]:
    """Run all cells; gives what was printed."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=900, resources={'metadata': {'path': str(folder)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get('outputs', ())]
    return [output.text for output in outputs if output.output_type == 'stream']


def test_its_outputs_are_there_and_small():
    text = NOTEBOOK.read_text()
    assert len(text) < _LARGEST
    assert 'weights.onnx' in text and 'accuracy/top1' in text


@pytest.mark.slow
def test_the_notebook_runs_to_its_end(tmp_path, monkeypatch):
    paths = [str(ROOT), os.environ.get('PYTHONPATH', '')]
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join(filter(None, paths)))
    printed = ''.join(execute(tmp_path))
    assert 'weights.onnx' in printed and '(2, 10)' in printed
    assert (tmp_path / 'first_student/runs/g2sd_vits_cls/weights.onnx').is_file()
