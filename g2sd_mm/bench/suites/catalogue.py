"""All suites by name: the demo, mini and the paper's.

The demo is short runs on Shapes; mini is the main tables, and depth, at a size for two CPU cores,
on Shapes or on data of one's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ...tasks import TASKS
from ..results import BASELINES
from . import baselines
from .paper import PAPER
from .suites import Row, Step, Suite, heads, single_stage

_SHAPES = 'configs/shapes/'

DEMO = Suite(
    name='demo',
    steps=(
        Step(_SHAPES + 'vitb_mae.py'),
        Step(_SHAPES + 'vitb_cls.py', needs=('vitb_mae',)),
        Step(_SHAPES + 'vits_scratch_cls.py'),
        Step(_SHAPES + 'g2sd_vits_generic.py', needs=('vitb_mae',)),
        Step(_SHAPES + 'g2sd_vits_cls_nosd.py', needs=('g2sd_vits_generic',)),
        Step(_SHAPES + 'g2sd_vits_cls.py', needs=('g2sd_vits_generic', 'vitb_cls')),
        Step(_SHAPES + 'vits_single_stage.py', needs=('vitb_cls',)),
        Step(_SHAPES + 'vitb_maskrcnn.py', needs=('vitb_mae',)),
        Step(_SHAPES + 'g2sd_vits_maskrcnn_nosd.py', needs=('g2sd_vits_generic',)),
        Step(_SHAPES + 'g2sd_vits_maskrcnn.py', needs=('g2sd_vits_generic', 'vitb_maskrcnn')),
        Step(_SHAPES + 'vitb_upernet.py', needs=('vitb_mae',)),
        Step(_SHAPES + 'g2sd_vits_upernet_nosd.py', needs=('g2sd_vits_generic',)),
        Step(_SHAPES + 'g2sd_vits_upernet.py', needs=('g2sd_vits_generic', 'vitb_upernet')),
        Step(
            _SHAPES + 'vitb_depth.py', needs=('vitb_mae',), public='vitb_depth.safetensors',
            origin='the teacher of the mini suite',
        ),
        Step(_SHAPES + 'vits_scratch_depth.py'),
        Step(_SHAPES + 'g2sd_vits_depth_nosd.py', needs=('g2sd_vits_generic',)),
        Step(_SHAPES + 'g2sd_vits_depth.py', needs=('g2sd_vits_generic', 'vitb_depth')),
    ),
    rows=(
        Row('cls', 'teacher', 'vitb_cls'),
        Row('cls', 'scratch', 'vits_scratch_cls'),
        Row('cls', 'single_stage', 'vits_single_stage'),
        Row('cls', 'g2sd_nosd', 'g2sd_vits_cls_nosd'),
        Row('cls', 'g2sd', 'g2sd_vits_cls'),
        Row('det', 'teacher', 'vitb_maskrcnn'),
        Row('det', 'g2sd_nosd', 'g2sd_vits_maskrcnn_nosd'),
        Row('det', 'g2sd', 'g2sd_vits_maskrcnn'),
        Row('seg', 'teacher', 'vitb_upernet'),
        Row('seg', 'g2sd_nosd', 'g2sd_vits_upernet_nosd'),
        Row('seg', 'g2sd', 'g2sd_vits_upernet'),
        Row('depth', 'teacher', 'vitb_depth'),
        Row('depth', 'scratch', 'vits_scratch_depth'),
        Row('depth', 'g2sd_nosd', 'g2sd_vits_depth_nosd'),
        Row('depth', 'g2sd', 'g2sd_vits_depth'),
    ),
    on_request=('depth',),  # the demo's time stays what it is
    given=f'{_SHAPES}teachers',
)


_HEADS = {**heads(), 'depth': TASKS['depth'].head}
_FOLDER = 'configs/mini/'
_TEST_DATA = 'configs/shapes_test/'  # larger than what the runs validate on: see cls.py
# A tenth of the labels: 100 epochs of 400 images are 600 updates, of the 1,240 of all labels.
# The teacher is the one of all labels.
_TENTH = {
    'train_dataloader.dataset.every': 10,
    'train_cfg.max_epochs': 100,
    'train_cfg.val_interval': 100,
}


def _steps() -> Iterator[Step]:
    generic = 'g2sd_vits_generic'
    yield Step(_FOLDER + 'vitb_mae.py')
    yield Step(_FOLDER + f'{generic}.py', needs=('vitb_mae',))
    yield Step(_FOLDER + 'vits_mae.py')
    for task, head in _HEADS.items():
        teacher = f'vitb_{head}'
        yield Step(_FOLDER + f'{teacher}.py', needs=('vitb_mae',))
        yield Step(_FOLDER + f'vits_scratch_{head}.py')
        yield Step(_FOLDER + f'vits_mae_{head}.py', needs=('vits_mae',))
        single = single_stage('vits', task)
        yield Step(_FOLDER + f'{single}.py', needs=(teacher,))
        yield Step(_FOLDER + f'g2sd_vits_{head}_nosd.py', needs=(generic,))
        yield Step(_FOLDER + f'g2sd_vits_{head}.py', needs=(generic, teacher))


def _with_a_tenth(step: Step) -> Step:
    return replace(step, options=_TENTH, label=f'{step.name}_labels10')


def _rows() -> Iterator[Row]:
    for task, head in _HEADS.items():
        for method, step in (
            ('teacher', f'vitb_{head}'),
            ('scratch', f'vits_scratch_{head}'),
            ('mae_student', f'vits_mae_{head}'),
            ('single_stage', single_stage('vits', task)),
            ('g2sd_nosd', f'g2sd_vits_{head}_nosd'),
            ('g2sd', f'g2sd_vits_{head}'),
        ):
            yield Row(task, method, step, data=f'{_TEST_DATA}{task}.py')


def _plain(task: str) -> str:
    """The config of plain fine-tuning on a task."""
    return f'{_FOLDER}g2sd_vits_{_HEADS[task]}_nosd.py'


_MAIN = tuple(_rows())
# What pre-training and stage 1 alone are worth, from the mean of the patches, at the size that all
# see. Three quarters of what a masked network learned from were hidden: nothing is hidden here.
_FROZEN = tuple(
    Row('cls', method, step, 'probe', 'frozen', f'{_FOLDER}vits_scratch_cls.py', 'knn_top1',
        probe=('--probes', 'knn', 'linear', '--token', 'mean', '--size', '56'))
    for method, step in (
        ('teacher', 'vitb_mae'), ('mae_student', 'vits_mae'), ('g2sd', 'g2sd_vits_generic'))
)  # fmt: skip
_BASELINES = tuple(
    replace(row, data=f'{_TEST_DATA}{row.task}.py') for row in baselines.rows(('deit_mae',))
)
# classification is the task whose labels are dealt out by images
_FEW = tuple(row for row in _MAIN if row.task == 'cls' and row.method != 'teacher')
_FEW_STEPS = {row.step for row in _FEW}

MINI = Suite(
    name='mini',
    steps=(
        *_steps(),
        *(_with_a_tenth(step) for step in _steps() if step.name in _FEW_STEPS),
        *baselines.steps(_FOLDER, _plain, ('deit_mae',)),
    ),
    rows=(
        *_MAIN,
        *(
            replace(row, step=f'{row.step}_labels10', table='labels', setting='10 %')
            for row in _FEW
        ),
        *_BASELINES,
        *_FROZEN,
    ),
    seeds=(0, 1, 2),
    on_request=('depth',),
    tables_on_request=(BASELINES, 'probe'),
    record='docs/results/mini',
    recipe=(
        'In this suite all students of classification predict from the mean of their patches, none '
        'has a dist token, their teacher learns plain labels, and stage 2 is NKD, with the labels '
        "in its loss, and a regression of the teacher's last tokens, which is not in the paper: "
        'docs/results/mini/README.md says why, and what seed 0 had to do with the choice.'
    ),
    tested=(
        'Tested on 10,000 generated images (classification) and 1,000 generated scenes (detection, '
        'segmentation, depth), configs/shapes_test. No run was trained on them; along the way runs '
        'validate on the first 1,000 and 200 of them, and the last weights count, not the best.'
    ),
)


SUITES = {suite.name: suite for suite in (DEMO, MINI, PAPER)}
