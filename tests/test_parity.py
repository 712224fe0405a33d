"""Our numbers against reference numbers, for every golden file that is found.

``G2SD_GOLDEN_DIR`` names another folder of files of the same kinds; a file's name up to the last
``_`` (or, of ``lr*.json``, the letters) says what it checks.
"""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path

import pytest

import g2sd_mm

from .parity import classification, detection, generic, schedules, segmentation
from .parity.golden import Golden

FOLDER = Path(os.environ.get('G2SD_GOLDEN_DIR', Path(__file__).parent / 'data' / 'golden'))
CHECKS = {
    'det': detection.det,
    'detloss': detection.detloss,
    'gd': generic.gd,
    'pixloss': generic.pixloss,
    'posembed': generic.posembed,
    'relation': generic.relation,
    'sd_cls': classification.sd_cls,
    'seg': segmentation.seg,
    'segckpt': segmentation.segckpt,
    'segloss': segmentation.segloss,
}
FILES = sorted([*FOLDER.glob('*.npz'), *FOLDER.glob('lr*.json')])


@pytest.fixture(scope='module', autouse=True)
def registered():
    g2sd_mm.register_all()
    from mmpretrain.utils import register_all_modules

    importlib.import_module('g2sd_mm.models.heads')
    importlib.import_module('g2sd_mm.models.coordinates')
    register_all_modules(init_default_scope=False)


def test_there_are_golden_files():
    assert FILES, f'no golden files in {FOLDER}'


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.name)
def test_golden_values_are_met(path: Path):
    if path.suffix == '.json':
        schedules.lr(json.loads(path.read_text()))
        return
    prefix = path.stem.rpartition('_')[0]
    assert prefix in CHECKS, f'unknown golden file {path.name}: known are {", ".join(CHECKS)}'
    CHECKS[prefix](Golden(path))
