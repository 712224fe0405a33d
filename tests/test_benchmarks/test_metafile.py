"""The metafiles name every config, and say what the configs say."""

from __future__ import annotations

import pytest
import yaml

from benchmarks.metafile import FOLDERS, metafiles

from ..helpers.toys import ROOT


@pytest.fixture(scope='module')
def files():
    return metafiles(ROOT)


def model(folder: str, name: str) -> dict:
    content = yaml.safe_load((ROOT / 'configs' / folder / 'metafile.yml').read_text())
    (found,) = (entry for entry in content['Models'] if entry['Name'] == name)
    return found


def test_the_files_are_what_the_configs_say(files):
    for path, text in files.items():
        assert path.read_text() == text, 'run: python -m benchmarks.metafile'


@pytest.mark.parametrize('folder', FOLDERS)
def test_every_config_is_in_the_metafile_of_its_folder(folder):
    content = yaml.safe_load((ROOT / 'configs' / folder / 'metafile.yml').read_text())
    named = {entry['Config'] for entry in content['Models']}
    assert named == {
        path.relative_to(ROOT).as_posix() for path in (ROOT / 'configs' / folder).glob('*.py')
    }
    (collection,) = content['Collections']
    assert {entry['In Collection'] for entry in content['Models']} == {collection['Name']}


def test_the_index_names_all_metafiles():
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    assert sorted(index['Import']) == sorted(f'configs/{name}/metafile.yml' for name in FOLDERS)


def test_recipe_and_teacher_come_from_the_config():
    student = model('coco', 'g2sd_vits_maskrcnn_1gpu')['Metadata']
    assert (student['Batch Size'], student['Iterations']) == (64, 184375)
    assert student['Teacher'] == 'configs/coco/vitb_maskrcnn.py'
    generic = model('imagenet', 'g2sd_vits_generic')
    assert (generic['Metadata']['Batch Size'], generic['Metadata']['Epochs']) == (4096, 300)
    assert generic['Results'] is None


def test_a_figure_has_a_source_and_students_have_none():
    (result,) = model('imagenet', 'vitb_cls')['Results']
    assert result['Metrics'] == {'Top 1 Accuracy': 83.6}
    assert 'not of this project' in result['Source'] and 'FINETUNE.md' in result['Source']
    (result,) = model('imagenet', 'g2sd_vits_cls')['Results']
    assert result['Metrics'] is None and 'Source' not in result
