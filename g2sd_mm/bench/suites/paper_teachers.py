"""Table ``teachers`` of the paper suite: stage 1 from foundation models, all else as in the paper.

Each of them teaches both students; these are fine-tuned plainly on ImageNet, and distilled on all
three tasks by the teachers that the main rows have. What differs is stage 1 alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from .suites import Row, Step, folder_of, heads

TABLE = 'teachers'
#: Endings of the stage-1 configs, which name the teachers.
TEACHERS = ('dinov2', 'dinov3', 'siglip2')
_STUDENTS = ('vits', 'vitt')
_FULL_PRECISION = 'det'  # as the main rows of that task
_MAE = 'mae (default)'


def teacher_steps() -> Iterator[Step]:
    """Stage 1 from each teacher, whose weights timm fetches, and what is trained from it."""
    for teacher, student in product(TEACHERS, _STUDENTS):
        generic = f'g2sd_{student}_generic_{teacher}'
        yield Step(
            f'configs/imagenet/{generic}.py',
            options={'distillation.teacher.pretrained': True},
            amp=True,
        )
        yield Step(
            f'configs/imagenet/g2sd_{student}_cls_nosd.py',
            needs=(generic,),
            options={'model.backbone.init_cfg.checkpoint': f'work_dirs/{generic}/weights.pth'},
            label=f'g2sd_{student}_{teacher}_cls_nosd',
            amp=True,
        )
        for task, head in heads().items():
            yield Step(
                f'configs/{folder_of(task)}/g2sd_{student}_{head}_{teacher}.py',
                needs=(generic, f'vitb_{head}'),
                amp=task != _FULL_PRECISION,
            )


def teacher_rows() -> Iterator[Row]:
    """The main rows of stage 1 from MAE, then the same from each teacher."""
    for student in _STUDENTS:
        for teacher in ('', *TEACHERS):
            setting, plain = teacher or _MAE, f'_{teacher}' * bool(teacher)
            step = f'g2sd_{student}{plain}_cls_nosd'
            yield Row('cls', 'g2sd_nosd', step, table=TABLE, setting=setting)
            for task, head in heads().items():
                name = f'g2sd_{student}_{head}{plain}'
                yield Row(task, 'g2sd', name, table=TABLE, setting=setting)
