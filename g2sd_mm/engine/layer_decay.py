"""AdamW parameter groups with layer-wise learning-rate decay, for any model with our backbones."""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.optim import DefaultOptimWrapperConstructor
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, OPTIMIZERS
from torch import nn

from ..models.vit import VisionTransformer
from .fused import keep_kernel, with_fused_kernel
from .sharding import shard_moments

_NO_DECAY = ('one_dimensional', 'layer_norm')


def layer_decay_scale(rate: float, layer: int, depth: int) -> float:
    """``rate ** (depth + 1 - layer)``: 1 for heads (layer ``depth + 1``), least for patches."""
    return rate ** (depth + 1 - layer)


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class ViTLayerDecayConstructor(DefaultOptimWrapperConstructor):
    """Groups parameters by (learning rate, weight decay) alone: fused AdamW runs few groups.

    Finds every :class:`~g2sd_mm.models.vit.VisionTransformer` in the model, at any depth: inside a
    detector, a segmentor, a distiller or DDP. What lies outside of them trains at the full rate.

    ``paramwise_cfg`` may have:

    - ``layer_decay_rate``: factor from one layer to the one before it; 1.0 turns it off.
    - ``no_decay``: which parameters have no weight decay. ``one_dimensional``: every vector
      (biases, norms, layer scales). ``layer_norm``: only torch's LayerNorm, as the published
      detection recipe has it (biases, relative positions and the pyramid's channel norms decay).
    - ``no_decay_names``: last parts of parameter names that have no weight decay either, e.g.
      ``('pos_embed', 'cls_token')``.

    Frozen parameters are in no group. Settings of mmengine's own constructor are refused, not
    silently ignored.
    """

    def __call__(self, model: nn.Module) -> object:
        """Build the optimizer wrapper for ``model``."""
        model = getattr(model, 'module', model)  # DDP's names start with "module."
        cfg = self.optimizer_cfg.copy()
        cfg['params'] = self.parameter_groups(model, cfg['lr'], cfg.get('weight_decay', 0.0))
        wrapper = dict(self.optim_wrapper_cfg)
        wrapper.setdefault('type', 'OptimWrapper')
        optimizer = shard_moments(keep_kernel(OPTIMIZERS.build(with_fused_kernel(cfg))))
        return OPTIM_WRAPPERS.build(wrapper, default_args=dict(optimizer=optimizer))

    def parameter_groups(self, model: nn.Module, lr: float, weight_decay: float) -> list[dict]:
        """Groups with ``params``, ``lr``, ``weight_decay``, ``lr_scale`` and ``param_names``.

        Raises:
            ValueError: for unknown settings, or if there is no ViT to decay.
        """
        options = dict(self.paramwise_cfg)
        rate = options.pop('layer_decay_rate', 1.0)
        no_decay = options.pop('no_decay', 'one_dimensional')
        names: Sequence[str] = options.pop('no_decay_names', ())
        if options or no_decay not in _NO_DECAY:
            raise ValueError(
                f'ViTLayerDecayConstructor knows layer_decay_rate, no_decay '
                f'({" or ".join(_NO_DECAY)}) and no_decay_names; got {dict(self.paramwise_cfg)}'
            )
        backbones = {n: m for n, m in model.named_modules() if isinstance(m, VisionTransformer)}
        if rate != 1.0 and not backbones:
            raise ValueError(
                f'layer_decay_rate={rate} needs one of our ViT backbones in the model; '
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
            scale = _scale(name, backbones, rate)
            key = (scale, 0.0 if free else weight_decay)
            group = groups.setdefault(
                key,
                dict(params=[], lr=lr * scale, weight_decay=key[1], lr_scale=scale, param_names=[]),
            )
            group['params'].append(parameter)
            group['param_names'].append(name)
        return list(groups.values())


def _scale(name: str, backbones: dict[str, VisionTransformer], rate: float) -> float:
    for place, backbone in backbones.items():
        prefix = f'{place}.' if place else ''
        if name.startswith(prefix):
            layer = backbone.layer_id(name[len(prefix) :])
            return layer_decay_scale(rate, layer, backbone.depth)
    return 1.0


def _layer_norm_parameters(model: nn.Module) -> set[int]:
    return {
        id(parameter)
        for module in model.modules()
        if isinstance(module, nn.LayerNorm)
        for parameter in module.parameters(recurse=False)
    }
