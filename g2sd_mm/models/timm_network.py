"""timm's networks as pyramids of feature maps: built by name, without a classifier."""

from __future__ import annotations

import copy
import difflib
import inspect
import itertools
from collections.abc import Sequence
from typing import Any

import timm
from timm.models import group_parameters
from torch import Tensor

from ..errors import ConfigError
from ..text import first_line

#: What this module decides itself; weights come through the project's own checked door.
_RESERVED = (
    'cache_dir', 'checkpoint_path', 'features_only', 'global_pool', 'in_chans', 'num_classes',
    'pretrained', 'pretrained_cfg', 'pretrained_cfg_overlay', 'scriptable',
)


def timm_network(
    model: str,
    place: str,
    in_channels: int = 3,
    drop_path_rate: float = 0.0,
    **options: Any,
) -> Any:
    """A network of timm with random weights and no classifier.

    Args:
        model: its name in timm, without a tag of pretrained weights: nothing is fetched.
        place: the config's entry that names it, for messages: ``model.backbone``.
        in_channels: channels of the images.
        drop_path_rate: of timm's stochastic depth.
        options: further ones of that network: ``depths``, ``dims``, ``img_size``, ...

    Raises:
        ConfigError: if timm has no such network, or none with such options, or one that does not
            give feature maps.
    """
    check_name(model, place)
    if reserved := sorted(set(options) & set(_RESERVED)):
        raise ConfigError(
            f'{place}.{reserved[0]} is not for the config of a network: images have in_channels, '
            'heads have num_classes, and weights come from a file (load_from, init_cfg)'
        )
    given: dict[str, Any] = {'drop_path_rate': drop_path_rate} if drop_path_rate else {}
    try:
        network = timm.create_model(
            model, pretrained=False, num_classes=0, in_chans=in_channels, **given, **options
        )
    except (TypeError, ValueError, AssertionError) as error:
        settings = ', '.join(f'{key}={value!r}' for key, value in {**given, **options}.items())
        raise ConfigError(
            f'{place}: timm {timm.__version__} does not build {model} with {settings}: '
            f'{first_line(error)}'
        ) from error
    check_maps(network, model, place)
    return network


def check_maps(network: Any, model: str, place: str) -> None:
    """Raise ConfigError for a network that gives no feature maps."""
    if not all(getattr(network, name, None) for name in ('forward_intermediates', 'feature_info')):
        raise ConfigError(
            f'{place}.model={model!r} gives no feature maps in timm {timm.__version__} (it has no '
            'forward_intermediates or feature_info): take another network'
        )


def check_name(model: str, place: str, tagged: bool = False) -> None:
    """Raise ConfigError for a network that timm does not have; a tag of weights may be refused."""
    name, _, tag = str(model).partition('.')
    if timm.is_model(name) and (tagged or not tag):
        return
    if timm.is_model(name):
        raise ConfigError(
            f'{place}.model={model!r}: {tag!r} stands for pretrained weights, which are not '
            f'fetched: write {name!r} and give a file of weights'
        )
    near = difflib.get_close_matches(name, timm.list_models(), n=1)
    hint = f'; did you mean {near[0]!r}?' if near else ''
    raise ConfigError(f'{place}.model={model!r}: timm {timm.__version__} has no such network{hint}')


def gives_class_token(network: Any) -> bool:
    """Whether a network has one, and gives it beside its maps."""
    takes = inspect.signature(network.forward_intermediates).parameters
    return getattr(network, 'cls_token', None) is not None and 'return_prefix_tokens' in takes


def level_widths(network: Any) -> list[int]:
    """Channels of the feature maps that a network can give, fine to coarse."""
    return [level['num_chs'] for level in _levels(network)]


def level_strides(network: Any) -> list[int]:
    """Pixels from one position of each map to the next, fine to coarse."""
    strides = (level['reduction'] for level in _levels(network))
    return [max(s) if isinstance(s, (tuple, list)) else int(s) for s in strides]


def level_names(network: Any) -> list[str]:
    """Modules behind which the maps are, fine to coarse."""
    return [str(level['module']) for level in _levels(network)]


def _levels(network: Any) -> list[dict[str, Any]]:
    info = network.feature_info
    return list(getattr(info, 'info', info))


def chosen_levels(network: Any, levels: Sequence[int], place: str) -> tuple[int, ...]:
    """Numbers of the wanted levels from 0, fine to coarse; in the config they may count from -1.

    Raises:
        ConfigError: if there is no such level, or their order is another.
    """
    number = len(level_widths(network))
    found = tuple(level + number if level < 0 else level for level in levels)
    rising = found and all(a < b for a, b in itertools.pairwise(found))
    if not rising or not all(0 <= level < number for level in found):
        raise ConfigError(
            f'{place}={tuple(levels)} must be rising numbers from 0 to {number - 1} (or -{number} '
            f'to -1): {type(network).__name__} gives {number} maps, of '
            f'{", ".join(map(str, level_widths(network)))} channels'
        )
    return found


def feature_maps(
    network: Any, images: Tensor, levels: Sequence[int], norm: bool = False
) -> list[Tensor]:
    """Images [B, C, height, width] -> a map [B, D, rows, columns] for each level.

    Args:
        network: of :func:`timm_network`.
        images: normalised.
        levels: of :func:`chosen_levels`.
        norm: apply the norm that the network has behind its last level, where it has one.
    """
    return network.forward_intermediates(
        images, indices=list(levels), norm=norm, stop_early=True, intermediates_only=True
    )


def prune(network: Any, levels: Sequence[int], norm: bool = False) -> None:
    """Take out what no map of these levels needs, in place: later stages, norms, pooling heads."""
    network.prune_intermediate_layers(list(levels), prune_norm=not norm, prune_head=True)


def unused_names(network: Any, levels: Sequence[int], norm: bool = False) -> set[str]:
    """The names of its state that :func:`prune` would take out."""
    pruned = copy.deepcopy(network)
    prune(pruned, levels, norm)
    return set(network.state_dict()) - set(pruned.state_dict())


def parameter_groups(network: Any, coarse: bool = False) -> dict[str, int]:
    """The group of each parameter, as timm numbers them from 0, the stem.

    Args:
        network: of :func:`timm_network`.
        coarse: a group for a stage; else for a block.
    """
    groups = group_parameters(network, network.group_matcher(coarse=coarse))
    return {name: number for number, names in groups.items() for name in names}
