"""Teachers of features in stage 1, from a config: a masked student, a teacher that sees all."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import timm
import torch
from mmengine.config import Config
from torch import nn

from g2sd_mm.bench.analysis.reconstruction import load_pair
from g2sd_mm.checkpoints import CheckpointError
from g2sd_mm.checkpoints.record import licences_beside
from g2sd_mm.config.load import load_config
from g2sd_mm.engine.hooks.access import bare_model
from g2sd_mm.engine.hooks.export import _origin
from g2sd_mm.runs.train import train
from g2sd_mm.runs.verify import verify

from ...helpers import imagenet
from ...helpers.seen_images import randomised
from ...helpers.toys import ROOT, config, refused, words

SMALL = dict(embed_dim=24, depth=3, num_heads=2, img_size=56)
ONCE = {'train_cfg.max_epochs': 1, 'param_scheduler.0.warmup': 0}
STAGE1 = f'''
_base_ = {str(ROOT / 'configs/imagenet/g2sd_vits_generic.py')!r}

distillation = dict(
    teacher=dict(_delete_=True, **TEACHER),
    taps=dict(tokens=dict(teacher=None)),  # the teacher answers with tokens
    adapters=dict(tokens=dict(out_channels=24)))
'''


@pytest.fixture
def folder(tmp_path, monkeypatch, image_data) -> Path:
    monkeypatch.setenv('G2SD_DATA', str(image_data))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def stage1(folder: Path, teacher: dict[str, Any]) -> str:
    path = folder / 'stage1.py'
    path.write_text(STAGE1.replace('**TEACHER', f'**{teacher!r}'))
    return str(path)


def options(**more: Any) -> dict[str, Any]:
    """Of the small student, on patches of 8 px of images of 32 px."""
    known = imagenet.stage1(None, **ONCE)
    known['distillation.adapters.tokens.out_channels'] = 24
    return {k: v for k, v in known.items() if not k.startswith('distillation.teacher')} | more


def losses(run: Path) -> list[dict[str, Any]]:
    (log,) = run.glob('*/vis_data/scalars.json')
    return [entry for entry in map(json.loads, log.read_text().splitlines()) if 'loss' in entry]


@pytest.mark.parametrize(
    'name, overrides, more',
    [
        ('vit_small_patch14_reg4_dinov2.lvd142m', SMALL, dict(block=1)),
        (
            'convnext_tiny.dinov3_lvd1689m',
            dict(dims=(8, 12, 24, 24), depths=(1, 1, 1, 1)),
            dict(block='stages.2', cls='mean', licence='cc-by-nc-4.0'),
        ),
    ],
)
def test_a_network_of_timm_teaches_a_masked_student(name, overrides, more, folder):
    torch.manual_seed(1)
    network = randomised(timm.create_model(name, **overrides))
    torch.save(network.state_dict(), folder / 'teacher.pth')
    teacher = dict(
        type='TimmTeacher', model=name, checkpoint='teacher.pth', overrides=overrides, **more
    )
    runner = train(stage1(folder, teacher), options())
    built = bare_model(runner).teacher
    assert type(built).__name__ == 'TimmTeacher'
    assert not [n for n in bare_model(runner).state_dict() if 'teacher' in n]
    steps = losses(folder / 'work_dirs' / 'stage1')
    assert len(steps) >= 2 and all(0.01 < step['loss_tokens'] < 10 for step in steps)
    weights = folder / 'work_dirs' / 'stage1' / 'weights.pth'
    record = json.loads(weights.with_suffix('.json').read_text())
    expected = more.get('licence', 'apache-2.0')
    assert record['origin']['teacher'] == {
        'file': 'teacher.pth', 'sha256': record['origin']['teacher']['sha256'],
        'type': 'TimmTeacher', 'model': name, 'source': 'teacher.pth', 'licence': expected,
    }
    # and what goes on from there says so too
    assert licences_beside(str(weights)) == {name: expected}
    start = {'model.backbone.init_cfg.checkpoint': str(weights)}
    after = SimpleNamespace(cfg=config('imagenet/vits_mae_cls.py', **start), model=nn.Identity())
    origin = _origin(after, after.cfg)
    assert origin['initialised_from']['licences'] == {name: expected}
    # and a student that such a network teaches
    taught = {'type': 'SpecificDistiller', 'teacher': {'checkpoint': str(weights)}, 'student': {}}
    after.cfg = Config(dict(model=taught))
    assert _origin(after, after.cfg)['teacher']['licences'] == {name: expected}
    with refused('TimmTeacher', 'MAETeacher'):
        load_pair(load_config(str(folder / 'stage1.py'), options()), weights)


def test_a_file_that_does_not_fit_is_noticed_before_the_run(folder):
    torch.save({'norm.weight': torch.ones(24)}, folder / 'teacher.pth')
    teacher = dict(
        type='TimmTeacher', model='vit_small_patch14_dinov2', checkpoint='teacher.pth',
        overrides=SMALL,
    )  # fmt: skip
    with pytest.raises(CheckpointError, match=words('teacher.pth')):
        train(stage1(folder, teacher), options())
    assert not list(folder.glob('work_dirs/stage1/*/*.log'))


def test_images_that_are_read_as_rgb_are_refused(folder):
    teacher = dict(
        type='TimmTeacher', model='vit_small_patch14_dinov2', random_weights=True, overrides=SMALL
    )
    order = {'train_dataloader.dataset.dataset.pipeline.0.channel_order': 'rgb'}
    with refused('RGB', 'BGR', 'data_preprocessor'):
        train(stage1(folder, teacher), options(**order))


def test_a_file_is_verified_as_what_the_teacher_takes(folder):
    network = randomised(timm.create_model('vit_small_patch14_dinov2', **SMALL))
    torch.save(network.state_dict(), folder / 'teacher.pth')
    teacher = dict(type='TimmTeacher', model='vit_small_patch14_dinov2', overrides=SMALL)
    found = {v.role: v.problem for v in verify(stage1(folder, teacher), 'teacher.pth', options())}
    assert not found['teacher'] and found['load_from']
    folder_alone = dict(type='HuggingFaceTeacher', model='somebody/something')
    verdicts = verify(stage1(folder, folder_alone), 'teacher.pth', options())
    found = {verdict.role: verdict.problem for verdict in verdicts}
    assert 'config.json' in found['teacher']
