"""What a weights file can be used for here, and with which command."""

from __future__ import annotations

import shlex

from .facts import Facts
from .identify import Kind
from .layouts import Family

# Parts of config names by the width of the encoder.
_STUDENTS = {192: 'vitt', 384: 'vits'}
_TEACHERS = {768: 'vitb'}
_TRAIN = 'python tools/train.py {config} --cfg-options '
_TEACH = _TRAIN + 'distillation.teacher.checkpoint={file}'
_TEST = 'python tools/test.py {config} {file}'
_START = _TRAIN + 'model.backbone.init_cfg.checkpoint={file}'
_CONVERT = 'python tools/checkpoint.py convert {file} OUT.pth --to ours'
_EXTRACT = 'python tools/checkpoint.py extract {file} --student'

#: One use: what for, the command, and the config for a student and for a teacher of known size
#: (None where that size has no such use).
Use = tuple[str, str, str | None, str | None]
_STAGE1_TEACHER: Use = (
    'teacher of stage 1',
    _TEACH,
    None,
    'configs/imagenet/g2sd_vits_generic.py',
)
_STAGE2_START: Use = (
    'start of stage 2',
    _START,
    'configs/imagenet/g2sd_{size}_cls.py',
    None,
)
_PLAIN_START: Use = (
    'start of plain fine-tuning',
    _START,
    'configs/imagenet/{size}_mae_cls.py',
    'configs/imagenet/{size}_cls.py',
)
_CLS_TEACHER: Use = ('teacher of stage 2', _TEACH, None, 'configs/imagenet/g2sd_vits_cls.py')
_CLS_TEST: Use = (
    'evaluation',
    _TEST,
    'configs/imagenet/{size}_mae_cls.py',
    'configs/imagenet/{size}_cls.py',
)
_DEPLOYED: Use = ('evaluation', _TEST, 'configs/imagenet/{size}_deploy.py', None)
_DETECTOR: tuple[Use, ...] = (
    ('teacher of stage 2', _TEACH, None, 'configs/coco/g2sd_vits_maskrcnn.py'),
    (
        'evaluation',
        _TEST,
        'configs/coco/g2sd_{size}_maskrcnn_nosd.py',
        'configs/coco/{size}_maskrcnn.py',
    ),
)
_SEGMENTOR: tuple[Use, ...] = (
    ('teacher of stage 2', _TEACH, None, 'configs/ade20k/g2sd_vits_upernet.py'),
    (
        'evaluation',
        _TEST,
        'configs/ade20k/g2sd_{size}_upernet_nosd.py',
        'configs/ade20k/{size}_upernet.py',
    ),
)
#: Of a network of one of the mm libraries: CONFIG is the one that it was trained with.
_STOCK: tuple[Use, ...] = (
    (
        'teacher of stage 2',
        _TRAIN + 'distillation.teacher.config=TEACHER_CONFIG '
        'distillation.teacher.checkpoint={file}',
        'CONFIG',
        'CONFIG',
    ),
    ('evaluation', _TEST, 'CONFIG', 'CONFIG'),
)
_CONVERT_IT: Use = ('a file with the names of this project', _CONVERT, '', '')
_STUDENT_ONLY: Use = ('the student alone', _EXTRACT, '', '')

#: Classes of the data that the configs of a folder are made for.
_CLASSES = {'imagenet': 1000, 'coco': 80, 'ade20k': 150}
#: What the encoders that configs name look like, beside their width.
_PLAIN = dict(depth=12, patch=16)

_USES: dict[Kind, tuple[Use, ...]] = {
    Kind.MAE_FULL: (_STAGE1_TEACHER, _PLAIN_START),
    Kind.MAE_RUN: (_STAGE1_TEACHER, _PLAIN_START),
    Kind.MAE_ENCODER: (_STAGE2_START, _PLAIN_START),
    Kind.STAGE1_RUN: (_STAGE2_START, _STUDENT_ONLY),
    Kind.FEATURE_RUN: (_STUDENT_ONLY,),
    Kind.G2SD_STUDENT: (_STAGE2_START,),
    Kind.STAGE2_RUN: (_STUDENT_ONLY,),
    Kind.MAE_FINETUNED: (_CLS_TEACHER, _CLS_TEST),
    Kind.G2SD_CLASSIFIER: (_DEPLOYED,),
    Kind.TIMM_DISTILLED: (_DEPLOYED,),
    Kind.TIMM_CLASSIFIER: (_PLAIN_START,),
    Kind.DETECTRON2: _DETECTOR,
    Kind.MM_DETECTOR: _DETECTOR,
    Kind.PUBLISHED_SEGMENTOR: _SEGMENTOR,
    Kind.MM_SEGMENTOR: _SEGMENTOR,
    Kind.SEG_DISTILLER: _SEGMENTOR[1:],
    Kind.MMPRETRAIN_MAE: (_STAGE1_TEACHER, _PLAIN_START, _CONVERT_IT),
    Kind.MMPRETRAIN_CLASSIFIER: (_PLAIN_START, _CONVERT_IT),
    Kind.MMSEG_MAE: (*_SEGMENTOR, _CONVERT_IT),
    Kind.HUGGING_FACE: (_PLAIN_START, _CONVERT_IT),
    Kind.HUGGING_FACE_MAE: (_STAGE1_TEACHER, _PLAIN_START, _CONVERT_IT),
    Kind.HUGGING_FACE_DEIT: (_DEPLOYED, _CONVERT_IT),
    Kind.OTHER_ENCODER: (),
    Kind.UNKNOWN: (),
}


def uses_of(facts: Facts, file: str) -> list[tuple[str, str]]:
    """Pairs of a purpose and the command for it, best first; empty if there is no use.

    A command is offered only for a file that its config takes: of a network that is known, whole,
    and of the config's size; with CONFIG in the place of a config where none has that size.
    """
    if facts.broken:
        return []
    width = facts.size.get('width', 0)
    size = _STUDENTS.get(width) or _TEACHERS.get(width)
    if any(facts.size.get(name, value) != value for name, value in _PLAIN.items()):
        size = None
    found = []
    for purpose, command, student, teacher in _uses(facts):
        if purpose == _STAGE1_TEACHER[0] and 'decoder width' not in facts.size:
            continue
        if facts.family is None and not facts.stock and command is not _EXTRACT:
            continue
        config = teacher if width in _TEACHERS else student
        if size is None or not _has_its_classes(config or '', purpose, facts):
            config = student if student is not None else teacher
            config = config and 'CONFIG'
        if config is not None:
            config = config.format(size=size)
            found.append((purpose, command.format(config=config, file=shlex.quote(file))))
    return found


def _has_its_classes(config: str, purpose: str, facts: Facts) -> bool:
    """Whether the head is that of the config, where the use is one of the whole network."""
    expected = _CLASSES.get(config.split('/')[1]) if '/' in config else None
    if expected is None or purpose.startswith('start') or 'classes' not in facts.size:
        return True
    return facts.size['classes'] == expected


def _uses(facts: Facts) -> tuple[Use, ...]:
    if facts.stock:
        student = (_STUDENT_ONLY,) if facts.kind is Kind.STAGE2_RUN else ()
        return (*_STOCK, *student)
    if facts.kind is Kind.MM_CLASSIFIER:
        return (_DEPLOYED,) if facts.family is Family.DISTILLED else (_CLS_TEACHER, _CLS_TEST)
    return _USES[facts.kind]
