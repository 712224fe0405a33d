"""The tables of the paper: three tasks, two students, the ablations, and robustness.

Stage 1 is what most ablations vary. Each of its variants is fine-tuned plainly on ImageNet (row
``g2sd_nosd``), so that nothing of stage 2 covers the difference; what stage 2 itself can vary is
compared on the task that has it. Every such table begins with the setting that the main rows have:
their runs, in another table once more.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from ...tasks import TASKS
from .suites import Row, Step, Suite, heads, single_stage

STUDENTS = ('vits', 'vitt')
ROBUSTNESS = ('imagenet_a', 'imagenet_r', 'imagenet_sketch', 'imagenet_c')

#: Ablations of stage 1: table -> what its configs are called after ``generic_``, with the student.
STAGE1_ABLATIONS = {
    'decoder': (
        *(('vits', f'dec{width}d{depth}b') for width, depth in product((128, 512), (2, 4, 8))),
        ('vits', 'dec192d4b'),
        ('vits', 'dec256d2b'),
        ('vits', 'dec256d8b'),
        ('vitt', 'dec64d4b'),
    ),
    'target': tuple(('vits', f'target{block}') for block in (1, 2, 6, 8)),
    'mask': tuple(('vits', f'mask{percent}') for percent in (0, 50, 90)),
    'supervision': (('vits', 'masked'), ('vits', 'patches')),
    'loss': tuple(('vits', name) for name in ('l1', 'beta1', 'encoder', 'relation')),
    'length': tuple(('vits', f'{epochs}ep') for epochs in (100, 200, 400)),
}

_DEFAULT = ' (default)'  # behind a setting

#: What the main rows have where stage 1 is varied: table -> (student, setting).
STAGE1_DEFAULTS = {
    'decoder': (('vits', 'dec256d4b'), ('vitt', 'dec128d4b')),
    'target': (('vits', 'target4'),),
    'mask': (('vits', 'mask75'),),
    'supervision': (('vits', 'all'),),
    'loss': (('vits', 'beta2'),),
    'length': (('vits', '300ep'),),
}

#: Teachers: config -> the published file of the same network, and what it is.
_PUBLIC = {
    'imagenet/vitb_mae': ('mae_pretrain_vit_base_full.pth', "MAE's ViT-B with its decoder"),
    'imagenet/vitl_mae': ('mae_pretrain_vit_large.pth', "MAE's ViT-L"),
    'imagenet/vitb_cls': ('mae_finetuned_vit_base.pth', "MAE's fine-tuned ViT-B"),
    'coco/vitb_maskrcnn': (
        'vitdet_b_maskrcnn.pth', "detectron2's ViTDet-B Mask R-CNN, its pickle saved as .pth"
    ),
    'ade20k/vitb_upernet': ('', ''),
}
_MAE = 'vitb_mae'
# Runs of the release in float32: its distilling loop of detection ignores the setting.
_FULL_PRECISION = 'det'


def _public(config: str, needs: tuple[str, ...] = ()) -> Step:
    """A teacher's run, for which a published file may stand in."""
    public, origin = _PUBLIC[config]
    path = f'configs/{config}.py'
    return Step(path, needs=needs, amp=True, public=public, origin=origin)


def _pre_training() -> Iterator[Step]:
    yield _public('imagenet/vitb_mae')
    yield _public('imagenet/vitl_mae')
    for student in STUDENTS:
        yield Step(f'configs/imagenet/{student}_mae.py', amp=True)
        yield _stage1(f'configs/imagenet/g2sd_{student}_generic.py')
    for student, name in _variants():
        yield _stage1(f'configs/ablations/g2sd_{student}_generic_{name}.py')


def _variants() -> Iterator[tuple[str, str]]:
    for variants in STAGE1_ABLATIONS.values():
        yield from variants


def _stage1(config: str) -> Step:
    # a folder's convention, not the config's: MAE's public file may lie anywhere
    teacher = {'model.teacher.checkpoint': f'work_dirs/{_MAE}/weights.pth'}
    return Step(config, needs=(_MAE,), options=teacher, amp=True)


def _of_task(task: str) -> Iterator[Step]:
    folder, head = TASKS[task].paper.folder, TASKS[task].head
    teacher = f'vitb_{head}'
    yield _public(f'{folder}/{teacher}', needs=(_MAE,))
    for student in STUDENTS:
        amp = task != _FULL_PRECISION
        generic = f'g2sd_{student}_generic'
        plain, distilled = f'{student}_mae_{head}', f'g2sd_{student}_{head}'
        yield Step(f'configs/{folder}/{plain}.py', needs=(f'{student}_mae',), amp=True)
        yield Step(f'configs/{folder}/{single_stage(student, task)}.py', needs=(teacher,), amp=amp)
        yield Step(f'configs/{folder}/{distilled}_nosd.py', needs=(generic,), amp=True)
        yield Step(f'configs/{folder}/{distilled}.py', needs=(generic, teacher), amp=amp)


def _main_rows(task: str) -> Iterator[Row]:
    head = TASKS[task].head
    yield Row(task, 'teacher', f'vitb_{head}')
    for student in STUDENTS:
        yield Row(task, 'mae_student', f'{student}_mae_{head}')
        yield Row(task, 'single_stage', single_stage(student, task))
        yield Row(task, 'g2sd_nosd', f'g2sd_{student}_{head}_nosd')
        yield Row(task, 'g2sd', f'g2sd_{student}_{head}')


def _fine_tuned_variants() -> Iterator[Step]:
    """The plain fine-tuning of each stage-1 ablation: one config, another encoder."""
    for student, name in _variants():
        generic = f'g2sd_{student}_generic_{name}'
        yield Step(
            f'configs/imagenet/g2sd_{student}_cls_nosd.py',
            needs=(generic,),
            options={'model.backbone.init_cfg.checkpoint': f'work_dirs/{generic}/weights.pth'},
            label=f'g2sd_{student}_{name}_cls_nosd',
            amp=True,
        )


#: The same of stage 2: (task, table, setting, the main row's method, its run).
STAGE2_DEFAULTS = (
    ('cls', 'loss', 'hard', 'g2sd', 'g2sd_vits_cls'),
    ('det', 'loss', 'feature and objectness', 'g2sd', 'g2sd_vits_maskrcnn'),
    ('seg', 'loss', 'cwd3', 'g2sd', 'g2sd_vits_upernet'),
    ('seg', 'teacher', 'vitb', 'teacher', 'vitb_upernet'),
    ('seg', 'teacher', 'vitb', 'g2sd', 'g2sd_vits_upernet'),
    ('seg', 'teacher', 'vitb', 'g2sd', 'g2sd_vitt_upernet'),
)

#: Ablations of stage 2: (task, table, setting, config, the teacher's run).
_STAGE2_ABLATIONS = (
    ('cls', 'loss', 'nkd', 'ablations/g2sd_vits_cls_nkd', 'vitb_cls'),
    ('det', 'loss', 'feature', 'ablations/g2sd_vits_maskrcnn_feature', 'vitb_maskrcnn'),
    ('det', 'loss', 'objectness', 'ablations/g2sd_vits_maskrcnn_objectness', 'vitb_maskrcnn'),
    ('seg', 'loss', 'cwd10', 'ablations/g2sd_vits_upernet_cwd10', 'vitb_upernet'),
    ('seg', 'loss', 'kl', 'ade20k/g2sd_vits_upernet_kl', 'vitb_upernet'),
    ('seg', 'loss', 'features', 'ablations/ade20k_vits_upernet_features', 'vitb_upernet'),
    ('seg', 'teacher', 'vitl', 'ade20k/g2sd_vits_upernet_from_vitl', 'vitl_upernet'),
    ('seg', 'teacher', 'vitl', 'ade20k/g2sd_vitt_upernet_from_vitl', 'vitl_upernet'),
)


def _stage2_variants() -> Iterator[tuple[Step, Row]]:
    for task, table, setting, config, teacher in _STAGE2_ABLATIONS:
        student = 'vitt' if 'vitt' in config else 'vits'
        step = Step(
            f'configs/{config}.py',
            needs=(f'g2sd_{student}_generic', teacher),
            amp=task != _FULL_PRECISION,
        )
        yield step, Row(task, 'g2sd', step.name, table=table, setting=setting)


def _rows() -> Iterator[Row]:
    for task in heads():
        yield from _main_rows(task)
    for table, variants in STAGE1_ABLATIONS.items():
        for student, name in STAGE1_DEFAULTS[table]:
            step = f'g2sd_{student}_cls_nosd'
            yield Row('cls', 'g2sd_nosd', step, table=table, setting=name + _DEFAULT)
        for student, name in variants:
            step = f'g2sd_{student}_{name}_cls_nosd'
            yield Row('cls', 'g2sd_nosd', step, table=table, setting=name)
    for task, table, setting, method, step in STAGE2_DEFAULTS:
        yield Row(task, method, step, table=table, setting=setting + _DEFAULT)
    yield Row('seg', 'teacher', 'vitl_upernet', table='teacher', setting='vitl')
    yield from (row for _, row in _stage2_variants())
    for row, data in product(_main_rows('cls'), ROBUSTNESS):
        config, metric = f'configs/robustness/{data}.py', 'mCE' if data == 'imagenet_c' else ''
        yield Row('cls', row.method, row.step, 'robustness', data, config, metric)


PAPER = Suite(
    name='paper',
    steps=(
        *_pre_training(),
        *(step for task in heads() for step in _of_task(task)),
        *_fine_tuned_variants(),
        Step('configs/ade20k/vitl_upernet.py', needs=('vitl_mae',), amp=True),
        *(step for step, _ in _stage2_variants()),
    ),
    rows=tuple(_rows()),
    launched=True,
)
