"""The tables of the paper: three tasks, two students, the ablations, and robustness.

Stage 1 is what most ablations vary. Each of its variants is fine-tuned plainly on ImageNet (row
``g2sd_nosd``), so that nothing of stage 2 covers the difference; what stage 2 itself can vary is
compared on the task that has it. Every such table begins with the setting that the main rows have:
their runs, in another table once more.

Table ``teachers`` is stage 1 from foundation models, all else as in the paper. Each of them teaches
both students; these are fine-tuned plainly on ImageNet, and distilled on all three tasks by the
teachers that the main rows have.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from ...tasks import TASKS
from . import baselines
from .suites import (
    FULL_PRECISION,
    Row,
    Step,
    Suite,
    fine_tuned,
    folder_of,
    heads,
    single_stage,
)

STUDENTS = ('vits', 'vitt')
ROBUSTNESS = ('imagenet_a', 'imagenet_r', 'imagenet_sketch', 'imagenet_c')

_LOSS = 'distillation.losses.loss_tokens'


@dataclass(frozen=True)
class Variant:
    """A setting of stage 1 beside the published one.

    setting: its name in tables and in the names of its runs.
    options: what it changes of the student's stage-1 config.
    student: whose stage 1.
    config: file below ``configs/`` of a variant that adds parts: a tap with its loss.
    """

    setting: str
    options: dict[str, Any] = field(default_factory=dict)
    student: str = 'vits'
    config: str = ''

    @property
    def stage1(self) -> str:
        """Name of its stage-1 run."""
        return f'g2sd_{self.student}_generic_{self.setting}'

    @property
    def fine_tuned(self) -> str:
        """Name of the run that is compared: its encoder, fine-tuned on ImageNet."""
        return f'g2sd_{self.student}_{self.setting}_cls_nosd'


def _decoder(width: int, depth: int, student: str = 'vits') -> Variant:
    name = f'dec{width}d{depth}b'
    # the adapter brings what the decoder gives to the teacher's width
    options = {'model.decoder': name, 'distillation.adapters.tokens.in_channels': width}
    return Variant(name, options, student)


def _extra_loss(name: str) -> Variant:
    return Variant(name, config=f'ablations/g2sd_vits_generic_{name}.py')


#: Ablations of stage 1, by table.
STAGE1_ABLATIONS = {
    'decoder': (
        *(_decoder(width, depth) for width, depth in product((128, 512), (2, 4, 8))),
        _decoder(192, 4),
        _decoder(256, 2),
        _decoder(256, 8),
        _decoder(64, 4, 'vitt'),
    ),
    'target': tuple(
        # blocks are counted from 1 in names, from 0 in configs
        Variant(f'target{block}', {'distillation.teacher.until': f'decoder_blocks.{block - 1}'})
        for block in (1, 2, 6, 8)
    ),
    'mask': tuple(
        Variant(f'mask{percent}', {'model.mask_ratio': percent / 100}) for percent in (0, 50, 90)
    ),
    'supervision': tuple(
        Variant(tokens, {f'{_LOSS}.tokens': tokens}) for tokens in ('masked', 'patches')
    ),
    'loss': (
        Variant('l1', {f'{_LOSS}.beta': 0.0}),
        Variant('beta1', {f'{_LOSS}.beta': 1.0}),  # torch's default
        _extra_loss('encoder'),
        _extra_loss('relation'),
    ),
    'length': tuple(
        Variant(f'{epochs}ep', {'train_cfg.max_epochs': epochs}) for epochs in (100, 200, 400)
    ),
}

_VARIANTS = [variant for variants in STAGE1_ABLATIONS.values() for variant in variants]
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


def _public(config: str, needs: tuple[str, ...] = ()) -> Step:
    """A teacher's run, for which a published file may stand in."""
    public, origin = _PUBLIC[config]
    path = f'configs/{config}.py'
    return Step(path, needs=needs, amp=True, given=public, origin=origin)


def _pre_training() -> Iterator[Step]:
    yield _public('imagenet/vitb_mae')
    yield _public('imagenet/vitl_mae')
    for student in STUDENTS:
        yield Step(f'configs/imagenet/{student}_mae.py', amp=True)
        yield _stage1(f'imagenet/g2sd_{student}_generic.py')
    for variant in _VARIANTS:
        config = variant.config or f'imagenet/g2sd_{variant.student}_generic.py'
        yield _stage1(config, variant.options, variant.stage1)


def _stage1(config: str, options: Mapping[str, Any] | None = None, label: str = '') -> Step:
    # a folder's convention, not the config's: MAE's public file may lie anywhere
    teacher = {'distillation.teacher.checkpoint': f'work_dirs/{_MAE}/weights.pth'}
    return Step(
        f'configs/{config}',
        needs=(_MAE,),
        options={**teacher, **(options or {})},
        label=label,
        amp=True,
    )


def _of_task(task: str) -> Iterator[Step]:
    folder, head = folder_of(task), TASKS[task].head
    teacher = f'vitb_{head}'
    yield _public(f'{folder}/{teacher}', needs=(_MAE,))
    for student in STUDENTS:
        amp = task != FULL_PRECISION
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
    """The plain fine-tuning of each stage-1 ablation."""
    for variant in _VARIANTS:
        config = f'configs/imagenet/g2sd_{variant.student}_cls_nosd.py'
        yield fine_tuned(config, variant.stage1, variant.fine_tuned, amp=True)


#: The same of stage 2: (task, table, setting, the main row's method, its run).
STAGE2_DEFAULTS = (
    ('cls', 'loss', 'hard', 'g2sd', 'g2sd_vits_cls'),
    ('det', 'loss', 'feature and objectness', 'g2sd', 'g2sd_vits_maskrcnn'),
    ('seg', 'loss', 'cwd3', 'g2sd', 'g2sd_vits_upernet'),
    ('seg', 'teacher', 'vitb', 'teacher', 'vitb_upernet'),
    ('seg', 'teacher', 'vitb', 'g2sd', 'g2sd_vits_upernet'),
    ('seg', 'teacher', 'vitb', 'g2sd', 'g2sd_vitt_upernet'),
)


@dataclass(frozen=True)
class _Stage2:
    """A setting of stage 2 beside the published one, of one of its tables.

    config: file below ``configs/``.
    teacher: the run that it learns from.
    options: what it changes of the config, which is then that of a main row.
    """

    task: str
    table: str
    setting: str
    config: str
    teacher: str
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def step(self) -> Step:
        """Its run, after stage 1 of its student."""
        student = 'vitt' if 'vitt' in self.config else 'vits'
        return Step(
            f'configs/{self.config}.py',
            needs=(f'g2sd_{student}_generic', self.teacher),
            options=self.options,
            label=f'{Path(self.config).name}_{self.setting}' if self.options else '',
            amp=self.task != FULL_PRECISION,
        )

    @property
    def row(self) -> Row:
        """Its line."""
        return Row(self.task, 'g2sd', self.step.name, table=self.table, setting=self.setting)


_CWD10 = {'distillation.losses.loss_cwd.loss_weight': 10.0}  # of the published config files
_UPERNET, _DETECTOR = 'ade20k/g2sd_vits_upernet', 'ablations/g2sd_vits_maskrcnn'

_STAGE2_ABLATIONS = (
    _Stage2('cls', 'loss', 'nkd', 'ablations/g2sd_vits_cls_nkd', 'vitb_cls'),
    _Stage2('det', 'loss', 'feature', f'{_DETECTOR}_feature', 'vitb_maskrcnn'),
    _Stage2('det', 'loss', 'objectness', f'{_DETECTOR}_objectness', 'vitb_maskrcnn'),
    _Stage2('seg', 'loss', 'cwd10', _UPERNET, 'vitb_upernet', _CWD10),
    _Stage2('seg', 'loss', 'kl', f'{_UPERNET}_kl', 'vitb_upernet'),
    _Stage2('seg', 'loss', 'features', 'ablations/ade20k_vits_upernet_features', 'vitb_upernet'),
    _Stage2('seg', 'teacher', 'vitl', f'{_UPERNET}_from_vitl', 'vitl_upernet'),
    _Stage2('seg', 'teacher', 'vitl', 'ade20k/g2sd_vitt_upernet_from_vitl', 'vitl_upernet'),
)


#: Foundation models that teach stage 1: endings of their configs.
FOUNDATION = ('dinov2', 'dinov3', 'siglip2')


def _foundation_steps() -> Iterator[Step]:
    """Stage 1 from each, whose weights timm fetches, and what is trained from it."""
    for teacher, student in product(FOUNDATION, STUDENTS):
        generic = f'g2sd_{student}_generic_{teacher}'
        fetched = {'distillation.teacher.pretrained': True}
        yield Step(f'configs/imagenet/{generic}.py', options=fetched, amp=True)
        plain = f'configs/imagenet/g2sd_{student}_cls_nosd.py'
        yield fine_tuned(plain, generic, f'g2sd_{student}_{teacher}_cls_nosd', amp=True)
        for task, head in heads().items():
            yield Step(
                f'configs/{folder_of(task)}/g2sd_{student}_{head}_{teacher}.py',
                needs=(generic, f'vitb_{head}'),
                amp=task != FULL_PRECISION,
            )


def _foundation_rows() -> Iterator[Row]:
    """The main rows of stage 1 from MAE, then the same from each foundation model."""
    for student in STUDENTS:
        for teacher in ('', *FOUNDATION):
            setting, ending = teacher or f'mae{_DEFAULT}', f'_{teacher}' * bool(teacher)
            plain = f'g2sd_{student}{ending}_cls_nosd'
            yield Row('cls', 'g2sd_nosd', plain, table='teachers', setting=setting)
            for task, head in heads().items():
                name = f'g2sd_{student}_{head}{ending}'
                yield Row(task, 'g2sd', name, table='teachers', setting=setting)


#: Baselines whose teacher timm fetches: method -> the teacher's place in its config.
_FETCHED = {'proteus': 'distillation.teacher', 'ssta': 'distillation.teachers.assistant'}


def _plain(task: str) -> str:
    """The config of plain fine-tuning on a task."""
    return f'configs/{folder_of(task)}/g2sd_vits_{TASKS[task].head}_nosd.py'


def _rows() -> Iterator[Row]:
    for task in heads():
        yield from _main_rows(task)
    for table, variants in STAGE1_ABLATIONS.items():
        for student, name in STAGE1_DEFAULTS[table]:
            step = f'g2sd_{student}_cls_nosd'
            yield Row('cls', 'g2sd_nosd', step, table=table, setting=name + _DEFAULT)
        for variant in variants:
            yield Row(
                'cls', 'g2sd_nosd', variant.fine_tuned, table=table, setting=variant.setting
            )
    for task, table, setting, method, step in STAGE2_DEFAULTS:
        yield Row(task, method, step, table=table, setting=setting + _DEFAULT)
    yield Row('seg', 'teacher', 'vitl_upernet', table='teacher', setting='vitl')
    yield from (variant.row for variant in _STAGE2_ABLATIONS)
    yield from _foundation_rows()
    yield from baselines.rows()
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
        *(variant.step for variant in _STAGE2_ABLATIONS),
        *_foundation_steps(),
        *baselines.steps('configs/baselines/', _plain, pretrained=_FETCHED, amp=True),
    ),
    rows=tuple(_rows()),
    launched=True,
)
