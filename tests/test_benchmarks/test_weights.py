"""Bytes of weights, gradients and moments a process."""

from __future__ import annotations

import json
import sys

import pytest

from benchmarks.speed import weights
from benchmarks.speed.weights import weights_of
from g2sd_mm.errors import UserError
from g2sd_mm.models.sizes import encoder_size

from ..helpers.toys import ROOT, config, words

BLOCK = 12 * 1024**2 + 13 * 1024  # parameters of a block of ViT-L


def test_stage_one_counts_both_networks():
    found = weights_of(config('large/g2sd_vits_generic_from_vitl.py'))
    assert 24 * BLOCK < found['teacher'] < 26 * BLOCK + 4 * 12 * 512**2 * 1.1
    assert 20e6 < found['trained'] < 30e6
    fixed = found['whole'] - 16 * found['trained'] - 4 * found['teacher']
    assert 0 < fixed < 1e6  # the position tables of the student, which are not trained
    four, eight = found['sharded'][4], found['sharded'][8]
    assert found['whole'] / 4 < four < found['whole'] / 4 + 4 * (BLOCK + 3e6)
    assert eight < four


def test_a_network_without_a_teacher_is_trained_whole():
    found = weights_of(config('large/vitl_cls.py'))
    assert found['teacher'] == 0
    assert found['whole'] == 16 * found['trained']
    assert found['sharded'][4] == found['whole'] // 4 + 4 * BLOCK


def test_stage_two_is_refused():
    with pytest.raises(UserError, match=words('stage 1', 'not stage 2')):
        weights_of(config('imagenet/g2sd_vits_cls.py'))


def test_the_command_prints_a_line_a_config(monkeypatch, capsys):
    paths = [str(ROOT / 'configs/large' / f'{name}.py') for name in ('vitl_cls', 'vith_cls')]
    monkeypatch.setattr(sys, 'argv', ['weights', *paths])
    weights.main()
    large, huge = map(json.loads, capsys.readouterr().out.splitlines())
    assert (large['config'], huge['config']) == ('vitl_cls', 'vith_cls')
    blocks = encoder_size('huge').depth * 12 * encoder_size('huge').embed_dim ** 2
    assert blocks < huge['trained'] < 1.05 * blocks
