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

from .parity import classification, generic, schedules
from .parity.golden import Golden

FOLDER = Path(os.environ.get('G2SD_GOLDEN_DIR', Path(__file__).parent / 'data' / 'golden'))
CHECKS = {
    'gd': generic.gd,
    'pixloss': generic.pixloss,
    'posembed': generic.posembed,
    'relation': generic.relation,
    'sd_cls': classification.sd_cls,
}
NOT_BUILT = {'det', 'detloss', 'seg', 'segloss', 'segckpt'}
FILES = sorted([*FOLDER.glob('*.npz'), *FOLDER.glob('lr*.json')])


@pytest.fixture(scope='module', autouse=True)
def registered():
    g2sd_mm.register_all()
    from mmpretrain.utils import register_all_modules

    importlib.import_module('g2sd_mm.models.heads')
    register_all_modules(init_default_scope=False)


def test_there_are_golden_files():
    assert FILES, f'no golden files in {FOLDER}'


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.name)
def test_golden(path: Path):
    if path.suffix == '.json':
        schedules.lr(json.loads(path.read_text()))
        return
    prefix = path.stem.rpartition('_')[0]
    if prefix in NOT_BUILT:
        pytest.skip(f'{prefix}: its task is not built yet')
    assert prefix in CHECKS, f'unknown golden file {path.name}: known are {", ".join(CHECKS)}'
    CHECKS[prefix](Golden(path))
