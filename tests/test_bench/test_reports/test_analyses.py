"""Plots and sentences of analyses, and their part in the page."""

from __future__ import annotations

import json
import re

import pytest

from g2sd_mm.bench.reports.analyses import (
    LOOKS,
    analysis_commands,
    analysis_parts,
    draw,
    reconstruction_sentence,
    summary,
)
from g2sd_mm.bench.reports.page import show
from g2sd_mm.bench.reports.plots import svg
from g2sd_mm.cli.analyze import NAMES
from g2sd_mm.errors import UserError

BINS = {'count': [0, 100], 'confidence': [0.0, 0.75], 'accuracy': [0.0, 0.8]}
CALIBRATION = {'accuracy': 80.0, 'confidence': 75.0, 'ece': 5.0, 'nll': 0.5, 'bins': BINS}
CURVE = {'accuracy': [80.0, 40.0], 'similarity': [1.0, 0.5]}
RESULTS = {
    'agreement': dict(
        agreement={'g2sd': dict(same=71.0, same_where_right=80.0, same_where_wrong=None, kl=0.2)},
        calibration={'teacher': CALIBRATION, 'g2sd': CALIBRATION},
    ),
    'occlusion': dict(
        fractions=[0.0, 0.5],
        orders={way: {'teacher': CURVE, 'g2sd': CURVE} for way in ('random', 'salient')},
    ),
    'corruption': dict(
        severities=[1, 5], clean={'teacher': 90.0}, mean={'teacher': 55.0},
        accuracy={'teacher': {'fog': [60.0, 50.0], 'jpeg_compression': [70.0, 40.0]}},
    ),
    'cka': dict(cka={'g2sd': [[0.9, 0.1], [0.2, 0.83]]}),
    'attention': dict(networks={'g2sd': dict(
        distance=[[10.0, 20.0], [30.0, 36.0]], entropy=[[1.0, 2.0], [3.0, 3.0]], bound=[3.9, 3.9],
        uniform=29.0, patch=8)}),
    'reconstruction': dict(
        losses=dict(teacher=0.3, student=0.4, nothing=1.0), mask_ratio=0.75),
}
SENTENCES = {
    'agreement': 'g2sd agrees with the teacher on 71.0 %. Calibration error in percent: '
                 'teacher 5.0, g2sd 5.0.',
    'occlusion': 'With 50 % of the patches gone at random, of its accuracy keeps g2sd 50 %, '
                 'teacher 50 %.',
    'corruption': 'Accuracy in percent, clean to mean over all corruptions: teacher 90.0 to 55.0.',
    'cka': "Similarity of the last block to the teacher's last: g2sd 0.83.",
    'attention': 'Mean attention distance in px, first to last block: g2sd 15 to 33.',
    'reconstruction': 'Mean squared error on the hidden 75 % of the patches: teacher 0.300, '
                      "student through the teacher's decoder 0.400, a grey guess 1.000 "
                      '(40 images).',
}


def result(name: str) -> dict:
    return {'analysis': name, 'command': f'ask {name}', 'images': 40, **RESULTS[name]}


def test_every_analysis_has_a_look():
    assert set(LOOKS) == set(NAMES) == set(RESULTS)


@pytest.mark.parametrize('name', NAMES)
def test_results_in_a_sentence(name):
    assert summary(result(name)) == SENTENCES[name]


@pytest.mark.parametrize('name', [name for name in NAMES if name != 'reconstruction'])
def test_plots_name_what_they_show_and_take_the_pages_colours(name):
    plot = draw(result(name))
    assert plot.startswith('<svg') and 'currentColor' in plot and '#010203' not in plot
    assert '>g2sd</text>' in plot or name == 'corruption'
    assert plot == draw(result(name))  # the same figures, the same file


def test_heads_that_look_at_no_patch_are_left_out():
    open_heads = result('attention')
    network = dict(open_heads['networks']['g2sd'], distance=[[10.0, None], [None, None]])
    open_heads['networks'] = {'g2sd': network}
    assert summary(open_heads).endswith('g2sd 10 to none.')
    assert draw(open_heads).startswith('<svg')


def test_layers_that_say_the_same_of_all_images_are_gaps():
    found = {**result('cka'), 'cka': {'g2sd': [[0.9, None], [None, None]]}}
    assert summary(found).endswith('g2sd none.')
    assert draw(found).startswith('<svg')


def test_a_network_of_one_block_has_its_first_block_as_its_last():
    network = RESULTS['attention']['networks']['g2sd']
    short = {key: network[key][:1] for key in ('distance', 'entropy', 'bound')}
    found = {**result('attention'), 'networks': {'g2sd': {**network, **short}}}
    assert summary(found).endswith('g2sd 15 to 15.')
    assert draw(found).startswith('<svg')


@pytest.mark.parametrize('text', ['{"analysis": "cka", "cka"', '{}', '[]', json.dumps(
    {'analysis': 'cka', 'command': '', 'images': 4}), '{"analysis": "x", "command": ""}'])
def test_a_file_that_no_analysis_wrote_is_named(tmp_path, text):
    (tmp_path / 'cka.json').write_text(text)
    with pytest.raises(UserError, match=re.escape(str(tmp_path / 'cka.json'))):
        list(analysis_parts(tmp_path))


def test_other_files_beside_analyses_are_none(tmp_path):
    (tmp_path / 'seg').mkdir()
    (tmp_path / 'seg' / 'cka.json').write_text(json.dumps(result('cka')))
    (tmp_path / 'notes.json').write_text('{}')
    assert analysis_commands(tmp_path) == ['ask cka']


def test_pictures_of_one_page_keep_their_identifiers_apart():
    plots = [svg(name, lambda fig: fig.subplots().plot([1, 2])) for name in ('a', 'b')]
    # what is referred to: markers and clip paths
    one, other = (set(re.findall(r'(?:href="|url\()#(\w+)', plot)) for plot in plots)
    assert one and not one & other


def test_the_page_shows_what_there_is(tmp_path):
    assert list(analysis_parts(tmp_path)) == [] and reconstruction_sentence(tmp_path) == ''
    for name in ('cka', 'agreement', 'reconstruction'):
        (tmp_path / f'{name}.json').write_text(json.dumps(result(name)))
    page = show(analysis_parts(tmp_path))
    assert page.index('Agreement and calibration') < page.index('Similarity of layers')
    assert page.count('<figure') == 2 and '(40 images.)' in page
    (tmp_path / 'det').mkdir()
    (tmp_path / 'det' / 'cka.json').write_text(json.dumps(result('cka')))
    assert 'Similarity of layers, detection' in show(analysis_parts(tmp_path))
    assert 'a grey guess' in reconstruction_sentence(tmp_path)
