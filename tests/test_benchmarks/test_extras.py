"""Options that are measured beside the defaults: they are on, and only where a stage has them."""

from __future__ import annotations

import pytest
import torch

from benchmarks.speed import command
from benchmarks.speed.batches import random_batch
from benchmarks.speed.extras import EXTRAS
from benchmarks.speed.formulation import Formulation, Variant
from benchmarks.speed.stages import STAGES
from benchmarks.speed.suite import Settings

from ..helpers.toys import config

STAGE_OF = {'generic': 'generic_vits', 'cls': 'cls_vits', 'det': 'det_vits', 'seg': 'seg_vits'}
PAIRS = [(STAGE_OF[task], name) for name, extra in EXTRAS.items() for task in extra.tasks]


@pytest.mark.parametrize(('stage', 'extra'), PAIRS)
def test_every_option_trains_a_step(stage, extra):
    formulation = Formulation(STAGES[stage], 'toy', variant=Variant(extra=extra))
    before = [p.detach().clone() for p in formulation.model.parameters()]
    formulation.optimizer.optimizer.param_groups[0]['lr'] = 0.1
    formulation.run('step', formulation.prepare('step', random_batch(STAGES[stage], 2, 'toy')))
    moved = zip(before, formulation.model.parameters(), strict=True)
    assert any(not torch.equal(old, new) for old, new in moved)


def test_options_are_on():
    model = Formulation(STAGES['generic_vits'], 'toy', variant=Variant(extra='decode50')).model
    assert model.student.decode_share == 0.5
    model = Formulation(STAGES['det_vits'], 'toy', variant=Variant(extra='recompute')).model
    assert model.student.backbone.with_cp and not model.teacher.model.backbone.with_cp
    model = Formulation(STAGES['cls_vits'], 'toy', variant=Variant(extra='tokens50')).model
    assert model.teacher.model.backbone.visible_share == 0.5
    assert model.student.backbone.visible_share == 1
    model = Formulation(STAGES['seg_vits'], 'toy', variant=Variant(extra='channels_last')).model
    kernel = model.student.decode_head.fpn_bottleneck.conv.weight
    assert kernel.is_contiguous(memory_format=torch.channels_last)


def test_with_labels_on_file_the_teacher_never_runs():
    formulation = Formulation(STAGES['cls_vits'], 'toy', variant=Variant(extra='labels'))
    asked = []
    formulation.model.teacher.model.backbone.register_forward_hook(lambda *_: asked.append(1))
    batch = random_batch(STAGES['cls_vits'], 2, 'toy')
    formulation.run('step', formulation.prepare('step', batch))
    assert asked == []


@pytest.mark.parametrize(('name', 'place', 'extra'), [
    ('g2sd_vits_generic_decode50', ('model',), 'decode50'),
    ('g2sd_vits_cls_tokens50', ('distillation', 'teacher'), 'tokens50'),
    ('g2sd_vits_cls_attended50', ('distillation',), 'attended50'),
])
def test_what_is_measured_is_what_the_configs_say(name, place, extra):
    found = config(f'faster/{name}.py')
    for part in place:
        found = found[part]
    (key, value), = EXTRAS[extra].config.items()
    said = found[key.rsplit('.', 1)[-1]]
    # of the teacher more is overridden: its number of classes
    assert said == value or value.items() <= dict(said).items()


def test_a_stage_is_measured_with_the_options_that_it_has():
    variants = tuple(Variant(extra=extra) for extra in (None, *EXTRAS))
    settings = Settings(tuple(STAGES), ('step',), variants)
    names = {n: [v.extra for v in settings.variants_of(s)] for n, s in STAGES.items()}
    assert names['generic_vits'] == [
        None, 'both', 'decode50', 'answers', 'int8', 'float8', 'recompute', 'channels_last',
    ]
    assert names['cls_vits'] == [
        None, 'tokens50', 'attended50', 'int8', 'float8', 'labels', 'recompute', 'channels_last',
    ]
    assert names['det_vits'] == [None, 'int8', 'float8', 'recompute', 'channels_last']


def test_the_command_knows_every_option():
    assert set(command.EXTRAS) == set(EXTRAS)
    args = command.parser().parse_args(['--with', 'labels', '--dtype', 'float32', '--compile'])
    names = [variant.name for variant in command.settings(args).variants]
    assert names == ['float32', 'float32, labels', 'float32, compiled', 'float32, compiled, labels']
