"""``configs/imagenet`` at toy size: the files that people train with, shrunk by options alone.

Students and teachers become the demo's; images 32 px; data an ImageFolder of three classes.
"""

from __future__ import annotations

from typing import Any

from .toys import CLASSES, IMAGE, ROOT

FOLDER = ROOT / 'configs' / 'imagenet'
STUDENT_DIM, TEACHER_DIM = 64, 128

_EVAL_PIPELINE = {
    f'{loader}_dataloader.{key}': value
    for loader in ('val', 'test')
    for key, value in {
        'batch_size': 5,
        'num_workers': 0,
        'dataset.pipeline.1.scale': 36,
        'dataset.pipeline.2.crop_size': IMAGE,
    }.items()
}
_RUN = {
    'train_dataloader.batch_size': 6,
    'train_dataloader.num_workers': 0,
    'train_dataloader.dataset.dataset.pipeline.0.scale': IMAGE,
    'train_cfg.max_epochs': 2,
    'param_scheduler.0.warmup': 1,
    'default_hooks.checkpoint.interval': 1,
    'default_hooks.logger.interval': 1,
    'log_level': 'WARNING',
}


def path(name: str) -> str:
    """Path of a config by its name."""
    return str(FOLDER / f'{name}.py')


def mae(**changes: Any) -> dict[str, Any]:
    """Pre-training of the teacher (``vitb_mae``)."""
    return {
        **_RUN,
        'model.arch': 'demo-teacher',
        'model.decoder': 'dec64d2b',
        'model.img_size': IMAGE,
        'optim_wrapper.accumulative_counts': 1,
        'param_scheduler.0.accumulation': 1,
        **changes,
    }


def stage1(teacher: str | None, **changes: Any) -> dict[str, Any]:
    """Generic distillation (``g2sd_vits_generic``)."""
    return {
        **_RUN,
        'model.arch': 'demo-student',
        'model.decoder': 'dec32d2b',
        'model.img_size': IMAGE,
        'distillation.teacher.arch': 'demo-teacher',
        'distillation.teacher.decoder': 'dec64d2b',
        'distillation.teacher.img_size': IMAGE,
        'distillation.teacher.checkpoint': teacher,
        'distillation.teacher.until': 'decoder_blocks.1',
        'distillation.adapters.tokens.in_channels': 32,
        'distillation.adapters.tokens.out_channels': 64,
        'optim_wrapper.accumulative_counts': 1,
        'param_scheduler.0.accumulation': 1,
        **changes,
    }


def plain(arch: str = 'demo-teacher', **changes: Any) -> dict[str, Any]:
    """Plain fine-tuning (``vitb_cls``, ``*_nosd``, ``*_scratch_cls``)."""
    return {
        **_RUN,
        **_EVAL_PIPELINE,
        'num_classes': CLASSES,
        'train_cfg.val_interval': 1,
        'model.backbone.arch': arch,
        'model.backbone.img_size': IMAGE,
        'model.head.in_channels': TEACHER_DIM if arch == 'demo-teacher' else STUDENT_DIM,
        **changes,
    }


def stage2(teacher: str | None, **changes: Any) -> dict[str, Any]:
    """Specific distillation (``g2sd_vits_cls``, ``*_single_stage``)."""
    overrides = {
        'model.backbone.arch': 'demo-teacher',
        'model.backbone.img_size': IMAGE,
        'model.head.in_channels': TEACHER_DIM,
    }
    return {
        **plain('demo-student'),
        # a worker, so that reading does not seed the generators that the step draws from
        'train_dataloader.num_workers': 1,
        'distillation.teacher.checkpoint': teacher,
        'distillation.teacher.overrides': overrides,
        **changes,
    }


def deploy() -> dict[str, Any]:
    """The plain student (``vits_deploy``)."""
    evaluation = {k: v for k, v in _EVAL_PIPELINE.items() if k.startswith('test')}
    return {
        **evaluation,
        'log_level': 'WARNING',
        'num_classes': CLASSES,
        'model.backbone.arch': 'demo-student',
        'model.backbone.img_size': IMAGE,
        'model.head.in_channels': STUDENT_DIM,
    }
