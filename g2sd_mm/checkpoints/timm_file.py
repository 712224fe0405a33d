"""The tensors that a network of timm has in a file of timm, of stage 1, or of a task model."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import torch
from mmengine.logging import print_log
from timm.models import adapt_input_conv
from torch import Tensor, nn

from .load import compare, is_outline
from .read import Weights, below

#: Where such a network may lie, the more particular first: in distilled task models and students
#: of stage 1, in task models (ours, and the libraries' TIMMBackbone), or bare.
_PREFIXES = (
    'student.backbone.network.', 'student.network.', 'backbone.network.', 'network.',
    'student.backbone.timm_model.', 'backbone.timm_model.', '',
)  # fmt: skip


def timm_state(weights: Weights, network: Any) -> dict[str, Tensor]:
    """A file's tensors under timm's names.

    Files of a network's authors, and those for images of another size or other channels, are
    read by timm's own rules.

    Args:
        weights: a file with such a network.
        network: of timm, without its classifier.
    """
    own = set(network.state_dict())
    states = [below(weights.state, prefix) for prefix in _PREFIXES]
    best = max(states, key=lambda state: len(own & set(state)))
    state = _for_channels(network, best if own & set(best) else weights.state, weights)
    if compare(network.state_dict(), state, (), left_out(network)).problems():
        with suppress(Exception):  # what timm cannot read is reported by its names
            state = by_timm_rules(state, network)
    return state


def left_out(network: Any) -> tuple[str, ...]:
    """Patterns of a file's names that a network does without.

    What was taken out of it (its attribute ``left_out``), and its classifier: ``head.fc.*``.
    """
    heads = _as_tuple(network.pretrained_cfg.get('classifier'))
    return (*getattr(network, 'left_out', ()), *(f'{name}.*' for name in heads))


def _for_channels(network: Any, state: Mapping[str, Tensor], weights: Weights) -> dict[str, Tensor]:
    """An RGB network's kernels for other channels, by timm's rule."""
    adapted, own = dict(state), network.state_dict()
    for layer in _as_tuple(network.pretrained_cfg.get('first_conv')):
        name = f'{layer}.weight'
        kernel = adapted.get(name)
        if kernel is None or name not in own or kernel.ndim != 4:
            continue
        channels = own[name].shape[1]
        if kernel.shape[1] == 3 and channels != 3:
            adapted[name] = adapt_input_conv(channels, kernel)
            if not is_outline(network):
                print_log(
                    f'{weights.name} was trained on images of 3 channels: the kernels of its '
                    f'first layer were adapted to {channels}',
                    logger='current',
                )
    return adapted


def by_timm_rules(state: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """A file's tensors under timm's names, by what timm itself puts its downloads through.

    It takes any file for one of its own, and raises anything where it is none.
    """
    rule = getattr(sys.modules[type(network).__module__], 'checkpoint_filter_fn', None)
    if rule is None:
        return dict(state)
    layer_scale = 'adapt_layer_scale' in inspect.signature(rule).parameters
    more = {'adapt_layer_scale': True} if layer_scale else {}
    with torch.device('cpu'):  # a network that is only an outline is compared to real tensors
        return dict(rule(dict(state), network, **more))


def _as_tuple(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value or ())
