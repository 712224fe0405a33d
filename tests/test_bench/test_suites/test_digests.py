"""What a finished run is known by: everything that its result can depend on, and nothing else."""

from __future__ import annotations

import pytest

from g2sd_mm.bench.suites import budget
from g2sd_mm.bench.suites.catalogue import MINI
from g2sd_mm.bench.suites.commands import Launcher
from g2sd_mm.bench.suites.digests import all_digests, digest, own_teachers
from g2sd_mm.bench.suites.paper import PAPER
from g2sd_mm.bench.suites.suites import Step

CONFIG = 'configs/mini/g2sd_vits_maskrcnn.py'


def of(needs=(), seed=0, amp=False, **options) -> str:
    keys = {key.replace('__', '.'): value for key, value in options.items()}
    return digest(Step(CONFIG, options=keys), seed, needs, amp=amp)


def test_digests_do_not_depend_on_folders_or_devices(monkeypatch, tmp_path):
    first = all_digests(MINI, [0, 1])
    assert len(set(first.values())) == len(first) == 2 * len(MINI.steps)
    monkeypatch.setenv('G2SD_DATA', str(tmp_path))
    monkeypatch.setattr('torch.cuda.is_available', lambda: True)
    assert all_digests(MINI, [0, 1]) == first


def test_a_given_file_is_known_by_its_content(tmp_path):
    file = tmp_path / 'vitb_mae.pth'
    step = Step(CONFIG, file=str(file))
    found = []
    for content in (b'one', b'two', b'one'):
        file.write_bytes(content)
        found.append(digest(step, 0, ()))
    assert found[0] == found[2] != found[1]


def test_weights_of_ones_own_and_modules_are_known_by_their_content(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    own = {
        'distillation.teacher.checkpoint': str(tmp_path / 'teacher.pth'),
        'custom_imports.imports': ['g2sd_mm.registered', 'my_loss', 'my_pack.deep', 'mmdet.models'],
    }
    imports = {
        'teacher.pth': '', 'my_loss.py': 'import numpy, my_help', 'my_pack/__init__.py': '',
        'my_pack/deep.py': 'from . import other\nfrom .below.part import name',
        'my_help.py': 'from my_pack.late import value', 'my_pack/other.py': '',
        'my_pack/late.py': 'import my_loss', 'my_pack/below/part.py': '',
    }
    for name, text in imports.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f'{text}\nraise RuntimeError  # never imported')
    before = of(**own)
    assert of(**own) == before
    (tmp_path / 'my_beside.py').write_text('no part of it')
    assert of(**own) == before
    for name, text in imports.items():
        (tmp_path / name).write_text(f'{text}\nchanged = 1')
        assert of(**own) != before, name
        before = of(**own)
    (tmp_path / 'my_help.py').write_text('it stops (')
    assert of(**own) != before


def test_a_folder_of_weights_is_known_by_all_of_its_files(tmp_path):
    """Another network in a folder of the same name, or images normalised in another way."""
    names = ('model.safetensors', 'config.json', 'preprocessor_config.json')
    files = [tmp_path / 'a teacher' / name for name in names]
    files[0].parent.mkdir()
    for file in files:
        file.write_text('{}')
    own = {'distillation.teacher.model': str(files[0].parent)}
    alone = {'distillation.teacher.checkpoint': str(files[0])}
    before, before_alone = of(**own), of(**alone)
    for file in files:
        file.write_text(f'changed {file}')
        assert of(**own) != before
        before = of(**own)
    assert of(**alone) != before_alone
    before_alone = of(**alone)
    files[1].write_text('with another mean')
    assert of(**alone) != before_alone


def test_a_teachers_own_config_is_known_by_what_it_says(tmp_path):
    teacher = tmp_path / 'my_teacher.py'
    own = {'distillation.teacher.config': str(teacher)}
    found = []
    for depth in (18, 34, 18):
        teacher.write_text(f'model = dict(backbone=dict(depth={depth}))\n\n')
        budget._read.cache_clear()  # of the suites that were begun before
        found.append(of(**own))
    assert found[0] == found[2] != found[1]
    assert own_teachers({'distillation': dict(teacher=dict(config=CONFIG))}) == []


def test_the_own_config_of_a_hooks_teacher_is_found(tmp_path):
    file = tmp_path / 'my_teacher.py'
    file.touch()
    hook = dict(type='DistillationHook', teacher=dict(config=str(file)))
    assert own_teachers({'custom_hooks': [dict(type='EMAHook'), hook]}) == [str(file)]


def test_a_teachers_own_modules_are_known_by_their_content(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    teacher, module = tmp_path / 'my_teacher.py', tmp_path / 'my_network_of_a_teacher.py'
    teacher.write_text(f'custom_imports = dict(imports={module.stem!r})')
    found = []
    for text in ('', 'changed = 1', ''):
        module.write_text(text)
        found.append(of(**{'distillation.teacher.config': str(teacher)}))
    assert found[0] == found[2] != found[1]


@pytest.mark.parametrize(
    'changed',
    [dict(seed=1), dict(needs=('of another teacher',)), dict(amp=True),
     dict(train_cfg__max_iters=1501), dict(optim_wrapper__optimizer__lr=2e-3),
     dict(train_dataloader__batch_size=4), dict(val_evaluator__metric='bbox'),
     dict(distillation__teacher__checkpoint='work_dirs/other/weights.pth'),
     dict(randomness__seed=1), dict(reliability__non_finite__max_skips=3)],
    ids=str,
)  # fmt: skip
def test_what_a_result_depends_on_changes_it(changed):
    assert of(**changed) != of()


@pytest.mark.parametrize(
    'changed',
    [dict(log_level='ERROR'), dict(default_hooks__logger__interval=10), dict(data_layout='there'),
     dict(train_dataloader__num_workers=8), dict(val_dataloader__persistent_workers=True),
     dict(default_hooks__checkpoint__interval=100), dict(env_cfg__cudnn_benchmark=False),
     dict(row__colour='#123456')],
    ids=str,
)  # fmt: skip
def test_how_a_run_is_shown_kept_and_read_does_not(changed):
    """Else a tidier log would cost weeks of training."""
    assert of(**changed) == of()


def test_a_step_that_only_checks_does_not_count_and_any_other_does():
    def with_steps(*kinds):
        return of(train_pipeline=[dict(type=kind) for kind in ('LoadImageFromFile', *kinds)],
                  **{'train_dataloader.dataset.dataset.pipeline': [dict(type=k) for k in kinds]})

    assert with_steps('CheckListedSize', 'PackInputs') == with_steps('PackInputs')
    assert with_steps('RandomFlip', 'PackInputs') != with_steps('PackInputs')


def test_a_hook_that_takes_part_in_training_counts():
    assert of(default_hooks__param_scheduler=None) != of()


def test_float32_runs_are_not_taken_for_those_in_mixed_precision():
    mixed, whole = (all_digests(PAPER, [0], launcher=Launcher(amp=amp)) for amp in (True, False))
    differ = {name for (_, name), value in mixed.items() if whole[0, name] != value}
    assert {step.name for step in PAPER.steps if step.amp} <= differ
    assert all_digests(PAPER, [0]) == whole
