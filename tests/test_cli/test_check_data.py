"""``tools/check_data.py``: folders, COCO files and configs; its files and exit codes."""

from __future__ import annotations

import io
import json
import os
import shutil

import pytest

from g2sd_mm.cli import check_data
from g2sd_mm.errors import UserError
from g2sd_mm.progress import Bars

from ..helpers import odd_coco, odd_images, small_masks
from ..helpers.toys import ROOT, run_python, words

COMMAND = str(ROOT / 'tools' / 'check_data.py')


@pytest.fixture
def checked(monkeypatch, capsys):
    """Run the command on the files in one process; gives (exit code, stdout, stderr)."""

    def call(*arguments) -> tuple[int, str, str]:
        command = ['check_data.py', '--workers', '0', *map(str, arguments)]
        monkeypatch.setattr('sys.argv', command)
        code = 0
        try:
            check_data.main()
        except SystemExit as end:
            code = end.code
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def data(image_data, tmp_path):
    """``imagenet/`` with the same images in training and evaluation taken apart."""
    shutil.copytree(image_data, tmp_path / 'data')
    return tmp_path / 'data'


def test_good_data_end_with_0(checked, data):
    code, out, _ = checked(data / 'imagenet')
    assert code == 0
    assert out.startswith('looked at train: ')
    assert '36 images in' in out
    assert '0 harmful' in out


def test_harm_ends_with_1_and_is_written_down(checked, data, tmp_path):
    bad = data / 'imagenet' / 'train' / 'class_0' / 'bad.jpg'
    bad.write_bytes(odd_images.encoded()[:-100])
    code, out, _ = checked(
        data / 'imagenet', '--out', tmp_path / 'r.json', '--fix-list', tmp_path / 'fix.jsonl'
    )
    assert code == 1
    assert f'HARM  1  files that end too early  [truncated]\n      {bad}: JPEG\n' in out
    assert json.loads((tmp_path / 'r.json').read_text())['counts'] == {'truncated': 1}
    (line,) = (tmp_path / 'fix.jsonl').read_text().splitlines()
    assert json.loads(line) == {
        'path': str(bad), 'problems': ['truncated: JPEG'],
        'to_do': ['fetch the file again, or remove it'],
    }  # fmt: skip


def test_a_persons_error_ends_with_2(checked, tmp_path):
    (tmp_path / 'a.json').write_text('{}')
    (tmp_path / 'data.zip').write_bytes(b'')
    for arguments, text in (
        ([tmp_path / 'none'], f'{tmp_path / "none"} is not there'),
        ([tmp_path / 'data.zip'], f'{tmp_path / "data.zip"} is no folder'),
        ([tmp_path / 'none.py'], 'no config '),
        ([tmp_path / 'none', tmp_path], 'no folder '),
        ([tmp_path / 'a.json'], '--images takes one folder for each of '),
        ([tmp_path / 'a.json', '--images', tmp_path], "no list 'images'"),
        ([tmp_path, '--cfg-options', 'a=1'], '--cfg-options goes with a config file'),
        ([tmp_path, '--masks', tmp_path], 'has no images'),
    ):
        code, out, err = checked(*arguments)
        assert (code, out) == (2, '')
        assert err.startswith('error: ') and text in err and err.count('\n') == 1


def test_annotation_files_with_their_folders(checked, tmp_path):
    folder = odd_coco.write_set(tmp_path / 'odd')
    code, out, _ = checked(folder / 'train.json', '--images', folder)
    assert code == 1
    assert '[degenerate-polygon]' in out and '[degenerate-box]' in out
    assert '[polygon-beyond]' in out


def test_images_with_masks(checked, tmp_path):
    root = small_masks.write_data(tmp_path / 'ade', labels=150)
    folders = [root / 'images/training', '--masks', root / 'annotations/training']
    assert checked(*folders, '--num-classes', 150, '--reduce-zero-label')[0] == 0
    code, out, _ = checked(*folders, '--num-classes', 150)
    assert code == 1
    assert 'labels [150], 150 classes' in out


# Configs ------------------------------------------------------------------------------------------


def test_a_config_of_classes(monkeypatch, checked, data):
    monkeypatch.setenv('G2SD_DATA', str(data))
    shutil.copy(
        data / 'imagenet/train/class_0/image_1.png', data / 'imagenet/val/class_0/again.png'
    )
    config = ROOT / 'configs' / 'imagenet' / 'vitb_cls.py'
    code, out, _ = checked(config, '--cfg-options', 'num_classes=3')
    assert code == 1
    assert 'looked at train: ' in out and 'looked at val: ' in out and 'test: ' not in out
    assert 'HARM  1  the same pixels in training and evaluation  [leakage]' in out
    assert '37 images' in out


def test_a_config_without_labels(monkeypatch, checked, data):
    monkeypatch.setenv('G2SD_DATA', str(data))
    code, out, _ = checked(ROOT / 'configs' / 'imagenet' / 'g2sd_vits_generic.py')
    assert code == 0
    assert '24 images' in out


def test_a_config_of_annotations(checked, tmp_path):
    folder = odd_coco.write_set(tmp_path / 'odd')
    config = ROOT / 'configs' / 'coco' / 'coco_mini_example.py'
    places = [f'train_dataloader.dataset.dataset.data_root={folder}/',
              'train_dataloader.dataset.dataset.ann_file=train.json',
              'train_dataloader.dataset.dataset.data_prefix.img=']  # fmt: skip
    for loader in ('val', 'test'):
        places += [f'{loader}_dataloader.dataset.data_root={folder}/',
                   f'{loader}_dataloader.dataset.ann_file=val.json',
                   f'{loader}_dataloader.dataset.data_prefix.img=']  # fmt: skip
    code, out, _ = checked(config, '--cfg-options', *places, "classes=['disc','dics']")
    assert code == 1
    assert "train.json: 'dics'" in out
    assert '[degenerate-polygon]' in out
    assert '12 images' not in out  # both splits list the same six


def test_packed_data_are_checked_before_they_are_packed(monkeypatch, checked, data):
    monkeypatch.setenv('G2SD_DATA', str(data))
    config = ROOT / 'configs' / 'imagenet' / 'vitb_cls.py'
    places = ['train_dataloader.dataset.dataset.data_root', 'val_dataloader.dataset.data_root']
    wrong = [f'{place}=packed://data/some.lmdb' for place in places]
    code, out, err = checked(config, '--cfg-options', 'num_classes=3', *wrong)
    assert (code, out, err.count('\n')) == (2, '', 1)
    advice = [f'{place}=FOLDER' for place in places]
    assert '--cfg-options ' + ' '.join(advice) in err and 'some.lmdb' in err
    folders = [f'{place}={data}/imagenet/{split}' for place, split in zip(
        places, ('train', 'val'), strict=True)]  # fmt: skip
    code, out, _ = checked(
        config, '--cfg-options', 'num_classes=3', *folders,
        'train_dataloader.dataset.dataset.data_prefix=', 'val_dataloader.dataset.data_prefix=',
    )  # fmt: skip
    assert code == 0 and '36 images' in out
    for path in ('packed://some.lmdb', str(data / 'some.lmdb')):
        code, _, err = checked(path)
        assert code == 2 and path in err and 'no config' not in err


def test_a_config_of_masks(monkeypatch, checked, tmp_path):
    root = small_masks.write_data(tmp_path / 'ade' / 'ADEChallengeData2016', labels=151)
    monkeypatch.setenv('G2SD_DATA', str(tmp_path))
    code, out, _ = checked(ROOT / 'configs' / 'ade20k' / 'vitb_upernet.py')
    assert code == 1
    assert f'looked at train: {root}/images/training' in out
    assert 'labels [151], 150 classes' in out


def test_a_kind_of_data_that_is_not_known_is_named(tmp_path):
    config = tmp_path / 'odd.py'
    config.write_text(
        "default_scope = 'mmpretrain'\n"
        "model = dict(type='ImageClassifier')\n"
        "data_layout = 'x'\n"
        "train_dataloader = dict(dataset=dict(type='CIFAR10', data_root='.', data_prefix='x',"
        ' download=False))\n'
    )
    with pytest.raises(UserError, match=words('train: data sets of type CIFAR10 are not checked')):
        check_data.check_data([str(config)], workers=0)


# As people start it -------------------------------------------------------------------------------


def test_folders_need_no_torch(data):
    code = (
        "import runpy, sys; sys.argv = sys.argv[1:]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "print({'torch', 'mmengine'} & set(sys.modules))"
    )
    done = run_python('-c', code, COMMAND, str(data / 'imagenet'), '--workers', '0')
    assert done.stdout.splitlines()[-1] == 'set()', done.stderr


def test_a_page_shows_names_that_are_no_utf8(tmp_path):
    for number, name in enumerate((b'train/a', b'train/b\xe9', b'val/a', b'val/b\xe9')):
        folder = tmp_path / 'in' / os.fsdecode(name)
        folder.mkdir(parents=True)
        (folder / 'one.jpg').write_bytes(odd_images.encoded(number))
    page = tmp_path / 'page.html'
    check_data.check_data([str(tmp_path / 'in')], report=str(page))
    assert 'b\\udce9' in page.read_text(encoding='utf-8')


def test_the_report_says_how_many_processes_there_were(data):
    done = run_python(COMMAND, str(data / 'imagenet'), '--workers', '2')
    assert done.returncode == 0, done.stderr
    assert 'on 2 process(es)' in done.stdout


def test_progress_has_rate_and_time_left():
    stream, clock = io.StringIO(), iter((0.0, 10.0, 20.0)).__next__
    told = Bars(stream, every=0, clock=clock).counter('checked', 'files')
    told(32, 128)
    told(64, 128)
    assert stream.getvalue().splitlines() == [
        'checked: 32/128 files, 3.2 files/s, 30 s left',
        'checked: 64/128 files, 3.2 files/s, 20 s left',
    ]
