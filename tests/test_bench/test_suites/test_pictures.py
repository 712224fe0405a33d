"""Pictures of a suite's rows, from random weights to the report's grid."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS

from g2sd_mm.bench.reports.page import show
from g2sd_mm.bench.reports.pictures import prediction_grids
from g2sd_mm.bench.suites.pictures import draw_pictures
from g2sd_mm.bench.suites.suites import Row, Step, Suite
from g2sd_mm.config.parts import plain_model

from ...helpers import small_masks, toys


@pytest.fixture(scope='module')
def ran(tmp_path_factory) -> tuple[Suite, Path]:
    """A suite of one classifier and one segmentor, after its runs; a third row has failed."""
    folder = tmp_path_factory.mktemp('ran')
    data = toys.image_folder(folder / 'images', classes=10, each=2, size=64)
    classifier = toys.config('shapes/vits_scratch_cls.py')
    classifier.pop('shapes')
    classifier.val_dataloader.dataset.data_root = str(data)
    classifier.test_dataloader = classifier.val_dataloader
    masks = small_masks.write_data(folder / 'masks')
    segmentor = small_masks.small_config('ade20k/g2sd_vits_upernet_nosd.py')
    segmentor = small_masks.on_small_data(segmentor, masks, folder)
    steps = [
        _trained(cfg, name, folder)
        for name, cfg in (('vits_scratch_cls', classifier), ('g2sd_vits_upernet', segmentor))
    ]
    steps.append(Step(steps[0].config, label='vitb_cls'))
    rows = (
        Row('cls', 'scratch', 'vits_scratch_cls'), Row('cls', 'teacher', 'vitb_cls'),
        Row('seg', 'g2sd', 'g2sd_vits_upernet'),
    )  # fmt: skip
    return Suite('toy', tuple(steps), rows), folder


def _trained(cfg: Config, name: str, folder: Path) -> Step:
    """Leave a config and random weights where a run would."""
    (folder / name).mkdir()
    config = folder / f'{name}.py'
    cfg.dump(config)
    torch.manual_seed(0)
    model = MODELS.build(plain_model(cfg))
    model.init_weights()
    toys.save(folder / name / 'weights.pth', model)
    return Step(str(config))


def test_finished_rows_stand_beside_input_and_truth(ran, tmp_path):
    suite, runs = ran
    (tmp_path / 'cls' / 'g2sd').mkdir(parents=True)  # of an earlier run, on other images
    draw_pictures(suite, suite.rows, runs, tmp_path)
    found = {path.parent.relative_to(tmp_path).as_posix() for path in tmp_path.rglob('*.jpg')}
    assert found == {'cls/input', 'cls/truth', 'cls/scratch',
                     'seg/input', 'seg/truth', 'seg/g2sd'}
    names = [sorted(p.name for p in (tmp_path / column).glob('*.jpg')) for column in found]
    assert {len(some) for some in names} == {8, 3}
    assert not (tmp_path / 'cls' / 'g2sd').exists()
    # evenly over the classes, not the first ones
    classes = (tmp_path / 'cls' / 'truth' / 'classes.txt').read_text().split()
    assert len(classes) == 8 and len(set(classes)) > 4
    assert show(prediction_grids(tmp_path)).count('<img') == 8 + 9


def test_rows_of_before_are_shown_too_and_the_runs_are_named(ran, tmp_path):
    suite, runs = ran
    draw_pictures(suite, suite.rows[1:2], runs, tmp_path)  # the teacher, which has failed
    assert (tmp_path / 'cls' / 'scratch').is_dir()
    assert not (tmp_path / 'seg').exists()
    assert (tmp_path / 'cls' / 'runs.txt').read_text() == f'{runs.name}\n'
    grid = show(prediction_grids(tmp_path))
    assert f'runs of {runs.name}' in grid


def test_students_and_rows_of_ones_own_have_their_columns(ran, tmp_path):
    """A method's second student does not take the first one's place; own rows keep their names."""
    suite, runs = ran
    own = Row('cls', 'truth/2', 'vits_scratch_cls', network='vits')  # called as no folder can be
    second = Row('cls', 'scratch', 'vits_scratch_cls', network='vitt')
    others = (replace(own, method='single_stage'), replace(own, method='teacher'))
    drawn = replace(suite, rows=(own, second, *suite.rows[:1], *others))
    draw_pictures(drawn, drawn.rows[:1], runs, tmp_path)
    columns = json.loads((tmp_path / 'cls' / 'columns.json').read_text())
    assert list(columns.items()) == [
        ('input', 'input'), ('truth', 'ground truth'), ('scratch_vitt', 'scratch, vitt'),
        ('scratch_vits', 'scratch, vits'), ('own_vits_scratch_cls', 'truth/2'),
        ('teacher', 'teacher'),
    ]  # fmt: skip
    grid = show(prediction_grids(tmp_path))
    heads = [part.split('<')[0] for part in grid.split('<th>')[1:]]
    assert heads == list(columns.values())


def test_what_cannot_be_drawn_is_said_and_the_rest_is_drawn(ran, tmp_path, monkeypatch):
    suite, runs = ran
    broken = Step('no/such.py', label='broken')
    (runs / 'broken').mkdir(exist_ok=True)
    (runs / 'broken' / 'weights.pth').touch()
    steps, rows = (*suite.steps, broken), (*suite.rows, Row('cls', 'my_idea', 'broken'))
    rows += (Row('det', 'teacher', 'broken'),)
    told = []
    draw_pictures(replace(suite, steps=steps, rows=rows), rows, runs, tmp_path, told.append)
    assert [line.split(':')[0] for line in told] == ['no pictures of broken', 'no pictures of det']
    assert all('no/such.py' in line and '\n' not in line for line in told)
    grids = show(prediction_grids(tmp_path))
    assert 'scratch' in grids and 'my_idea' not in grids


def test_columns_show_the_same_images_at_the_same_size(ran, tmp_path):
    suite, runs = ran
    draw_pictures(suite, suite.rows[2:], runs, tmp_path)
    for name in (path.name for path in (tmp_path / 'seg' / 'input').iterdir()):
        columns = [cv2.imread(str(tmp_path / 'seg' / c / name)) for c in ('input', 'truth', 'g2sd')]
        assert len({picture.shape for picture in columns}) == 1
        assert np.abs(columns[0].astype(int) - columns[1]).mean() > 5  # annotations are drawn
    known = json.loads((tmp_path / 'seg' / 'truth' / 'colours.json').read_text())
    assert len(known['present']) == 2 and len(known['colours']) == 150
    assert set(known['present']) <= set(known['colours'])
