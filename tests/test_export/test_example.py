"""The page's program, with NumPy and onnxruntime alone, says what ``predict`` says."""

from __future__ import annotations

import re

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from g2sd_mm.export import export_student
from g2sd_mm.students import load_student

from ..helpers.doc_blocks import blocks_of
from ..helpers.pictures import picture
from ..helpers.students import student_folder, varied
from ..helpers.toys import ROOT, run_python
from .test_answers import OPTIONS

PAGE = (ROOT / 'docs' / 'deploy.md').read_text()
(PROGRAM,) = [block.text for block in blocks_of(PAGE) if block.argument == 'detect.py']


def test_it_is_short_and_imports_little():
    lines = [line for line in PROGRAM.splitlines() if line.strip()]
    assert len(lines) <= 22
    imported = re.findall(r'^(?:import|from) (\w+)', PROGRAM, re.MULTILINE)
    assert imported == ['json', 'sys', 'numpy', 'onnxruntime']


@pytest.mark.slow
def test_it_finds_what_predict_finds(tmp_path):
    folder = student_folder(tmp_path, 'detection', **OPTIONS['detection'])
    student = varied(load_student(folder))
    export_student(student, tmp_path / 'student.onnx')
    pixels = picture(96, 128, seed=1)
    np.save(tmp_path / 'picture.npy', pixels)
    (tmp_path / 'detect.py').write_text(PROGRAM)
    done = run_python('detect.py', 'student.onnx', 'picture.npy', cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    there = student.predict(pixels, threshold=0.3)['instances']
    assert len(there) > 3
    said = done.stdout.splitlines()
    assert len(said) == len(there)
    for line, entry in zip(said, there, strict=True):
        assert line.startswith(entry['class'])
        *numbers, area = re.findall(r'\d+(?:\.\d*)?', line.removeprefix(entry['class']))
        score, *box = map(float, numbers)
        assert score == pytest.approx(entry['score'], abs=2e-4)
        assert box == pytest.approx(entry['box'], abs=0.11)
        assert int(area) == pytest.approx(coco_mask.area(entry['mask']), abs=3)
