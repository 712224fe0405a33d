"""Grids of pictures: the right columns in the right order, embedded."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from g2sd_mm.bench.reports.page import show
from g2sd_mm.bench.reports.pictures import (
    METHOD,
    NAMED,
    method_picture,
    prediction_grids,
    reconstruction_grid,
)
from g2sd_mm.errors import UserError


def image(path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(path)


@pytest.mark.parametrize('name', ['../../private', '/private', '..', 'a/b'])
def test_pictures_of_other_folders_are_not_embedded(tmp_path, name):
    folder = tmp_path / 'record' / 'seg'
    private = folder / name if not name.startswith('/') else tmp_path / 'private'
    image(private / '0000_a.jpg')
    name = str(private) if name.startswith('/') else name
    (folder).mkdir(parents=True, exist_ok=True)
    (folder / NAMED).write_text(json.dumps({name: 'G2SD'}))
    with pytest.raises(UserError, match=NAMED):
        list(prediction_grids(tmp_path / 'record'))


def test_columns_go_from_the_input_to_the_teacher(tmp_path):
    for column in ('teacher', 'g2sd', 'truth', 'input', 'single_stage'):
        for name in ('0000_a', '0001_b'):
            image(tmp_path / 'seg' / column / f'{name}.jpg')
    told = [{'classes': {'background': 0.5, 'ring': 0.3, '<i>': 0.2}}]
    (tmp_path / 'seg' / 'g2sd' / 'predictions.json').write_text(json.dumps(told))
    colours = {'background': 'red', 'ring': 'rgb(1, 2, 3)', '<i>': 'blue', 'star': 'green',
               'disc': 'grey'}
    known = json.dumps({'colours': colours, 'present': ['disc']})
    (tmp_path / 'seg' / 'truth' / 'colours.json').write_text(known)
    grid = show(prediction_grids(tmp_path))
    heads = [part.split('<')[0] for part in grid.split('<th>')[1:]]
    assert heads == ['input', 'ground truth', 'G2SD', 'teacher']
    assert grid.count('data:image/jpeg;base64,') == 8
    assert '<h3>Segmentation</h3>' in grid
    legend = grid.split('class="legend">')[1]
    assert 'background:rgb(1, 2, 3)"></i>ring<' in legend
    assert '&lt;i&gt;' in legend and 'disc' in legend
    assert 'star' not in legend and 'red' not in legend
    assert grid.index('teacher: 0000_a') < grid.index('input: 0001_b')


def test_classes_are_told_in_words_and_wrong_ones_stand_out(tmp_path):
    for place in range(2):
        image(tmp_path / 'cls' / 'input' / f'{place:04d}_a.jpg')
        image(tmp_path / 'cls' / 'g2sd' / f'{place:04d}_a.jpg')  # that infer drew
    (tmp_path / 'cls' / 'truth').mkdir()
    (tmp_path / 'cls' / 'truth' / 'classes.txt').write_text('ring\n<b>\n')
    told = [{'image': 'a', 'scores': {'disc': 0.2, 'ring': 0.7}}, {'scores': {'disc': 0.9}}]
    (tmp_path / 'cls' / 'g2sd' / 'predictions.json').write_text(json.dumps(told))
    grid = show(prediction_grids(tmp_path))
    assert grid.count('data:image/jpeg') == 2
    assert '<td>ring</td><td>ring 0.70</td>' in grid
    assert '<td>&lt;b&gt;</td><td class="bad">disc 0.90</td>' in grid


def test_tasks_without_pictures_have_no_grid(tmp_path):
    (tmp_path / 'det').mkdir()
    assert list(prediction_grids(tmp_path)) == []
    assert list(prediction_grids(tmp_path / 'none')) == []


def test_reconstructions_stand_beside_what_was_seen(tmp_path):
    assert reconstruction_grid(tmp_path) is None
    for column in ('teacher', 'student', 'masked', 'input'):
        image(tmp_path / column / '0000.png')
    grid = show([reconstruction_grid(tmp_path)])
    assert grid.index('input') < grid.index('what is seen') < grid.index('student, teacher')
    assert grid.count('data:image/png;base64,') == 4


def test_the_method_is_the_drawing_of_the_readme():
    assert 'prefers-color-scheme: dark' in METHOD.read_text()
    assert 'data:image/svg+xml;base64,' in show([method_picture()])
