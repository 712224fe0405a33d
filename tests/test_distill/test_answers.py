"""A teacher's answers on disk: the same training, and a teacher that is not run any more."""

from __future__ import annotations

import errno
import multiprocessing
import time
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS

import g2sd_mm
from g2sd_mm.checkpoints import read_weights
from g2sd_mm.distill import answers
from g2sd_mm.distill.answers import TeacherAnswers, TeacherAnswersHook
from g2sd_mm.distill.students import MaskedStudent
from g2sd_mm.distill.teachers import Features
from g2sd_mm.distill.teachers.images import Pixels
from g2sd_mm.distill.teachers.mae import MAETeacher
from g2sd_mm.errors import UserError
from g2sd_mm.runs.train import train

from ..helpers import imagenet
from ..helpers.toys import autoencoder, save, stage1_cfg

CPU = torch.device('cpu')


def samples(*seeds: int | None) -> list:
    return [SimpleNamespace(sample_seed=seed) for seed in seeds]


def answer(dtype: torch.dtype = torch.float32) -> dict:
    return {'tokens': torch.arange(12.0).reshape(2, 3, 2).to(dtype), 'other': torch.zeros(2)}


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float16])
def test_what_is_kept_is_found_by_its_sample_in_another_run(tmp_path, dtype):
    kept = TeacherAnswers(tmp_path / 'kept', 4, 1e9, [['teacher.tokens']])
    assert kept.find(samples(5, 6), CPU) is None
    kept.keep(samples(5, 6), answer(dtype))
    again = TeacherAnswers(tmp_path / 'kept', 4, 1e9, [['teacher.tokens']])
    found = again.find(samples(6, 5), CPU)
    assert found.keys() == {'tokens'}
    assert found['tokens'].dtype == dtype
    assert torch.equal(found['tokens'], answer(dtype)['tokens'][[1, 0]])
    assert again.find(samples(5, 7), CPU) is None
    again.keep(samples(5, 7), answer(dtype))  # of 5 the first answer stays
    assert torch.equal(again.find(samples(5, 7), CPU)['tokens'], answer(dtype)['tokens'])
    assert (again.found, again.asked) == (2, 1)


def test_an_answer_is_of_the_image_and_not_of_its_number(tmp_path):
    """An image that is added to the data moves the numbers, and so the seeds, of those after it."""
    kept = TeacherAnswers(tmp_path / 'kept', 4, 1e9, [['teacher.tokens']])
    first = [SimpleNamespace(sample_seed=n, img_path=f'{n}.png') for n in (5, 6)]
    moved = [SimpleNamespace(sample_seed=n, img_path=f'{n - 1}.png') for n in (6, 7)]
    kept.keep(first, answer())
    assert kept.find(first, CPU) is not None
    assert kept.find(moved, CPU) is None
    assert kept.find(moved[:1], CPU) is None


def test_a_full_disk_is_said_and_nothing_is_taken_for_kept(tmp_path):
    kept = TeacherAnswers(tmp_path / 'kept', 4, 1e9, [['teacher.tokens']])
    kept.keep(samples(5, 6), answer())
    (pages,) = kept._kept._file.execute('pragma page_count').fetchone()
    kept._kept._file.execute(f'pragma max_page_count = {pages}')
    large = {'tokens': torch.zeros(2, 1000)}
    with pytest.raises(OSError, match='kept') as raised:
        kept.keep(samples(7, 8), large)
    assert raised.value.errno == errno.ENOSPC
    assert kept.find(samples(7, 8), CPU) is None
    assert torch.equal(kept.find(samples(5, 6), CPU)['tokens'], answer()['tokens'])


def test_features_are_features_again(tmp_path):
    features = Features(torch.rand(2, 4), torch.rand(2, 3, 3, 4))
    taught = {**features._asdict(), 'features': features}
    kept = TeacherAnswers(tmp_path / 'kept', 4, 1e9, [['teacher.features', 'teacher.tokens']])
    kept.keep(samples(1, 2), taught)
    found = kept.find(samples(1, 2), CPU)
    assert torch.equal(found['features'].tokens, features.tokens)


def test_answers_that_do_not_fit_are_refused_before_they_are_written(tmp_path):
    kept = TeacherAnswers(tmp_path / 'kept', 10**6, 1e6, [['teacher.tokens']])
    with pytest.raises(UserError, match='limit_gb'):
        kept.keep(samples(1, 2), answer())


@pytest.mark.parametrize('seeds', [(), (None, 3)])
def test_samples_without_seeds_are_refused(tmp_path, seeds):
    with pytest.raises(UserError, match='SeededDataset'):
        TeacherAnswers(tmp_path / 'kept', 1, 1e9, [['teacher.tokens']]).find(samples(*seeds), CPU)


def test_parts_that_are_no_tensors_are_refused(tmp_path):
    kept = TeacherAnswers(tmp_path / 'kept', 4, 1e9, [['teacher.tokens']])
    with pytest.raises(UserError, match='tokens'):
        kept.keep(samples(1, 2), {'tokens': [torch.zeros(2)]})


class Images(list):
    views = 2


def before_training(folder, logger, changes=None, by='view', **parts):
    """A distiller whose hook has opened its folder, and that folder."""
    cfg = Config(dict(stage1_cfg(), train_dataloader={}, custom_hooks=[], **parts))
    cfg.merge_from_dict(changes or {})
    cfg = g2sd_mm.distill_config(cfg)
    torch.manual_seed(0)  # of the teacher's weights
    model = MODELS.build(cfg.model.to_dict())
    loader = SimpleNamespace(dataset=Images(range(2)), batch_size=2)
    runner = SimpleNamespace(
        model=model, cfg=cfg, seed=0, logger=logger, train_dataloader=loader, hooks=[]
    )
    hook = TeacherAnswersHook(str(folder), by=by)
    hook.before_train(runner)
    return model, hook._answers.path.parent


def test_processes_of_one_machine_share_what_is_kept(tmp_path, logger, monkeypatch):
    """An image is another process's in the next pass, where it would be asked for once more."""
    files = []
    monkeypatch.setattr(answers, 'get_world_size', lambda: 4)
    for machine, rank in (('0', 0), ('0', 1), ('1', 2)):
        monkeypatch.setattr(answers, 'get_rank', lambda rank=rank: rank)
        monkeypatch.setenv('GROUP_RANK', machine)
        model, _ = before_training(tmp_path, logger)
        files.append(model.distillation.kept.path)
    assert files[0] == files[1] != files[2]


MORE = dict(
    type='SmoothL1FeatureLoss', inputs=dict(student='student.tokens', teacher='teacher.cls')
)


def test_answers_of_other_modules_or_for_other_losses_are_others(tmp_path, logger):
    changes = (
        {}, {}, {'distillation.taps.tokens.teacher': 'decoder_blocks.0'},
        {'distillation.losses.loss_more': MORE},
    )  # fmt: skip
    own, again, *others = (before_training(tmp_path, logger, each)[1] for each in changes)
    assert own == again and len({own, *others}) == 3


def test_answers_to_images_normalised_in_another_way_are_others(tmp_path, logger, monkeypatch):
    """A file beside the weights says how, and no entry of the config."""
    monkeypatch.setattr(MAETeacher, 'prepares_images', True)
    folders = set()
    for mean in (0.5, 0.4):
        pixels = Pixels.of_fractions((mean,) * 3, (0.5,) * 3)
        monkeypatch.setattr(MAETeacher, 'pixels', pixels, raising=False)
        folders.add(before_training(tmp_path, logger)[1])
    assert len(folders) == 2


def test_answers_on_another_grid_are_others(tmp_path, logger, monkeypatch):
    monkeypatch.setattr(MAETeacher, 'prepares_images', True)
    folders = set()
    for stride in (8, 16):
        monkeypatch.setattr(MaskedStudent, 'stride', stride, raising=False)
        folders.add(before_training(tmp_path, logger)[1])
    assert len(folders) == 2


def test_of_several_students_all_that_they_ask_is_kept(tmp_path, logger):
    other = dict(distillation=dict(losses=dict(loss_more=MORE)))
    model, _ = before_training(tmp_path, logger, students=dict(a={}, b=other))
    kept = model.students['a'].distillation.kept.places
    assert kept == [['teacher.cls'], ['teacher.tokens']]


def test_teachers_by_name_are_refused(tmp_path, logger):
    block = stage1_cfg()['distillation']
    loss = dict(type='SmoothL1FeatureLoss', tap='t.tokens')
    named = {
        'distillation.teacher': None,
        'distillation.teachers': dict(t=block['teacher']),
        'distillation.taps': {'_delete_': True, 't.tokens': block['taps']['tokens']},
        'distillation.adapters': None,
        'distillation.losses': dict(loss_tokens=None, loss_t=loss),
    }
    with pytest.raises(UserError, match=r'distillation\.teachers'):
        before_training(tmp_path, logger, named)


def options(teacher: str, folder: str | None, views: int | None = 2) -> dict:
    hooks = [dict(type=name) for name in ('StepSeedHook', 'WeightsExportHook')]
    if folder:
        hooks.append(dict(type='TeacherAnswersHook', folder=folder))
    return imagenet.stage1(
        teacher,
        **{
            'custom_hooks': hooks, 'train_cfg.max_epochs': 4,
            'train_dataloader.dataset.views': views, 'optim_wrapper.optimizer.lr': 1e-3,
        },
    )  # fmt: skip


@pytest.fixture
def teacher(image_data, tmp_path, monkeypatch):
    monkeypatch.setenv('G2SD_DATA', str(image_data))
    sizes = dict(arch='demo-teacher', decoder='dec64d2b', img_size=32)
    return save(tmp_path / 'teacher.pth', autoencoder(sizes))


@pytest.mark.slow
def test_a_run_has_the_bits_of_one_that_asks_every_time(teacher, tmp_path, monkeypatch):
    made = []

    class Seen(TeacherAnswers):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            made.append(self)

    monkeypatch.setattr(answers, 'TeacherAnswers', Seen)
    config = imagenet.path('g2sd_vits_generic')
    for name, folder in (('plain', None), ('first', 'kept'), ('second', 'kept')):
        train(config, options(teacher, folder and str(tmp_path / folder)), str(tmp_path / name))
    # 4 batches an epoch: both views of every image are asked for in the first two of four epochs
    assert made[0].asked == 8 and made[0].found == 8
    assert made[1].asked == 0 and made[1].found == 16
    files = [tmp_path / name / 'weights.pth' for name in ('plain', 'first', 'second')]
    states = [read_weights(file).state for file in files]
    for other in states[1:]:
        assert all(torch.equal(tensor, other[key]) for key, tensor in states[0].items())


@pytest.mark.slow
def test_images_that_are_new_in_every_epoch_are_refused(teacher, tmp_path):
    with pytest.raises(UserError, match='views=K'):
        train(
            imagenet.path('g2sd_vits_generic'), options(teacher, str(tmp_path / 'kept'), None),
            str(tmp_path / 'run'),
        )  # fmt: skip


def _keep(path, said) -> None:
    kept = TeacherAnswers(path, 4, 1e9, [['teacher.tokens']])
    kept.keep(samples(5, 6), answer())
    said.send(True)
    time.sleep(60)


def test_two_runs_at_once_share_a_file_and_one_that_is_killed_leaves_its_rows(tmp_path):
    context = multiprocessing.get_context('fork')
    ready, said = context.Pipe(False)
    other = context.Process(target=_keep, args=(tmp_path / 'kept', said))
    other.start()
    assert ready.recv()
    kept = TeacherAnswers(tmp_path / 'kept', 4, 1e9, [['teacher.tokens']])
    kept.keep(samples(6, 7), answer())
    other.kill()
    other.join()
    assert torch.equal(kept.find(samples(5, 6), CPU)['tokens'], answer()['tokens'])
    assert torch.equal(kept.find(samples(7), CPU)['tokens'], answer()['tokens'][1:])


def test_a_run_whose_steps_have_other_images_each_time_is_refused(tmp_path, logger):
    with pytest.raises(UserError, match='StepSeedHook'):
        before_training(tmp_path / 'labels', logger, by='step')
    assert not (tmp_path / 'labels').exists()
    with pytest.raises(ValueError, match='epoch'):
        TeacherAnswersHook('kept', by='epoch')
