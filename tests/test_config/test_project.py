"""Configs and scripts are found from anywhere, in a checkout and in an installed package."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from g2sd_mm.config.project import find_config, project_folder, script
from g2sd_mm.errors import UserError

from ..helpers.toys import ROOT, words


@pytest.mark.parametrize(
    'name',
    ['configs/coco/vitb_maskrcnn.py', 'coco/vitb_maskrcnn.py', 'coco/vitb_maskrcnn',
     str(ROOT / 'configs/coco/vitb_maskrcnn.py')],
)
def test_a_config_is_found_from_anywhere(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_config(name) == str(ROOT / 'configs/coco/vitb_maskrcnn.py')


def test_a_file_of_the_working_folder_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'coco').mkdir()
    (tmp_path / 'coco' / 'vitb_maskrcnn.py').touch()
    assert find_config('coco/vitb_maskrcnn.py') == 'coco/vitb_maskrcnn.py'


def test_a_missing_config_is_told_its_neighbours(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ('configs/coco/vitz', 'coco/vitz.py'):
        with pytest.raises(UserError, match=words(f'no config file {name}; ', 'vitb_maskrcnn.py')):
            find_config(name)
    with pytest.raises(UserError, match=r'^no config file vitz$'):
        find_config('vitz')


@pytest.mark.parametrize('name', ['weights.pth', 'data.lmdb', 'config'])
def test_a_file_of_another_kind_is_no_config(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(UserError, match=words(name, '.py')):
        find_config(str(tmp_path / name))


def test_a_script_is_named_as_one_would_type_it(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert script('train.py') == 'tools/train.py'
    monkeypatch.chdir(tmp_path)
    assert script('train.py') == str(ROOT / 'tools' / 'train.py')


def test_a_checkout_is_its_own_folder():
    assert project_folder() == ROOT


def test_the_built_package_has_the_configs_and_the_scripts(tmp_path):
    built = tmp_path / 'built'
    build = ['setup.py', '-q', 'build', '--build-base', str(tmp_path / 'base'), '--build-lib']
    subprocess.run([sys.executable, *build, str(built)], cwd=ROOT, check=True)
    files = built / 'g2sd_mm' / '_files'
    for folder in ('configs', 'tools'):
        ours = {
            path.relative_to(ROOT)
            for path in (ROOT / folder).rglob('*')
            if path.suffix in ('.py', '.sh', '.json', '.md', '.safetensors')
            and path.name != 'make.sh'  # makes the teachers, in a checkout
        }
        assert {p.relative_to(files) for p in (files / folder).rglob('*') if p.is_file()} == ours
    code = (
        'from g2sd_mm import published\nfrom g2sd_mm.config import project\n'
        'from g2sd_mm.bench.reports import pictures\n'
        'print(project.find_config("coco/g2sd_vits_maskrcnn"))\n'
        'print(published.FILE.is_file(), pictures.METHOD.is_file())'
    )
    done = subprocess.run(
        [sys.executable, '-c', code], cwd=tmp_path, text=True, capture_output=True, check=True,
        env={**os.environ, 'PYTHONPATH': str(built)},
    )
    config = str(files / 'configs/coco/g2sd_vits_maskrcnn.py')
    assert done.stdout.split() == [config, 'True', 'True']
