"""Every fix that a message offers works: bad input, what the message says to do, the mended input.

A message that leads to the next message is worse than one without advice.
"""

from __future__ import annotations

import functools
import json
import os
import pickle
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import PARAM_SCHEDULERS
from torch import nn

import g2sd_mm
from g2sd_mm.checkpoints.positions import transpose_positions
from g2sd_mm.compat.safe_load import load_checkpoint
from g2sd_mm.config.load import load_config
from g2sd_mm.config.options import read_options
from g2sd_mm.config.project import find_config
from g2sd_mm.datasets.packed import pack_folder
from g2sd_mm.distill.adapters import LevelAdapters
from g2sd_mm.models.sizes import decoder_size, encoder_size
from g2sd_mm.runs.data import prepare_data
from g2sd_mm.runs.prepare import use_mixed_precision
from g2sd_mm.runs.reliable import make_reliable
from g2sd_mm.runs.work_dir import check_work_dir
from g2sd_mm.unexpected import account_of

from .helpers.students import CONFIGS, student_folder
from .helpers.toys import ROOT, TEACHER, autoencoder, config, distiller, image_folder, save


@dataclass(frozen=True)
class Case:
    """One bad input.

    bad: given a folder, ends in a person's error.
    advice: pattern that the message must have; its groups are what is done.
    mended: given the folder and the groups, ends well.
    """

    bad: Callable[[Path], Any]
    advice: str
    mended: Callable[..., Any]


def _command(name: str, words: list[str]) -> None:
    """Run a command as a shell would."""
    import importlib
    import sys
    from unittest import mock

    module = importlib.import_module(f'g2sd_mm.cli.{name}')
    with mock.patch.object(sys, 'argv', words):
        try:
            module.main()
        except SystemExit as end:
            assert end.code in (None, 0, 1)  # 1: what was looked for was found


# Configs and options ------------------------------------------------------------------------------


def _options(folder: Path, *pairs: str) -> Config:
    return load_config('imagenet/vitb_cls', read_options(list(pairs)))


def _both_ways(folder: Path, one: str, several: str) -> None:
    for words in (one, several):
        assert read_options(shlex.split(words))


def _known(build: Callable[[str], Any], folder: Path, names: str) -> None:
    for name in names.split(', '):
        build(name)


def _entries_of(folder: Path, command: str) -> None:
    _command('config', shlex.split(command)[1:])


def _schedule(warmup: int) -> Any:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(()))], lr=1.0)
    kind = dict(type='WarmupCosineLR', warmup=warmup, total=4, by_epoch=False)
    return PARAM_SCHEDULERS.build(kind, default_args=dict(optimizer=optimizer))


def _reliable(name: str) -> None:
    cfg = config('shapes/vits_scratch_cls.py')
    cfg.reliability = {name: {}}
    make_reliable(cfg)


def _mixed(folder: Path, pair: str) -> None:
    cfg = config('imagenet/vitb_cls.py', **read_options([pair]))
    assert cfg.optim_wrapper.type == 'AutocastOptimWrapper'
    g2sd_mm.register_all()
    model = nn.Linear(2, 2)
    from mmengine.registry import OPTIM_WRAPPERS

    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    OPTIM_WRAPPERS.build(dict(type=cfg.optim_wrapper.type, optimizer=optimizer))


# Data ---------------------------------------------------------------------------------------------


def _classes(folder: Path, *pairs: str) -> None:
    root = folder / 'train'
    if not root.exists():
        image_folder(root, classes=3, each=1)
    cfg = _options(folder, f'train_dataloader.dataset.dataset.data_root={root}', *pairs)
    prepare_data(cfg, ('train_dataloader',))


def _elsewhere(folder: Path, place: str = '') -> None:
    if place:
        assert place == 'imagenet'
        image_folder(folder / 'sets' / place / 'train', classes=3, each=1)
        os.environ['G2SD_DATA'] = str(folder / 'sets')
    prepare_data(_options(folder, 'num_classes=3'), ('train_dataloader',))


def _coco(folder: Path, **changes: Any) -> Path:
    thing = dict(id=1, image_id=1, category_id=1, iscrowd=0, bbox=[1, 1, 5, 5], area=25.0)
    thing['segmentation'] = [[1, 1, 6, 1, 6, 6]]
    path = folder / 'my truth.json'
    content = dict(
        images=[dict(id=1, width=9, height=9, file_name='a.png')],
        categories=[dict(id=1, name='apple'), dict(id=2, name='berry')],
        annotations=[{**thing, **changes}],
    )
    path.write_text(json.dumps(content))
    return path


def _objects(folder: Path, classes: tuple[str, ...], **kind: Any) -> Any:
    g2sd_mm.register_all()
    from g2sd_mm.datasets import coco  # it imports mmdet

    loading = dict(type='mmdet.LoadAnnotations', with_bbox=True, with_mask=True)
    return coco.CheckedCocoDataset(
        ann_file=str(_coco(folder, **kind)), data_prefix=dict(img=''),
        metainfo=dict(classes=classes), pipeline=[loading],
    )  # fmt: skip


def _list_all(folder: Path, command: str) -> None:
    _command('check_data', shlex.split(command.replace('DIR', shlex.quote(str(folder))))[1:])


def _pack(folder: Path, name: str) -> None:
    pytest.importorskip('lmdb')
    if not (folder / 'images').exists():
        image_folder(folder / 'images', classes=1, each=1)
    pack_folder(folder / 'images', folder / name)


# Weights ------------------------------------------------------------------------------------------


def _transposed(folder: Path) -> Path:
    state = transpose_positions(autoencoder(TEACHER).state_dict())
    return Path(save(folder / 'my teacher.pth', state))


def _teach(path: Path | str | None) -> None:
    distiller(teacher=dict(checkpoint=path and str(path)))


def _convert_and_teach(folder: Path, command: str) -> None:
    words = shlex.split(command)[1:]
    words[words.index('FIXED.pth')] = str(folder / 'fixed.pth')
    _command('checkpoint', words)
    _teach(folder / 'fixed.pth')


def _pickled(folder: Path) -> None:
    (folder / 'bare.pkl').write_bytes(pickle.dumps({'weight': [1.0]}))
    load_checkpoint(folder / 'bare.pkl')


def _saved_again(folder: Path) -> None:
    torch.save({'weight': torch.ones(2)}, folder / 'good.pth')
    load_checkpoint(folder / 'good.pth')


def _scripted(folder: Path) -> None:
    torch.jit.script(nn.Linear(2, 2)).save(str(folder / 'program.pth'))
    load_checkpoint(folder / 'program.pth')


def _state_of_it(folder: Path) -> None:
    torch.save(torch.jit.load(str(folder / 'program.pth')).state_dict(), folder / 'state.pth')
    load_checkpoint(folder / 'state.pth')


def _student(folder: Path, damage: Callable[[Path], Any]) -> None:
    weights = student_folder(folder / 'run') / 'weights.pth'
    damage(weights.with_suffix('.json'))
    g2sd_mm.load_student(weights)


def _with_config(folder: Path) -> None:
    shapes = str(ROOT / 'configs' / CONFIGS['classification'])
    g2sd_mm.load_student(folder / 'run' / 'weights.pth', shapes)


CASES = {
    'a path with a comma': Case(
        lambda folder: read_options(['data_root=my, images/train']),
        'for one text write (.+), for a list (.+)$',
        _both_ways,
    ),
    'an option that does not fit': Case(
        lambda folder: _options(folder, 'model.backbone.arch.depth=3'),
        '(python tools/config.py .+) prints',
        _entries_of,
    ),
    'a name of no config': Case(
        lambda folder: find_config('imagenet/vitb_clss'),
        'has (.+)$',
        functools.partial(_known, lambda name: find_config(f'imagenet/{name}')),
    ),
    'another number of classes': Case(
        lambda folder: _options(folder, 'classes=[a,b]'),
        r'set (num_classes=\d+), or other classes',
        lambda folder, number: _options(folder, number, 'classes=[a,b]'),
    ),
    'a number of class folders': Case(_classes, r'--cfg-options (\S+)$', _classes),
    'data elsewhere': Case(
        _elsewhere, r'point G2SD_DATA at the folder that holds (\w+)$', _elsewhere
    ),
    'a category of another name': Case(
        lambda folder: _objects(folder, ('aple',)),
        r"did you mean '(\w+)'",
        lambda folder, name: _objects(folder, (name,)),
    ),
    'all categories': Case(
        lambda folder: _objects(folder, ('cherry',)),
        'its categories are (.+): list them',
        lambda folder, names: _objects(folder, tuple(names.split(', '))),
    ),
    'an entry that cannot be read': Case(
        lambda folder: _objects(folder, ('apple',), bbox='here'),
        '(python tools/check_data.py .+) lists all',
        _list_all,
    ),
    'packed under another ending': Case(
        lambda folder: _pack(folder, 'images.zip'),
        r'ends in (\.\w+)',
        lambda folder, ending: _pack(folder, f'images{ending}'),
    ),
    'a work dir that is a file': Case(
        lambda folder: ((folder / 'file').touch(), check_work_dir(str(folder / 'file'))),
        'give another with (--work-dir DIR)',
        lambda folder, _: check_work_dir(str(folder / 'another')),
    ),
    'an encoder of no size': Case(
        lambda folder: encoder_size('enormous'), r'known are ([\w, -]+)',
        functools.partial(_known, encoder_size),
    ),
    'a decoder of no size': Case(
        lambda folder: decoder_size('wide'),
        r'write dec<width>d<depth>b with a width of (\d+)',
        lambda folder, width: decoder_size(f'dec{width}d2b'),
    ),
    'another decoder': Case(
        lambda folder: decoder_size('wide'),
        r'or give dict\((embed_dim=), (depth=), (num_heads=)\)',
        lambda folder, *names: decoder_size({name[:-1]: 4 for name in names}),
    ),
    'a warm-up that does not fit': Case(
        lambda folder: _schedule(5), r'param_scheduler\.0\.(warmup)', lambda *_: _schedule(1)
    ),
    'an alarm of another name': Case(
        lambda folder: _reliable('nan'), 'there are (.+)$', functools.partial(_known, _reliable)
    ),
    'levels of a pyramid': Case(
        lambda folder: LevelAdapters(8, num_levels=5)([torch.ones(1, 8, 4, 4)] * 3),
        r'set num_levels=(\d+)',
        lambda folder, n: LevelAdapters(8, num_levels=int(n))([torch.ones(1, 8, 4, 4)] * 3),
    ),
    'mixed precision on a CPU': Case(
        lambda folder: use_mixed_precision(config('imagenet/vitb_cls.py')),
        r'use --cfg-options (\S+)$',
        _mixed,
    ),
    'a teacher without a file': Case(
        lambda folder: _teach(None),
        r'give a (full masked autoencoder)',
        lambda folder, _: _teach(save(folder / 'teacher.pth', autoencoder(TEACHER))),
    ),
    'a transposed table': Case(
        lambda folder: _teach(_transposed(folder)),
        'mend it: (python .+ --positions transpose);',
        _convert_and_teach,
    ),
    'a transposed table that is meant': Case(
        lambda folder: _teach(_transposed(folder)),
        '(python .+ --positions )transpose;.*the same with --positions (keep)',
        lambda folder, command, keep: _convert_and_teach(folder, command + keep),
    ),
    'a bare pickle': Case(
        _pickled, r'(save its tensors with torch\.save)', lambda folder, _: _saved_again(folder)
    ),
    'a program': Case(
        _scripted, r'(save its state_dict\(\) instead)', lambda folder, _: _state_of_it(folder)
    ),
    'a damaged sidecar': Case(
        lambda folder: _student(folder, lambda path: path.write_text('{')),
        '(put back the file as it was written)',
        lambda folder, _: _student(folder, lambda path: None),
    ),
    'a damaged sidecar, with a config': Case(
        lambda folder: _student(folder, lambda path: path.write_text('{')),
        '(give the config)',
        lambda folder, _: _with_config(folder),
    ),
    'no sidecar': Case(
        lambda folder: _student(folder, Path.unlink),
        '(give the config)',
        lambda folder, _: _with_config(folder),
    ),
}


@pytest.mark.parametrize('name', CASES)
def test_what_a_message_advises_works(name, tmp_path, monkeypatch):
    case = CASES[name]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('G2SD_DATA', 'data')  # put back whatever a case sets
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(Exception) as caught:
        case.bad(tmp_path)
    account = account_of(caught.value)
    assert account.code == 2, account.line
    advice = re.search(case.advice, account.line)
    assert advice, account.line
    case.mended(tmp_path, *advice.groups())
