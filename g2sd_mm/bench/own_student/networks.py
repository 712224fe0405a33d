"""The runs of the mini suite with other networks than its own."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from ...models.sizes import ENCODERS, EncoderSize
from ...tasks import TASKS
from ..suites.suites import Step, Suite
from .given import PATCH, Networks

PRE_TRAINING, STAGE_1, FROM_ENCODER = 'vitb_mae', 'g2sd_vits_generic', 'vitb_generic'
_DECODERS = (32, 64, 96, 128, 192, 256, 512)  # widths that decoders have a name for


def use_networks(suite: Suite, networks: Networks, task: str) -> Suite:
    """The mini suite's steps of one task with these networks."""
    suite = _with_better_start(suite, networks, task)
    if networks.usual:
        return suite
    head = TASKS[task].head
    teacher = f'vitb_{head}'
    of_teacher = _task_options(task, networks.teacher)
    steps: list[Step] = []
    for step in suite.steps:
        if step.name == PRE_TRAINING:
            steps += _pre_training(step, networks)
        elif step.name == STAGE_1:
            steps.append(_stage_1(step, networks))
        elif step.name == teacher:
            steps.append(_fine_tuned(step, networks, of_teacher))
        elif step.name.startswith('g2sd_vits_') and step.name.endswith(
            (f'_{head}', f'_{head}_nosd')
        ):
            steps.append(_stage_2(step, networks, task, of_teacher))
        else:
            steps.append(step)
    rows = tuple(
        row if row.method == 'teacher' else replace(row, network=networks.student)
        for row in suite.rows
    )
    return replace(suite, steps=tuple(steps), rows=rows)


def _with_better_start(suite: Suite, networks: Networks, task: str) -> Suite:
    """Stage 2 from a slice of the teacher, and with its head, where the networks allow it.

    A slice needs two ViTs that are equally deep, with heads equally wide; a head that starts as the
    teacher's one that is built alike, which that of a given file may not be.
    """
    if networks.arch is None:
        return suite
    head, given = TASKS[task].head, networks.kind == 'task'
    sliced, inherited = networks.sliceable, task != 'cls' and not given
    if not sliced and not inherited:
        return suite
    options: dict[str, Any] = {}
    if not sliced:
        start = f'work_dirs/{STAGE_1}/weights.pth'
        options = {
            'distillation.sliced': None,
            'model.backbone.init_cfg': {
                '_delete_': True, 'type': 'Pretrained', 'checkpoint': start,
            },
        }
    elif given and task == 'cls':
        options = {'distillation.sliced.linear': []}
    elif given:
        options = {'distillation.sliced': dict(images=64), 'model.backbone.init_cfg': None}
    name = f'g2sd_vits_{head}'
    plus = task == 'cls' or inherited
    changes: dict[str, Any] = {
        **(dict(config=f'configs/mini/g2sd_plus_vits_{head}.py', label=name) if plus else {}),
        **(dict(needs=(f'vitb_{head}',)) if sliced else {}),
    }
    return suite.with_steps(
        lambda step: _with(step, options, **changes) if step.name == name else step
    )


def _with(step: Step, options: Mapping[str, Any], **changes: Any) -> Step:
    return replace(step, options={**step.options, **copy.deepcopy(dict(options))}, **changes)


def _pre_training(step: Step, networks: Networks) -> Iterator[Step]:
    arch = {'model.arch': _arch(networks.teacher)}
    if networks.kind == 'autoencoder':
        origin = 'the --teacher that was given'
        yield _with(step, {**arch, 'model.decoder': _decoder(*networks.decoder)},
                    file=networks.file, origin=origin)  # fmt: skip
    elif networks.kind == 'encoder':
        yield replace(
            _from_encoder(step, networks, {**arch, 'model.decoder': 'dec64d2b'}, 64),
            label=FROM_ENCODER,
        )
    elif not networks.kind:
        yield _with(step, arch)


def _from_encoder(
    step: Step, networks: Networks, options: Mapping[str, Any], decoder: int
) -> Step:
    """Stage 1 of one of our ViTs from an encoder that sees whole images."""
    return Step(
        'configs/mini/g2sd_vits_generic_dinov2.py', label=step.name,
        options={
            **step.options, **options, 'distillation.teacher': _entry(networks),
            'distillation.adapters.tokens.in_channels': decoder,
            'distillation.adapters.tokens.out_channels': networks.width,
        },
    )  # fmt: skip


def _entry(networks: Networks) -> dict[str, Any]:
    """``distillation.teacher`` of a teacher of features."""
    if networks.kind == 'encoder':
        return {'_delete_': True, **networks.entry}
    file = networks.file if networks.kind == 'task' else f'work_dirs/{PRE_TRAINING}/weights.pth'
    return {
        '_delete_': True, 'type': 'EncoderTeacher', 'arch': dict(vars(networks.teacher)),
        'img_size': 7 * PATCH, 'checkpoint': file,
    }  # fmt: skip


def _stage_1(step: Step, networks: Networks) -> Step:
    needs = (PRE_TRAINING,) if networks.kind in ('', 'autoencoder') else ()
    if networks.arch is None:
        return Step(
            'configs/shapes/g2sd_convnext_generic.py', needs, label=step.name,
            options={
                **step.options,
                'model': {'_delete_': True, 'type': 'FeatureStudent', 'model': networks.student},
                'distillation.teacher': _entry(networks),
                'distillation.adapters.patches.in_channels': networks.widths[-1],
                'distillation.adapters.patches.out_channels':
                    networks.width or networks.teacher.embed_dim,
                'train_cfg.max_epochs': 60,  # as the mini suite's
            },
        )  # fmt: skip
    own = _decoder_width(networks.arch)
    options = {'model.arch': _arch(networks.arch), 'model.decoder': _decoder(own, 2)}
    if needs:
        width, depth = networks.decoder
        return _with(step, {
            **options,
            'distillation.teacher.arch': _arch(networks.teacher),
            'distillation.teacher.decoder': _decoder(width, depth),
            # the first half of the decoder, as in the paper
            'distillation.teacher.until': f'decoder_blocks.{max(depth // 2 - 1, 0)}',
            'distillation.adapters.tokens.in_channels': own,
            'distillation.adapters.tokens.out_channels': width,
        })  # fmt: skip
    return _from_encoder(step, networks, options, own)


def _fine_tuned(step: Step, networks: Networks, sized: Mapping[str, Any]) -> Step:
    if networks.kind == 'task':
        origin = 'the --teacher that was given'
        return _with(step, sized, file=networks.file, origin=origin, needs=())
    if networks.kind == 'encoder':
        start = {'model.backbone.init_cfg.checkpoint': f'work_dirs/{FROM_ENCODER}/weights.pth'}
        return _with(step, {**sized, **start}, needs=(FROM_ENCODER,))
    return _with(step, sized)


def _stage_2(
    step: Step, networks: Networks, task: str, of_teacher: Mapping[str, Any]
) -> Step:
    """The student's fine-tuning, with its teacher and without."""
    distilled = not step.name.endswith('_nosd')
    options = dict(_timm_options(task, networks) if networks.arch is None
                   else _task_options(task, networks.arch))  # fmt: skip
    if distilled:
        options['distillation.teacher.overrides'] = dict(of_teacher)
        tokens = task in ('cls', 'depth')  # other tasks compare maps of the heads' own width
        if tokens and networks.arch is None:
            options |= {
                'distillation.taps': {'_delete_': True, 'logits': 'head.fc'},
                'distillation.adapters': {'_delete_': True},
                'distillation.losses.loss_tokens': None,
            }
        elif tokens and networks.arch is not None:
            options |= {
                'distillation.taps.tokens': 'backbone.blocks.-1',
                'distillation.adapters.tokens.in_channels': networks.arch.embed_dim,
                'distillation.adapters.tokens.out_channels': networks.teacher.embed_dim,
            }
    return _with(step, options)


def _task_options(task: str, size: EncoderSize) -> dict[str, Any]:
    """What differs in a task's config for a ViT of another size."""
    width, depth = size.embed_dim, size.depth
    options: dict[str, Any] = {'model.backbone.arch': _arch(size)}
    quarters = tuple(depth * (i + 1) // 4 - 1 for i in range(4))
    if task == 'cls':
        options['model.head.in_channels'] = width
        # small random numbers are for widths of hundreds of channels
        options['model.backbone.init_std'] = 0.02 if width > 128 else 0.1
    elif task == 'det':
        options['model.neck.in_channels'] = width
        options['model.backbone.global_blocks'] = quarters if depth > 4 else (1, 3)
    elif task == 'seg':
        options |= {
            'model.neck.embed_dim': width, 'model.decode_head.in_channels': [width] * 4,
            'model.auxiliary_head.in_channels': width, 'model.backbone.out_indices': quarters,
        }  # fmt: skip
    else:
        options |= {
            'model.decode_head.embed_dims': width, 'model.backbone.out_indices': quarters
        }
    return options


def _timm_options(task: str, networks: Networks) -> dict[str, Any]:
    """What differs in a task's config for a network of timm."""
    widths = list(networks.widths)
    backbone: dict[str, Any] = {
        '_delete_': True, 'type': 'TimmBackbone', 'model': networks.student,
        'init_cfg': dict(type='Pretrained', checkpoint=f'work_dirs/{STAGE_1}/weights.pth'),
    }  # fmt: skip
    if task == 'cls':
        return {
            'model.backbone': backbone, 'model.neck': dict(type='GlobalAveragePooling'),
            'model.head.in_channels': widths[-1],
        }  # fmt: skip
    backbone['out_indices'] = (-4, -3, -2, -1)
    if task == 'det':
        neck = dict(_delete_=True, type='FPN', in_channels=widths, out_channels=64, num_outs=4)
        return {'model.backbone': backbone, 'model.neck': neck}
    return {
        'model.backbone': backbone, 'model.neck': None, 'model.decode_head.in_channels': widths,
        'model.auxiliary_head.in_channels': widths[2], 'model.auxiliary_head.in_index': 2,
    }  # fmt: skip


def _arch(size: EncoderSize) -> str | dict[str, int]:
    """Its name where it has one with such patches, else the size in full, in place of a name."""
    named = (name for name, known in ENCODERS.items() if known == size)
    return next(named, None) or {'_delete_': True, **vars(size)}


def _decoder(width: int, depth: int) -> str:
    return f'dec{width}d{depth}b'


def _decoder_width(size: EncoderSize) -> int:
    """Half of the encoder's or more, of those that have a name."""
    return next((width for width in _DECODERS if 2 * width >= size.embed_dim), _DECODERS[-1])
