"""The one door through which a module is filled from a file.

What a file may be to a module is a role of :data:`ROLES`. Whatever the role, every name is
accounted for, and what depends on the images (positions, channels) is fitted to the module.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.logging import print_log
from torch import Tensor, nn

from ..compat.safe_load import CheckpointError
from ..text import first_line
from .convert import in_published_names, state_for, with_our_names
from .identify import TRAINED, Kind, describe, identify, raw_pixels
from .load import Fit, compare, is_outline, load_verified
from .positions import check_positions, trained_part
from .read import Weights, below, read_weights
from .timm_file import left_out, timm_state

State = Mapping[str, Tensor]
_PROJECTION = 'patch_embed.proj.weight'
# Where an encoder may lie, the more particular first: inside a distilled detector, segmentor or
# classifier of ours, a stage-1 or MAE run, a detectron2 detector, any mm model, or bare.
_PREFIXES = ('student.backbone.', 'student.', 'autoencoder.', 'backbone.net.', 'backbone.', '')
_PARTS = (
    'cls_token', 'pos_embed', 'dist_token', 'patch_embed.', 'blocks.', 'norm.', 'fc_norm.',
    'rel_pos_bias.',
)  # fmt: skip
_ADAPTERS = 'distillation.adapters.'


@dataclass(frozen=True)
class Role:
    """What a file may be to a module.

    Attributes:
        purpose: what the module is for, in messages; ``{type}`` is its class and ``{name}`` what
            the caller calls it, in ``advice`` too.
        state: a file's tensors under the names that the module has.
        advice: what the reader should do instead if the file does not fit.
        may_miss: patterns of the module's names that the file need not have.
        may_ignore: patterns of the file's names that the module has no use for.
        warning: what to say of a file that fits; empty for nothing.
    """

    purpose: str
    state: Callable[[Weights, nn.Module], State]
    advice: str | Callable[[Weights], str]
    may_miss: tuple[str, ...] | Callable[[Any], tuple[str, ...]] = ()
    may_ignore: tuple[str, ...] | Callable[[Any, State], tuple[str, ...]] = ('data_preprocessor.*',)
    warning: Callable[[Weights], str] = lambda _: ''


def fill(
    module: Any, path: str | Path, role: str, name: str = '', *, untrained: bool = False
) -> Fit:
    """Fill a module from a file, in one of the :data:`ROLES`.

    Args:
        module: gets the tensors; on the meta device it is only compared.
        path: a weights file of any known layout.
        role: a name of :data:`ROLES`.
        name: what the module is called in messages: its config, its file.
        untrained: admit weights that are all zero, as some layers start.

    Returns:
        what was loaded and what stays random.

    Raises:
        CheckpointError: if anything else is missing, unknown or of another size, or the position
            embedding is transposed; the message says what the file is and what to do.
    """
    entry = ROLES[role]
    called = dict(type=type(module).__name__, name=name)
    purpose = entry.purpose.format(**called)
    weights = read_weights(path, mmap=True)
    state = entry.state(weights, module)
    check_positions(weights, state.get('pos_embed'))
    if hasattr(module, 'fit_state'):
        state = _fitted(module, state, weights, purpose)
    miss, ignore, advice = entry.may_miss, entry.may_ignore, entry.advice
    fit = load_verified(
        module,
        state,
        weights,
        purpose=purpose,
        may_miss=miss(module) if callable(miss) else miss,
        may_ignore=ignore(module, state) if callable(ignore) else ignore,
        advice=(advice(weights) if callable(advice) else advice).format(**called),
        untrained=untrained,
    )
    if not is_outline(module) and (warning := entry.warning(weights)):
        print_log(warning, logger='current', level=logging.WARNING)
    return fit


def fill_start(model: nn.Module, path: str | Path) -> Fit:
    """Fill the network that a run trains from any file of its kind and size (``load_from``).

    Args:
        model: a distiller, whose student is filled, and from a run of stage 1 its adapters too; an
            MAE pre-training model; or a task model.
        path: for an autoencoder an encoder suffices, for a network of timm a file of timm; a task
            model needs all of its weights.

    Raises:
        CheckpointError: see :func:`fill`.
    """
    part = trained_part(model)
    if getattr(part, 'starts_from_timm', False):
        name = f'{type(part).__name__} {part.model}'
        fit = fill(part.network, path, 'network of timm', name)
    elif hasattr(part, 'has_decoder'):
        fit = fill(part, path, 'start of an autoencoder')
    else:
        return fill(part, path, 'start')
    _fill_adapters(model, read_weights(path, mmap=True))
    return fit


def _fill_adapters(model: nn.Module, weights: Weights) -> None:
    """Also fill a distiller's adapters, if the file is of a stage-1 run that has all of them.

    A run that goes on where another ended (on other images, at another resolution) needs them: with
    random ones its student would first unlearn.
    """
    own = {n: t for n, t in model.state_dict().items() if n.startswith(_ADAPTERS)}
    if not own or identify(weights.state) not in (Kind.STAGE1_RUN, Kind.FEATURE_RUN):
        return
    theirs = {n: t for n, t in with_our_names(weights.state).items() if n.startswith(_ADAPTERS)}
    problems = compare(own, theirs, may_ignore=('*',)).problems()
    if not is_outline(model):
        said = f'stay random: {problems}' if problems else f'are those of {weights.name}'
        print_log(f'the adapters of the distillation {said}', logger='current')
        if not problems:
            model.load_state_dict({name: theirs[name] for name in own}, strict=False)


def encoder_state(weights: Weights) -> dict[str, Tensor]:
    """The encoder's tensors of a file: class, position and dist tokens, patches, blocks, norms.

    Raises:
        CheckpointError: if the file has no ViT encoder under names that are known.
    """
    published = in_published_names(weights)
    for prefix in _PREFIXES:
        state = below(published, prefix)
        if _PROJECTION in state:
            return {name: tensor for name, tensor in state.items() if name.startswith(_PARTS)}
    raise CheckpointError(
        f'{weights.name} has no ViT encoder (no {_PROJECTION}): it is {describe(weights.state)}'
    )


def _autoencoder_state(weights: Weights, _: nn.Module) -> State:
    """A full autoencoder's tensors: bare, inside a run of this project, or another library's."""
    return below(weights.state, 'autoencoder.') or in_published_names(weights)


def _teacher_state(weights: Weights, module: Any) -> State:
    """Those of a full autoencoder, or of any encoder for a teacher without a decoder."""
    return _autoencoder_state(weights, module) if module.has_decoder else encoder_state(weights)


def _not_run(module: Any, _: State) -> tuple[str, ...]:
    """Blocks and a head that a teacher does not have, because nothing behind them is asked for."""
    if module.has_decoder:
        return ('decoder_blocks.*', 'decoder_norm.*', 'decoder_pred.*')
    return ('blocks.*', 'fc_norm.*')


def _start_state(weights: Weights, _: nn.Module) -> State:
    """An autoencoder's or encoder's tensors, of a run or bare, under published names."""
    kind = identify(weights.state)
    if kind in (Kind.STAGE1_RUN, Kind.MAE_RUN):
        return below(weights.state, TRAINED[kind])
    return in_published_names(weights)


def _needless(part: Any, _: State) -> tuple[str, ...]:
    """What an autoencoder, or a student without a decoder, has no use for."""
    pixels = ('decoder_norm.*', 'decoder_pred.*', '*feature_pred.*')
    return pixels if part.has_decoder else ('decoder_*', 'mask_token', *pixels)


def _task_state(weights: Weights, module: nn.Module) -> State:
    return state_for(weights, module.state_dict())


def _other_parts(module: nn.Module, state: State) -> tuple[str, ...]:
    """Parts of a whole task model that a teacher of which only some are run does not have."""
    has = {name for name, _ in module.named_children()} | {'backbone'}
    return tuple(f'{part}.*' for part in {name.split('.')[0] for name in state} - has)


def _left_out(model: nn.Module) -> tuple[str, ...]:
    """What a detector of boxes alone does not take from one that has masks too."""
    roi_head = getattr(model, 'roi_head', None)
    without = roi_head is not None and getattr(roi_head, 'mask_head', None) is None
    return ('roi_head.mask_head.*',) if without else ()


def _teacher_advice(weights: Weights) -> str:
    right = (
        'A stage-1 teacher needs the decoder too: use the full checkpoint (publicly '
        'mae_pretrain_vit_base_full.pth or mae_pretrain_vit_large_full.pth), or pre-train one with '
        'configs/imagenet/vitb_mae.py.'
    )
    kind = identify(weights.state)
    if any(name.endswith('dist_token') for name in weights.state):
        return 'All of its tokens see the dist token: use type=EncoderTeacher, which has it.'
    if kind in (Kind.MAE_FULL, Kind.MAE_RUN):
        return 'Give a file of the arch and decoder in the config, or change distillation.teacher.'
    if kind in (Kind.STAGE1_RUN, Kind.G2SD_STUDENT):
        return f'This is a student, not a teacher. {right}'
    return right


def _warn_of_raw_pixels(weights: Weights) -> str:
    if not raw_pixels(weights):
        return ''
    return (
        f'{weights.name} was trained on raw pixels (a file for visualisation); the published '
        'results distil from one trained on normalised pixels (mae_pretrain_vit_base_full.pth)'
    )


#: What a file may be to a module.
ROLES: dict[str, Role] = {
    # of a backbone, which says what pre-training has not and what it has no use for
    'encoder': Role(
        'initialisation of {type}',
        lambda weights, _: encoder_state(weights),
        'Give the file of a model of the same arch, or change arch in the config.',
        may_miss=lambda backbone: backbone.may_miss,
        may_ignore=lambda backbone, _: backbone.may_ignore,
    ),
    # without blocks and a head that it does not have
    'stage-1 teacher': Role(
        'stage-1 teacher',
        _teacher_state,
        _teacher_advice,
        may_ignore=_not_run,
        warning=_warn_of_raw_pixels,
    ),
    'teacher that draws': Role(
        'teacher that draws pixels',
        _autoencoder_state,
        'Give a full masked autoencoder: encoder, decoder and pixel head.',
        may_ignore=(),
    ),
    'stage-1 run': Role(
        'stage-1 student',
        lambda weights, _: with_our_names(weights.state),
        'Give the checkpoint of a stage-1 run (epoch_N.pth): weights.pth has no decoder.',
    ),
    # an encoder suffices
    'start of an autoencoder': Role(
        'start of an autoencoder',
        _start_state,
        'Give a masked autoencoder or encoder of the arch in the config.',
        may_miss=('mask_token', 'decoder_*'),
        may_ignore=_needless,
    ),
    # of a student of stage 1, or in a backbone
    'network of timm': Role(
        'start of {name}',
        timm_state,
        'Give weights of this network, or the name and options of the network that the file is of.',
        may_ignore=lambda network, _: left_out(network),
    ),
    'start': Role(
        'start of {type}',
        _task_state,
        'load_from needs a whole model of this config; an encoder belongs in '
        '--cfg-options model.backbone.init_cfg.checkpoint=FILE.',
        may_ignore=lambda model, _: ('data_preprocessor.*', *_left_out(model)),
    ),
    'student': Role(
        'weights of {name}',
        _task_state,
        'Give the config that the file was trained with, or that of its kind and size.',
    ),
    # of a student: modules that start as the teacher's
    'inherited': Role(
        "the teacher's {name}",
        _task_state,
        'distillation.inherit can only name modules that teacher and student have alike.',
        may_ignore=('*',),
    ),
    'task teacher': Role(
        'teacher {name}',
        _task_state,
        'Give a checkpoint that {name} was trained to.',
        may_ignore=_other_parts,
    ),
}


def _fitted(network: Any, state: State, weights: Weights, purpose: str) -> State:
    """``state`` as ``network.fit_state`` makes it; the log says if other channels were adapted."""
    try:
        done = network.fit_state(state, weights.grid)
    except ValueError as error:
        raise CheckpointError(
            f'{weights.name} does not fit these images: {error}; it is {describe(weights.state)}'
        ) from error
    except (RuntimeError, IndexError) as error:
        raise CheckpointError(
            f'{weights.name} cannot serve as {purpose}: it is {describe(weights.state)}; '
            f'{first_line(error)}'
        ) from error
    before, after = (part.get(_PROJECTION) for part in (state, done))
    if before is not None and after is not None and not is_outline(network):
        old, new = before.shape[1:2], after.shape[1:2]
        if old != new:
            print_log(
                f'{weights.name} was trained on images of {old[0]} channels: the kernels of its '
                f'first layer were adapted to {new[0]}',
                logger='current',
            )
    return done
