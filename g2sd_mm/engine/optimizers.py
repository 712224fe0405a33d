"""Optimizers of transformers: rates that decay by layer, fused kernels, mixed precision."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, OPTIMIZERS
from torch import nn

from ..errors import ConfigError
from .sharding import shard_moments

_NO_DECAY = ('one_dimensional', 'layer_norm')


def layer_decay_scale(rate: float, layer: int, depth: int) -> float:
    """``rate ** (depth + 1 - layer)``: 1 for heads (layer ``depth + 1``), least for patches."""
    return rate ** (depth + 1 - layer)


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class ViTLayerDecayConstructor(DefaultOptimWrapperConstructor):
    """Groups parameters by (learning rate, weight decay) alone: fused AdamW runs few groups.

    Finds every module that numbers its layers (``layer_id`` and ``depth``, as our ViTs and
    :class:`~g2sd_mm.models.backbones.timm.TimmBackbone` have), at any depth: inside a detector, a
    segmentor, a distiller or DDP. What lies outside of them trains at the full rate.

    ``paramwise_cfg`` may have:

    - ``layer_decay_rate``: factor from one layer to the one before it; 1.0 turns it off.
    - ``no_decay``: which parameters have no weight decay. ``one_dimensional``: every vector
      (biases, norms, layer scales). ``layer_norm``: only torch's LayerNorm, as the published
      detection recipe has it (biases, relative positions and the pyramid's channel norms decay).
    - ``no_decay_names``: last parts of parameter names that have no weight decay either, e.g.
      ``('pos_embed', 'cls_token')``.

    - ``custom_keys``: part of a parameter's name -> ``dict(lr_mult=..., decay_mult=...)``, as
      mmengine's constructor has it: of several parts in a name, the longest counts. ``lr_mult``
      multiplies the rate that the layer has; 0 freezes. ``decay_mult`` replaces what ``no_decay``
      says of the parameter.

    Frozen parameters are in no group. Other settings of mmengine's own constructor are refused, not
    silently ignored.
    """

    def __call__(self, model: nn.Module) -> object:
        """Build the optimizer wrapper for ``model``."""
        wrapped, model = model, getattr(model, 'module', model)  # DDP's names start with "module."
        cfg = self.optimizer_cfg.copy()
        cfg['params'] = self.parameter_groups(model, cfg['lr'], cfg.get('weight_decay', 0.0))
        if wrapped is model:  # DDP has made its plans: it wants the gradients that nobody uses
            for _, parameter in self._frozen(model):
                parameter.requires_grad_(False)
        wrapper = dict(self.optim_wrapper_cfg)
        wrapper.setdefault('type', 'OptimWrapper')
        optimizer = shard_moments(OPTIMIZERS.build(with_fused_kernel(cfg)))
        return OPTIM_WRAPPERS.build(wrapper, default_args=dict(optimizer=optimizer))

    def parameter_groups(self, model: nn.Module, lr: float, weight_decay: float) -> list[dict]:
        """Groups with ``params``, ``lr``, ``weight_decay``, ``lr_scale`` and ``param_names``.

        Raises:
            ConfigError: for unknown settings, a part of names that no parameter has, or if there is
                no layers to decay.
        """
        options = dict(self.paramwise_cfg)
        rate = options.pop('layer_decay_rate', 1.0)
        no_decay = options.pop('no_decay', 'one_dimensional')
        names: Sequence[str] = options.pop('no_decay_names', ())
        custom = _custom_keys(options.pop('custom_keys', None) or {}, model)
        if options or no_decay not in _NO_DECAY:
            raise ConfigError(
                f'optim_wrapper.paramwise_cfg: ViTLayerDecayConstructor knows layer_decay_rate, '
                f'no_decay ({" or ".join(_NO_DECAY)}), no_decay_names and custom_keys; got '
                f'{dict(self.paramwise_cfg)}'
            )
        backbones = {n: m for n, m in model.named_modules() if hasattr(m, 'layer_id')}
        if rate != 1.0 and not backbones:
            raise ConfigError(
                f'layer_decay_rate={rate} needs one of our ViTs or a TimmBackbone in the model; '
                f'{type(model).__name__} has none'
            )
        norms = _layer_norm_parameters(model)
        groups: dict[tuple[float, float], dict] = {}
        for name, parameter in model.named_parameters():
            if not parameter.requires_grad:
                continue
            free = name.rsplit('.', 1)[-1] in names or (
                parameter.ndim == 1 if no_decay == 'one_dimensional' else id(parameter) in norms
            )
            factors = custom.get(_key_of(name, custom), {})
            if factors.get('lr_mult') == 0:
                continue
            scale = _scale(name, backbones, rate) * factors.get('lr_mult', 1.0)
            decay = 0.0 if free else weight_decay
            if 'decay_mult' in factors:
                decay = weight_decay * factors['decay_mult']
            key = (scale, decay)
            group = groups.setdefault(
                key,
                dict(params=[], lr=lr * scale, weight_decay=key[1], lr_scale=scale, param_names=[]),
            )
            group['params'].append(parameter)
            group['param_names'].append(name)
        if not groups:
            raise ConfigError('nothing is left to train: every parameter is frozen')
        return list(groups.values())

    def _frozen(self, model: nn.Module) -> list[tuple[str, nn.Parameter]]:
        """The parameters that ``custom_keys`` gives a rate of 0."""
        custom = self.paramwise_cfg.get('custom_keys') or {}
        return [
            (name, parameter)
            for name, parameter in model.named_parameters()
            if (custom.get(_key_of(name, custom)) or {}).get('lr_mult') == 0
        ]


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class StudentOptimWrapperConstructor:
    """What a library's constructor makes of the plain model, for the student of a distiller.

    The libraries' layer-wise decay knows layers by the names that they have in a plain model. What
    a distiller adds to it (adapters) trains at the optimizer's own rate and decay.

    ``paramwise_cfg`` has ``constructor``, which is the other one's name, and its settings.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: Mapping[str, Any]) -> None:
        settings = dict(paramwise_cfg)
        kind = settings.pop('constructor')
        self.of_plain_model: Any = OPTIM_WRAPPER_CONSTRUCTORS.build(
            dict(type=kind, optim_wrapper_cfg=optim_wrapper_cfg, paramwise_cfg=settings)
        )

    def __call__(self, model: nn.Module) -> object:
        """Build the optimizer wrapper for ``model``, a distiller or several."""
        plain = self.of_plain_model

        def add_params(groups: list[dict], module: nn.Module) -> None:
            del plain.add_params  # it calls itself
            distillers: list[Any] = [m for m in module.modules() if hasattr(m, 'student')]
            students = [distiller.student for distiller in distillers]
            for student in students:
                plain.add_params(groups, student)
            theirs = {id(parameter) for student in students for parameter in student.parameters()}
            others = {
                name: parameter
                for name, parameter in module.named_parameters()
                if id(parameter) not in theirs and parameter.requires_grad
            }
            # torch wants names of all groups or of none
            names = {'param_names': [*others]} if 'param_names' in groups[0] else {}
            if others:
                groups.append(dict(params=[*others.values()], **names))

        plain.add_params = add_params
        return plain(model)


def _scale(name: str, backbones: Mapping[str, Any], rate: float) -> float:
    for place, backbone in backbones.items():
        prefix = f'{place}.' if place else ''
        if name.startswith(prefix):
            layer = backbone.layer_id(name[len(prefix) :])
            return layer_decay_scale(rate, layer, backbone.depth)
    return 1.0


def _key_of(name: str, custom: Mapping[str, Any]) -> str:
    """The longest part of a name among the keys, as mmengine chooses; empty if there is none."""
    return max((key for key in sorted(custom) if key in name), key=len, default='')


def _custom_keys(custom: Mapping[str, Any], model: nn.Module) -> dict[str, dict[str, float]]:
    """The factors by part of a name; a part that no name has would change nothing in silence."""
    names = [name for name, _ in model.named_parameters()]
    for key, factors in custom.items():
        place = f'optim_wrapper.paramwise_cfg.custom_keys[{key!r}]'
        known = isinstance(factors, Mapping) and not set(factors) - {'lr_mult', 'decay_mult'}
        if not known or not all(
            isinstance(value, (int, float)) and value >= 0 for value in factors.values()
        ):
            raise ConfigError(f'{place} is {factors!r}: give dict(lr_mult=..., decay_mult=...)')
        if not any(key in name for name in names):
            raise ConfigError(
                f'{place} is in no parameter name of {type(model).__name__}, e.g. {names[0]}'
            )
    return {key: dict(factors) for key, factors in custom.items()}


def _layer_norm_parameters(model: nn.Module) -> set[int]:
    return {
        id(parameter)
        for module in model.modules()
        if isinstance(module, nn.LayerNorm)
        for parameter in module.parameters(recurse=False)
    }


_TYPES = ('Adam', 'AdamW')
_DEVICES = {'cpu', 'cuda'}  # that every torch this project supports has the kernels for


def with_fused_kernel(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """An optimizer's config, asking for the fused kernel where that is possible and left open.

    A config that says ``fused`` or ``foreach`` itself is left as it is.

    Args:
        cfg: with ``type`` and ``params``, a list of parameter groups.
    """
    name = str(getattr(cfg['type'], '__name__', cfg['type'])).rsplit('.', 1)[-1]
    parameters = [parameter for group in cfg['params'] for parameter in group['params']]
    possible = name in _TYPES and all(
        parameter.device.type in _DEVICES and torch.is_floating_point(parameter)
        for parameter in parameters
    )
    chosen = {'fused', 'foreach', 'capturable', 'differentiable'} & set(cfg)
    return dict(cfg) if chosen or not possible else {**cfg, 'fused': True}


#: Precision of a forward pass -> the optimizer wrapper for it.
MIXED: dict[str, dict[str, Any]] = {
    'bfloat16': dict(type='AutocastOptimWrapper'),
    'float16': dict(type='AmpOptimWrapper', loss_scale='dynamic'),
}


def mixed_dtype(device: str) -> str:
    """What mixed precision is on a device, a key of :data:`MIXED`; float16 on older GPUs alone."""
    on_gpu = device.startswith('cuda')
    old = on_gpu and not torch.cuda.is_bf16_supported(including_emulation=False)
    return 'float16' if old else 'bfloat16'


@OPTIM_WRAPPERS.register_module()
class AutocastOptimWrapper(OptimWrapper):
    """bfloat16 autocast around the forward pass (mmengine's own wrapper refuses CPUs).

    bfloat16 has float32's range, so no loss scaling is needed and no step is ever skipped.
    """

    def __init__(self, dtype: str = 'bfloat16', **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if dtype != 'bfloat16':
            raise ValueError(f'autocast without a scaler is for bfloat16, got {dtype!r}')
        self.dtype = torch.bfloat16

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """The context that ``train_step`` computes its losses in."""
        device = next(model.parameters()).device.type
        with super().optim_context(model), torch.autocast(device, dtype=self.dtype):
            yield


def fit_wrapper(wrapper: MutableMapping[str, Any]) -> None:
    """Fit an ``optim_wrapper`` to this machine, in place, and see that it trains something.

    Raises:
        ConfigError: for mixed precision of GPUs where there is none; see :func:`check_clipping`.
    """
    check_clipping(wrapper.get('clip_grad'))
    kind = str(wrapper.get('type', 'OptimWrapper')).rpartition('.')[2]
    if kind == 'AmpOptimWrapper' and not torch.cuda.is_available():
        raise ConfigError(
            'optim_wrapper.type=AmpOptimWrapper needs a GPU and there is none: --cfg-options '
            'optim_wrapper.type=OptimWrapper trains in float32'
        )
    if kind == 'OptimWrapper':
        wrapper.pop('loss_scale', None)  # of a config for mixed precision; float32 needs none


#: Kind of clipping -> its limit, and torch's function, whose arguments it takes.
_CLIPPING: dict[str, tuple[str, Callable[..., Any]]] = {
    'norm': ('max_norm', nn.utils.clip_grad_norm_),
    'value': ('clip_value', nn.utils.clip_grad_value_),
}


def check_clipping(clip_grad: Any) -> None:
    """Refuse a clipping of gradients that would let nothing through, or turn them round.

    Args:
        clip_grad: entry of ``optim_wrapper``; None clips nothing.

    Raises:
        ConfigError: naming the entry.
    """
    if clip_grad is None:
        return
    place = 'optim_wrapper.clip_grad'
    if not isinstance(clip_grad, Mapping) or clip_grad.get('type', 'norm') not in _CLIPPING:
        raise ConfigError(
            f"{place}={clip_grad!r}: give dict(max_norm=...) or dict(type='value', "
            f'clip_value=...), as an option {place}.max_norm=3.0, or None to clip nothing'
        )
    limit, function = _CLIPPING[clip_grad.get('type', 'norm')]
    known = [name for name in inspect.signature(function).parameters if name != 'parameters']
    if unknown := set(clip_grad) - {*known, 'type'}:
        raise ConfigError(
            f'{place} has {", ".join(sorted(unknown))}: there are {", ".join(("type", *known))}'
        )
    value = clip_grad.get(limit)
    if not isinstance(value, (int, float)) or not value > 0:
        raise ConfigError(
            f'{place}.{limit}={value!r}: nothing can be trained with it; give a number above 0, or '
            f'{place}=None to clip nothing'
        )
