"""Configs as dotted keys and values."""

from __future__ import annotations

import pytest
from mmengine.config import Config

from g2sd_mm.config.flat import as_written, flat
from g2sd_mm.distill.config import distill_config

from ..helpers.toys import ROOT


def test_parts_of_lists_are_named_by_their_types():
    cfg = dict(a=1, work_dir='x', b=dict(c=[dict(type='A', d=2), dict(type='A'), dict(e=[1, 2])]),
               empty={}, pair=(dict(type='B', work_dir='y', f=None),))  # fmt: skip
    assert dict(flat(cfg, {'work_dir'})) == {
        'a': 1, 'b.c.A.type': 'A', 'b.c.A.d': 2, 'b.c.A#2.type': 'A', 'b.c.item.e': [1, 2],
        'empty': {}, 'pair.B.type': 'B', 'pair.B.f': None,
    }  # fmt: skip


def test_a_distilled_config_is_as_its_file_has_it():
    cfg = Config.fromfile(ROOT / 'configs' / 'shapes' / 'g2sd_vits_cls.py')
    whole = {key: value for key, value in flat(cfg._cfg_dict) if '.' in key}
    found = dict(flat(as_written(distill_config(cfg))))
    assert {key: found.get(key) for key in whole} == whole
    assert as_written({'model': cfg.model}) == {'model': cfg.model}


@pytest.mark.parametrize('inside', [False, True])
def test_a_preprocessor_is_in_one_place_of_distilled_and_plain_runs(inside):
    name = 'g2sd_vits_maskrcnn' if inside else 'g2sd_vits_cls'
    cfg = Config.fromfile(ROOT / 'configs' / 'shapes' / f'{name}.py')
    assert ('data_preprocessor' in cfg.model) is inside
    plain, distilled = (dict(flat(as_written(each))) for each in (cfg, distill_config(cfg)))
    apart = {key for key in plain.keys() ^ distilled.keys() if not key.startswith('custom_hooks')}
    assert not apart and plain['data_preprocessor.mean'] == distilled['data_preprocessor.mean']
