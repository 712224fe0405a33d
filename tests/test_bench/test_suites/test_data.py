"""Data of one's own: recognised by layout, read by the mini suite's own configs."""

from __future__ import annotations

import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from g2sd_mm.bench.results import read_results
from g2sd_mm.bench.suites.catalogue import MINI
from g2sd_mm.bench.suites.data import find_data
from g2sd_mm.bench.suites.derived import smoke
from g2sd_mm.bench.suites.digests import all_digests
from g2sd_mm.bench.suites.plan import local_commands
from g2sd_mm.bench.suites.run import run_suite
from g2sd_mm.cli.check_data import check_data
from g2sd_mm.config.load import load_config
from g2sd_mm.config.options import read_options
from g2sd_mm.errors import UserError
from g2sd_mm.runs.data import prepare_data

from ...helpers import small_depth, small_masks
from ...helpers.toys import ROOT, image_folder, refused, words
from .test_handover import coco


@pytest.fixture(scope='module')
def pictures(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp('data') / 'pictures'
    for split, each in (('train', 30), ('val', 4)):
        image_folder(root / split, classes=6, each=each, size=70)
    return root


@pytest.fixture(scope='module')
def objects(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp('data') / 'objects'
    for split in ('train2017', 'val2017'):
        coco(root, split)
    return root


@pytest.fixture(scope='module')
def scenes(tmp_path_factory) -> Path:
    root = small_masks.write_data(tmp_path_factory.mktemp('data') / 'scenes', labels=7)
    for part in ('images', 'annotations'):
        (root / part / 'training').rename(root / part / 'train')
        (root / part / 'validation').rename(root / part / 'val')
    return root


def steps(suite) -> dict:
    return {step.name: step for step in suite.steps}


def test_layouts_are_recognised(pictures, objects, scenes):
    data = find_data([str(objects), str(pictures), str(scenes)])
    assert data.tasks == ['det', 'cls', 'seg']
    assert data.name == 'objects'
    suite = data.apply(MINI)
    asked = [row for row in MINI.on_own_test_data().rows if row.task in data.tasks]
    assert list(suite.rows) == asked
    assert suite.select() == [row for row in asked if row.table != 'baselines']
    options = steps(suite)['vitb_mae'].options
    assert options['train_dataloader.dataset.dataset.data_root'] == str(pictures / 'train')


@pytest.mark.parametrize('ending', ['.png', '.npy'])
def test_depth_of_ones_own_is_read_in_its_range(tmp_path, ending):
    root = small_depth.write_data(tmp_path / 'rooms', ending)
    data = find_data([str(root)])
    assert data.tasks == ['depth']
    suite = data.apply(MINI)
    assert {row.task for row in suite.select()} == {'depth'}  # nobody has to name it
    step = steps(suite)['g2sd_vits_depth']
    cfg = load_config(str(ROOT / step.config), step.options)
    assert cfg.model.decode_head.max_depth == pytest.approx(5)
    assert cfg.model.decode_head.min_depth == pytest.approx(1)
    dataset = cfg.val_dataloader.dataset
    assert dataset.depth_suffix == ending and dataset.data_prefix.depth_map_path == 'depth/val'
    (read,) = (s for s in dataset.pipeline if s.type == 'LoadDepthAnnotations')
    assert read.scale == (1.0 if ending == '.npy' else 0.001)
    assert read.max_depth == cfg.val_evaluator.max_depth_eval  # the farthest pixel counts
    assert check_data([str(ROOT / step.config)], options=step.options, workers=0).harmful == 0


def test_depth_that_cannot_be_read_is_named(tmp_path):
    root = small_depth.write_data(tmp_path / 'rooms')
    bad = root / 'depth/train/scene0.png'
    small_depth.write_map(bad, 0 * small_depth.depth_map())
    with refused(str(bad), 'all'):
        find_data([str(root)])


def test_only_tasks_with_data_are_run(scenes):
    suite = find_data([str(scenes)]).apply(MINI)
    assert {row.task for row in suite.rows} == {'seg'}
    options = steps(suite)['g2sd_vits_generic'].options
    assert options['train_dataloader.dataset.dataset.data_root'] == str(scenes / 'images' / 'train')


def test_what_is_not_recognised_is_told_the_layouts(tmp_path, pictures):
    with pytest.raises(UserError, match=words('laid out as none of', 'segmentation: {images')):
        find_data([str(tmp_path)])
    with pytest.raises(UserError, match='no such folder'):
        find_data([str(tmp_path / 'nowhere')])
    with pytest.raises(UserError, match='more than one folder for cls'):
        find_data([str(pictures), str(pictures)])


def test_damaged_annotations_and_masks_are_named(objects, scenes, tmp_path):
    shutil.copytree(objects, tmp_path / 'objects')
    (file,) = (tmp_path / 'objects').rglob('instances_train2017.json')
    file.write_text('{"categories": 3}')
    with pytest.raises(UserError, match=words(str(file), "no list 'images'")):
        find_data([str(tmp_path / 'objects')])
    shutil.copytree(scenes, tmp_path / 'scenes')
    mask = next((tmp_path / 'scenes' / 'annotations').rglob('*.png'))
    mask.write_bytes(mask.read_bytes()[:50])
    with pytest.raises(UserError, match=words(str(mask), 'fetch the file again')):
        find_data([str(tmp_path / 'scenes')])


def test_one_mask_of_colours_is_named_wherever_it_is(scenes, tmp_path):
    shutil.copytree(scenes, tmp_path / 'scenes')
    masks = sorted((tmp_path / 'scenes' / 'annotations' / 'train').glob('*.png'))
    for number in range(60):  # more than decide how all are read
        for kind, file in (('images', None), ('annotations', masks[0])):
            source = file or next((tmp_path / 'scenes' / kind / 'train').glob(f'{masks[0].stem}.*'))
            shutil.copy(source, source.with_name(f'copy{number:02}{source.suffix}'))
    odd = masks[0].with_name('copy31.png')
    Image.fromarray(np.arange(3 * 64 * 64, dtype=np.uint8).reshape(64, 64, 3)).save(odd)
    with pytest.raises(UserError, match=words(str(odd), 'colours')):
        find_data([str(tmp_path / 'scenes')])


def digests(*folders: Path) -> dict:
    data = find_data([str(folder) for folder in folders])
    return all_digests(data.apply(MINI), [0], data)


def test_digests_are_of_the_data_and_not_of_their_place(pictures, tmp_path):
    first = digests(pictures)
    for place in ('pictures', 'Bücher "neu" \\ alt', 'a/pictures'):
        shutil.copytree(pictures, tmp_path / place)
        assert digests(tmp_path / place) == first
    assert not set(first.values()) & set(all_digests(MINI, [0]).values())
    next((tmp_path / 'pictures').rglob('*.png')).unlink()
    assert not set(digests(tmp_path / 'pictures').values()) & set(first.values())


def test_no_path_is_left_in_what_digests_are_of(pictures, objects, scenes, tmp_path):
    """Folders that lie in each other, or begin with the same letters, included."""
    shutil.copytree(pictures, tmp_path / 'all')
    shutil.copytree(objects, tmp_path / 'all' / 'objects')
    shutil.copytree(scenes, tmp_path / 'all_scenes')
    folders = [tmp_path / 'all', tmp_path / 'all' / 'objects', tmp_path / 'all_scenes']
    data = find_data([str(folder) for folder in folders])
    hidden = str([data.hide(step.options) for step in data.apply(MINI).steps])
    assert str(tmp_path) not in hidden
    marks = {source.task: source.fingerprint for source in data.sources}
    assert f"'{marks['det']}/det/'" in hidden and f"'{marks['cls']}/cls/train'" in hidden
    assert f"'{marks['seg']}/seg'" in hidden
    assert data.hide([f'{tmp_path}/all_else']) == [f'{tmp_path}/all_else']  # none of theirs


def test_a_folder_more_leaves_the_other_rows_as_they_are(pictures, objects):
    alone, both = digests(pictures), digests(pictures, objects)
    assert alone.items() <= both.items()


@pytest.mark.parametrize('task', ['det', 'seg'])
def test_labels_that_were_edited_are_other_data(objects, scenes, tmp_path, task):
    """At the same size, and of the same time."""
    root = tmp_path / 'data'
    shutil.copytree(objects if task == 'det' else scenes, root)
    before = find_data([str(root)]).fingerprints
    if task == 'det':
        (file,) = root.rglob('instances_val2017.json')
        file.write_text(file.read_text().replace('[10, 10, 50, 40]', '[11, 10, 50, 40]'))
    else:
        file = min((root / 'annotations' / 'val').iterdir())
        file.write_bytes(file.read_bytes() + b'x')
        padded = find_data([str(root)]).fingerprints
        file.write_bytes(file.read_bytes()[:-1] + b'y')
        assert find_data([str(root)]).fingerprints != padded
    assert find_data([str(root)]).fingerprints != before


def test_the_name_of_the_generated_data_is_theirs(pictures, tmp_path, monkeypatch):
    (tmp_path / 'Shapes').symlink_to(pictures)
    with refused('shapes is what files of results call the generated data', 'rename the folder'):
        find_data([str(tmp_path / 'Shapes')])
    (tmp_path / 'mine').symlink_to(tmp_path / 'Shapes')
    assert find_data([str(tmp_path / 'mine')]).name == 'mine'
    monkeypatch.chdir(pictures / 'train')
    assert find_data(['..']).name == 'pictures'


def test_two_folders_for_one_split_are_refused(objects, scenes, tmp_path):
    shutil.copytree(objects, tmp_path / 'objects')
    coco(tmp_path / 'objects', 'train2014')
    with refused('train2014 and train2017 in', 'can both be train'):
        find_data([str(tmp_path / 'objects')])
    (tmp_path / 'objects' / 'annotations' / 'instances_train2014.json').unlink()
    (data,) = find_data([str(tmp_path / 'objects')]).sources
    assert data.train.name == 'train2017'  # the other has no annotations
    file = tmp_path / 'objects' / 'annotations' / 'instances_val2017.json'
    shutil.copy(file, tmp_path / 'objects')
    with refused('instances_val2017.json and', 'can both be the annotations of val2017'):
        find_data([str(tmp_path / 'objects')])
    shutil.copytree(scenes, tmp_path / 'scenes')
    for part in ('images', 'annotations'):
        shutil.copytree(scenes / part / 'val', tmp_path / 'scenes' / part / 'validation')
    with refused('val and validation in', 'images can both be val'):
        find_data([str(tmp_path / 'scenes')])


def test_printed_commands_say_the_same(pictures, objects, scenes, tmp_path):
    folder = tmp_path / 'my, folder'  # as people call them
    shutil.copytree(pictures, folder)
    suite = find_data([str(folder), str(objects), str(scenes)]).apply(MINI)
    commands = list(local_commands(suite, suite.rows, [0], tmp_path))
    assert len(commands) == len(list(suite.steps_of(suite.rows)))
    # options of 160 characters at most, behind a command that names the folder twice
    assert max(map(len, commands)) < 160 + 120 + 2 * len(str(tmp_path))
    for command, step in zip(commands, suite.steps_of(suite.rows), strict=True):
        words = shlex.split(command)
        options = read_options(words[words.index('--cfg-options') + 1 :]) if (
            '--cfg-options' in words
        ) else {}
        ran, meant = load_config(words[2], options), load_config(step.config, step.options)
        assert ran.to_dict() == meant.to_dict()


@pytest.mark.parametrize('name', ['vits_scratch_cls', 'g2sd_vits_maskrcnn', 'g2sd_vits_upernet'])
def test_configs_read_them(name, pictures, objects, scenes):
    """Folders, classes of heads and teacher, and no word of Shapes."""
    from mmengine.registry import DATASETS, DefaultScope

    suite = find_data([str(pictures), str(objects), str(scenes)]).apply(MINI)
    step = steps(suite)[name]
    cfg = load_config(str(ROOT / step.config), step.options)
    prepare_data(cfg, ('train_dataloader', 'val_dataloader', 'test_dataloader'))
    number = {'vits_scratch_cls': 6, 'g2sd_vits_maskrcnn': 80, 'g2sd_vits_upernet': 8}[name]
    heads = {'cls': lambda m: m.head, 'rcnn': lambda m: m.roi_head.mask_head,
             'pernet': lambda m: m.decode_head}
    head = next(find for key, find in heads.items() if name.endswith(key))(cfg.model)
    assert head.num_classes == number
    read = [cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader, cfg.test_evaluator]
    assert 'shapes' not in str(read)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        for loader in ('train_dataloader', 'val_dataloader'):
            data = DATASETS.build(cfg[loader].dataset)
            assert data[0]['inputs'].shape[0] == 3


@pytest.mark.slow
def test_the_matrix_runs_on_them(pictures, objects, scenes, tmp_path, monkeypatch):
    """Every run of the main table, two updates each, and all rows in the table."""
    monkeypatch.chdir(ROOT)
    data = find_data([str(pictures), str(objects), str(scenes)])
    suite = replace(smoke(data.apply(MINI)), record=str(tmp_path / 'record'))
    rows = suite.select(table=['main'])
    results = run_suite(suite, rows, [0], tmp_path / 'out', jobs=2, say=print, data=data)
    assert not [row['error'] for row in results['rows'] if 'error' in row]
    done = results['rows']
    assert {row['task'] for row in done} >= {'cls', 'det', 'seg'} and len(done) >= 12
    assert len(list((tmp_path / 'record' / 'rows').glob('pictures_*.json'))) == len(done)
    assert read_results(tmp_path / 'record' / 'results_pictures.json')['rows']
