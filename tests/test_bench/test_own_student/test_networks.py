"""Which networks are trained follows from the student asked for and the teacher given."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch

from g2sd_mm.bench.own_student.given import choose_networks
from g2sd_mm.bench.own_student.networks import use_networks
from g2sd_mm.bench.suites.budget import raw_config
from g2sd_mm.bench.suites.catalogue import MINI
from g2sd_mm.bench.suites.commands import config_over
from g2sd_mm.bench.suites.digests import digest
from g2sd_mm.config.load import load_config
from g2sd_mm.config.parts import teacher_config
from g2sd_mm.config.project import find_config
from g2sd_mm.errors import UserError
from g2sd_mm.models.mae import MaskedAutoencoder
from g2sd_mm.models.sizes import EncoderSize
from g2sd_mm.tasks import TASKS

from ...helpers.encoders import as_real, timm_state
from ...helpers.students import student_folder
from ...helpers.toys import save, words

DINO = 'vit_small_patch14_dinov2'
STUDENT, TWIN = 'g2sd_vits_cls', 'g2sd_vits_cls_nosd'


def suite_of(networks, task='cls'):
    return use_networks(MINI, networks, task)


def steps_of(networks, task='cls'):
    """Run -> step, of those that student, twin and teacher need."""
    suite = suite_of(networks, task)
    rows = [row for row in suite.rows if row.task == task and row.table == 'main'
            and row.method in ('teacher', 'g2sd_nosd', 'g2sd')]  # fmt: skip
    return {step.name: step for step in suite.steps_of(rows)}


def config_of(step):
    return raw_config(step.config, step.options)


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """One weights file of each kind."""
    folder = tmp_path_factory.mktemp('given')
    torch.manual_seed(0)
    network = MaskedAutoencoder('demo-teacher', 'dec64d2b', img_size=56)
    network.init_weights()
    foreign = MaskedAutoencoder('base', 'dec512d8b', img_size=224)
    foreign.init_weights()
    dino = as_real(timm_state(DINO, num_classes=0, img_size=98))
    return {
        'autoencoder': save(folder / 'mae.pth', {f'autoencoder.{n}': t for n, t in
                                                 network.state_dict().items()}),
        'published': save(folder / 'mae_base.pth', foreign),
        'encoder': save(folder / 'dinov2_vits14.pth', dino),
        'task': str(student_folder(folder / 'cls', 'classification') / 'weights.pth'),
        'detector': str(student_folder(folder / 'det', 'detection') / 'weights.pth'),
    }  # fmt: skip


def test_the_usual_networks_are_those_of_the_mini_suite():
    networks = choose_networks(None, None, 'cls')
    assert networks.usual and len(networks.reasons) == 2
    own = {step.name: step for step in suite_of(networks).steps}
    assert {name for name in own if own[name] != MINI.step(name)} == {STUDENT}


@pytest.mark.parametrize('task', ['cls', 'det', 'seg', 'depth'])
@pytest.mark.parametrize(
    ('student', 'sliced'),
    [('demo-student', True), ('tiny', True), ('small', True), ('demo-teacher', False),
     ('base', False), ('convnext_atto', False)],
)  # fmt: skip
def test_the_student_starts_as_a_slice_where_it_can(student, sliced, task):
    if (student, task) == ('convnext_atto', 'depth'):
        return
    networks = choose_networks(student, None, task)
    assert networks.sliceable is sliced
    head = TASKS[task].head
    step = steps_of(networks, task)[f'g2sd_vits_{head}']
    cfg = config_of(step)
    start = cfg.model.backbone.get('init_cfg')
    assert bool(cfg.distillation.get('sliced')) is sliced
    assert (start is None) is sliced
    assert set(step.needs) == {f'vitb_{head}'} | (set() if sliced else {'g2sd_vits_generic'})
    if not sliced:
        assert start.checkpoint == 'work_dirs/g2sd_vits_generic/weights.pth'
    inherited = task != 'cls' and student != 'convnext_atto'
    assert bool(cfg.distillation.get('inherit')) is inherited


def test_a_masked_autoencoder_takes_the_place_of_pre_training(files):
    steps = steps_of(choose_networks(None, files['autoencoder'], 'cls'))
    assert steps['vitb_mae'].file == files['autoencoder']
    assert not steps['vitb_cls'].file
    assert config_of(steps['g2sd_vits_generic']).distillation.teacher.type == 'MAETeacher'


def test_one_with_other_patches_teaches_by_its_encoder(files):
    networks = choose_networks(None, files['published'], 'cls')
    assert networks.kind == 'encoder' and networks.entry['model'] == 'vit_base_patch16_224.mae'
    assert networks.width == 768


def test_the_larger_network_is_the_same_beside_an_encoder(files):
    given, trained = (choose_networks('tiny-12h', t, 'cls') for t in (files['encoder'], None))
    assert given.teacher == trained.teacher


def test_an_encoder_teaches_both_networks(files):
    steps = steps_of(choose_networks(None, files['encoder'], 'cls'))
    assert set(steps) == {'vitb_generic', 'vitb_cls', 'g2sd_vits_generic', TWIN, STUDENT}
    for name, arch in (('vitb_generic', 'demo-teacher'), ('g2sd_vits_generic', 'demo-student')):
        cfg = config_of(steps[name])
        assert cfg.model.arch == arch
        assert cfg.distillation.teacher.model.startswith(DINO)
        assert cfg.distillation.teacher.checkpoint == files['encoder']
        assert cfg.distillation.adapters.tokens.out_channels == 384
    start = config_of(steps['vitb_cls']).model.backbone.init_cfg.checkpoint
    assert start == 'work_dirs/vitb_generic/weights.pth'
    assert not {'vitb_mae'} & set(steps)


def test_a_name_of_timm_with_and_without_a_file(files):
    entry = choose_networks(None, DINO, 'cls').entry
    assert entry['pretrained'] is True and 'checkpoint' not in entry
    entry = choose_networks(None, f'{DINO}={files["encoder"]}', 'cls').entry
    assert entry['checkpoint'] == files['encoder'] and 'pretrained' not in entry
    # without a class token the student's learns the mean of the patches
    assert choose_networks(None, 'vit_base_patch16_siglip_224', 'cls').entry['cls'] == 'mean'
    # as of one whose class token timm does not give
    assert choose_networks(None, 'xcit_nano_12_p8_224', 'cls').entry['cls'] == 'mean'


def test_a_hierarchy_teaches_by_the_same_stage_by_name_and_by_file(tmp_path):
    network = timm.create_model('resnet18', num_classes=0)
    file = save(tmp_path / 'resnet18.pth', network)
    for given in ('resnet18', f'resnet18={file}', file):
        networks = choose_networks(None, given, 'cls')
        assert networks.entry['block'] == 3 and networks.width == 256, given


def test_a_fine_tuned_network_is_the_teacher_of_stage_2_and_its_encoder_of_stage_1(files):
    with pytest.raises(UserError, match=words('demo-student', 'smaller student')):
        choose_networks(None, files['task'], 'cls')  # it has the size of the student
    # one of the teacher's size
    folder = Path(files['task']).parent.parent / 'large'
    size = {'model.backbone.arch': 'demo-teacher', 'model.head.in_channels': 128}
    large = str(student_folder(folder, 'classification', **size) / 'weights.pth')
    steps = steps_of(choose_networks(None, large, 'cls'))
    assert steps['vitb_cls'].file == large and not steps['vitb_cls'].needs
    assert set(steps) == {'vitb_cls', 'g2sd_vits_generic', TWIN, STUDENT}
    teacher = config_of(steps['g2sd_vits_generic']).distillation.teacher
    assert teacher.type == 'EncoderTeacher' and teacher.checkpoint == large


def test_another_file_is_another_teacher(files, tmp_path):
    torch.manual_seed(1)
    network = MaskedAutoencoder('demo-teacher', 'dec64d2b', img_size=56)
    other = save(tmp_path / 'mae.pth', network)
    steps = [
        steps_of(choose_networks(None, file, 'cls'))['vitb_mae']
        for file in (files['autoencoder'], other)
    ]
    assert len({digest(step, 0, []) for step in steps}) == 2


@pytest.mark.parametrize('task', ['cls', 'det', 'seg', 'depth'])
@pytest.mark.parametrize('student', ['tiny', 'convnext_atto'])
def test_other_students_fit_their_heads_and_teachers(student, task):
    if (student, task) == ('convnext_atto', 'depth'):
        with pytest.raises(UserError, match=words('--student convnext_atto', 'depth')):
            choose_networks(student, None, task)
        return
    steps = steps_of(choose_networks(student, None, task), task)
    (name,) = (n for n in steps if n.startswith('g2sd_vits') and n[10:] not in ('generic',)
               and not n.endswith('_nosd'))  # fmt: skip
    cfg = config_of(steps[name])
    width = 192 if student == 'tiny' else 320
    if task == 'cls':
        assert cfg.model.head.in_channels == width
        assert cfg.distillation.teacher.overrides['model.head.in_channels'] == 384
    if task == 'seg':
        assert cfg.model.decode_head.in_channels[-1] == width
    if task == 'det':
        assert cfg.model.neck.in_channels == (192 if student == 'tiny' else [40, 80, 160, 320])


@pytest.mark.parametrize('task', ['det', 'seg', 'depth'])
@pytest.mark.parametrize('student', [None, 'tiny'])
def test_heads_are_inherited_where_both_are_alike(student, task):
    steps = steps_of(choose_networks(student, None, task), task)
    name = f'g2sd_vits_{TASKS[task].head}'
    assert config_of(steps[name]).distillation.inherit
    published = config_of(MINI.step(name))
    assert config_of(steps[name]).train_cfg == published.train_cfg
    assert not published.distillation.get('inherit')


def test_heads_of_their_own_stay(files, tmp_path):
    for student, task in (('convnext_atto', 'det'), ('convnext_atto', 'seg'), (None, 'cls')):
        steps = steps_of(choose_networks(student, None, task), task)
        name = f'g2sd_vits_{TASKS[task].head}'
        assert not config_of(steps[name]).distillation.get('inherit'), (student, task)
    size = {'model.backbone.arch': 'demo-teacher', 'model.neck.in_channels': 128}
    given = str(student_folder(tmp_path / 'large', 'detection', **size) / 'weights.pth')
    steps = steps_of(choose_networks(None, given, 'det'), 'det')
    assert not config_of(steps['g2sd_vits_maskrcnn']).distillation.get('inherit')


def test_the_teacher_of_a_network_of_timm_is_told_its_size_and_no_more():
    networks = choose_networks('resnet18', None, 'seg')
    teacher = config_of(steps_of(networks, 'seg')['g2sd_vits_generic']).distillation.teacher
    assert EncoderSize(**teacher.arch) == networks.teacher


@pytest.mark.parametrize('student', ['tiny', 'convnext_atto'])
def test_the_size_of_a_larger_teacher_is_read_as_often_as_it_is_asked(student):
    networks = choose_networks(student, None, 'cls')
    teacher = config_of(steps_of(networks)[STUDENT]).distillation.teacher
    for _ in range(2):
        arch = teacher_config(teacher['config'], teacher.get('overrides')).model.backbone.arch
        assert EncoderSize(**arch) == networks.teacher


def test_its_configs_are_written_as_they_are_meant(tmp_path):
    steps = steps_of(choose_networks('convnext_atto', None, 'cls'))
    for step in steps.values():
        place = tmp_path / f'{step.name}.py'
        place.write_text(config_over(find_config(step.config), step.options))
        meant = config_of(step)
        assert load_config(str(place)).model.get('type') == meant.model.type
        backbone = load_config(str(place)).model.get('backbone') or {}
        assert backbone.get('arch') == (meant.model.get('backbone') or {}).get('arch')


# Refused -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('student', 'teacher', 'said'),
    [
        ('smal', None, ('--student smal', 'small')),
        ('resnet18', None, ()),
        (None, 'nowhere.pth', ('--teacher nowhere.pth', 'NAME=FILE')),
        (None, f'{DINO}=nowhere.pth', ('nowhere.pth',)),
        (None, 'vit_bse_patch16', ('--teacher vit_bse_patch16',)),
    ],
)
def test_names_that_are_not_there(student, teacher, said):
    if student == 'resnet18':  # a network of timm that is known, with maps of stride 4 to 32
        assert choose_networks(student, teacher, 'det').widths == (64, 128, 256, 512)
        return
    with pytest.raises(UserError, match=words(*said)):
        choose_networks(student, teacher, 'cls')


def test_a_teacher_of_another_task(files):
    with pytest.raises(UserError, match=words('detector', 'classification')):
        choose_networks(None, files['detector'], 'cls')


def test_a_file_that_cannot_teach(tmp_path):
    text = save(tmp_path / 'text.pth', {'embed_tokens.weight': torch.ones(4, 4),
                                        'lm_head.weight': torch.ones(4, 4)})  # fmt: skip
    with pytest.raises(UserError, match=words(str(text))):
        choose_networks(None, text, 'cls')


def test_a_convolution_without_fine_maps_is_no_detector():
    name = 'vit_tiny_patch16_224'
    assert timm.is_model(name)
    with pytest.raises(UserError, match=words(f'--student {name}', 'stride')):
        choose_networks(name, None, 'det')
