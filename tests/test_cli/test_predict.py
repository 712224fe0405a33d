"""``predict`` as a command: what it says, and how it ends."""

from __future__ import annotations

import json

import pytest

from g2sd_mm.cli import infer, predict

from ..helpers.odd_images import encoded
from ..helpers.students import CONFIGS, student_folder
from ..helpers.toys import ROOT

CONFIG = str(ROOT / 'configs' / CONFIGS['classification'])


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    return student_folder(tmp_path_factory.mktemp('student'))


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / 'photos'
    folder.mkdir()
    for number in range(3):
        (folder / f'{number}.jpg').write_bytes(encoded(number))
    return folder


@pytest.fixture
def call(monkeypatch, capsys):
    """Run a command; gives (exit code, stdout, stderr)."""

    def run(command, *words):
        monkeypatch.setattr('sys.argv', ['command', *map(str, words)])
        try:
            command.main()
            code = 0
        except SystemExit as end:
            code = end.code
        return code, *capsys.readouterr()

    return run


def told(folder):
    return json.loads((folder / 'predictions.json').read_text())


def test_a_folder_is_predicted_and_its_speed_said(call, weights, photos, tmp_path):
    code, said, _ = call(predict, weights, photos, '--out', tmp_path / 'out', '--save', 'csv')
    assert code == 0
    speed, place = said.splitlines()[-2:]
    assert speed.startswith('3 images in ') and speed.endswith(' images per second')
    assert place == f'{tmp_path}/out/predictions.json'
    assert len(told(tmp_path / 'out')) == 3
    names = sorted(path.name for path in (tmp_path / 'out').iterdir())
    assert names == ['predictions.csv', 'predictions.json']


def test_infer_is_the_same_with_the_config_first(call, weights, photos, tmp_path):
    images = sorted(photos.iterdir())
    code, *_ = call(infer, CONFIG, weights / 'weights.pth', *images, '--out-dir', tmp_path / 'a')
    assert code == 0
    words = ['--config', CONFIG, '--out', tmp_path / 'b']
    assert call(predict, weights, *images, *words)[0] == 0
    assert told(tmp_path / 'a') == told(tmp_path / 'b')


@pytest.mark.parametrize('way', ['predict', 'infer'])
def test_a_broken_picture_is_said_by_the_exit_code(call, weights, photos, tmp_path, way):
    (photos / '1.jpg').write_bytes(encoded(1)[:300])
    if way == 'infer':
        images = sorted(photos.iterdir())
        words = [infer, CONFIG, weights / 'weights.pth', *images, '--out-dir', tmp_path / 'out']
    else:
        words = [predict, weights, photos, '--out', tmp_path / 'out']
    code, _, said = call(*words)
    assert code == 1
    assert said.count('\n') == 1 and '1 of 3 pictures' in said and '1.jpg' in said
    assert ['error' in entry for entry in told(tmp_path / 'out')] == [False, True, False]


@pytest.mark.parametrize(
    'words', [['nowhere.jpg'], ['.', '--cfg-options', 'a=1'], ['.', '--tile', '32'],
              ['.', '--batch-size', '0'], ['.', '--every', '0']],
)  # fmt: skip
def test_what_a_person_can_mend_is_one_line(call, weights, photos, tmp_path, monkeypatch, words):
    monkeypatch.chdir(photos)
    code, _, said = call(predict, weights, *words, '--out', tmp_path / 'out')
    assert code == 2
    assert said.startswith('error: ') and said.count('\n') == 1
