"""A small ViT as a slice of a large one: fewer directions, heads and neurons of what it computes.

No training: second moments of what the large network's layers see say which directions of its
residual stream carry most (principal components, as in SliceGPT, Ashkboos et al., ICLR 2024,
arXiv 2401.15024), and which heads and neurons add most to it. Linear maps behind heads and neurons
that are left out are solved anew, so that what is kept stands in for the rest as well as it can.

Shapes: D and d channels of the large and the small network, H and h heads.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ConfigError
from .sizes import EncoderSize
from .vit import VisionTransformer

_RIDGE = 1e-3  # of the mean square of what a linear map sees
_END = 'end'  # of the residual stream
_NORMS = ('norm1', 'norm2')


class Moments:
    """Second moments of what the layers of a ViT see, in float64, summed over tokens.

    ``norms``: norm -> [D, D] of its input, centred and of unit variance token by token.
    ``linears``: linear layer behind heads or neurons -> [C + 1, C + 1] of its input, a one
    appended.
    """

    def __init__(self) -> None:
        self.norms: dict[str, Tensor] = {}
        self.linears: dict[str, Tensor] = {}

    @contextmanager
    def record(self, vit: VisionTransformer) -> Iterator[None]:
        """Listen to the forward passes of a network."""
        handles = []
        for i, block in enumerate(vit.blocks):
            for name in _NORMS:
                norm = block.get_submodule(name)
                handles.append(norm.register_forward_hook(self._norm(f'blocks.{i}.{name}')))
            for name in ('attn.proj', 'mlp.fc2'):
                linear = block.get_submodule(name)
                handles.append(linear.register_forward_hook(self._linear(f'blocks.{i}.{name}')))
        handles.append(vit.blocks[-1].register_forward_hook(self._norm(_END, 'output')))
        handles += [
            norm.register_forward_hook(self._norm(name)) for name, norm in _last_norms(vit)
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _norm(self, name: str, of: str = 'input') -> Any:
        def hook(module: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
            tokens = (given[0] if of == 'input' else output).detach().flatten(0, -2).double()
            _add(self.norms, name, F.layer_norm(tokens, tokens.shape[-1:]))

        return hook

    def _linear(self, name: str) -> Any:
        def hook(module: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
            tokens = given[0].detach().flatten(0, -2).double()
            _add(self.linears, name, F.pad(tokens, (0, 1), value=1.0))

        return hook


def _add(sums: dict[str, Tensor], name: str, tokens: Tensor) -> None:
    gram = (tokens.T @ tokens).cpu()
    sums[name] = sums[name] + gram if name in sums else gram


def _last_norms(vit: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name in ('norm', 'fc_norm'):
        if isinstance(norm := getattr(vit, name, None), nn.LayerNorm):
            yield name, norm


@dataclass(frozen=True)
class Slice:
    """A small network's weights.

    state: for its state dict, all of it but what pre-training has more (decoders).
    basis: [D, d], orthonormal columns: the directions that are kept.
    kept: share of the residual stream's energy in them, 0 to 1.
    scales: norm -> root mean square of the kept directions of its normalised input.
    """

    state: dict[str, Tensor]
    basis: Tensor
    kept: float
    scales: dict[str, float]

    def behind(self, norm: nn.LayerNorm, name: str, linear: nn.Linear) -> tuple[Tensor, Tensor]:
        """Weight [C, d] and bias [C] of a linear layer behind the large network's norm ``name``."""
        weight, bias = _exact(linear.weight), _bias(linear)
        gain, shift = _exact(norm.weight), _exact(norm.bias)
        return (
            ((weight * gain) @ self.basis * self.scales[name]).float(),
            (bias + weight @ shift).float(),
        )


def slice_of(large: VisionTransformer, moments: Moments, small: VisionTransformer) -> Slice:
    """The weights of a small ViT that computes what a large one does, as far as it can.

    Args:
        large: whose weights are taken.
        moments: of its layers, on images like those that the small one will see.
        small: says how wide and of how many heads it is; it is not changed.

    Raises:
        ConfigError: if both are not equally deep, of patches of one size and heads of one width,
            or the small one is the wider one.
    """
    _check(large, small)
    basis, kept = _basis(moments, small.embed_dim)
    scales = {}
    for name, gram in moments.norms.items():
        square = (basis.T @ gram @ basis).diag().mean() / gram.diag().mean()
        scales[name] = float(square.sqrt())
    found = Slice({}, basis, kept, scales)
    state, own = found.state, small.state_dict()
    for name in ('cls_token', 'pos_embed', 'dist_token'):
        if name in own and getattr(large, name, None) is not None:
            state[name] = (_exact(getattr(large, name)) @ basis).float()
    projection = large.patch_embed.proj
    kernel = torch.einsum('ochw,od->dchw', _exact(projection.weight), basis)
    state['patch_embed.proj.weight'] = kernel.float()
    state['patch_embed.proj.bias'] = (_bias(projection) @ basis).float()
    for i, block in enumerate(large.blocks):
        parts = _block(block, f'blocks.{i}', moments, found, small.blocks[i])
        state |= {f'blocks.{i}.{name}': tensor for name, tensor in parts.items()}
    for name, _ in _last_norms(small):
        state |= {f'{name}.{key}': tensor for key, tensor in _plain_norm(basis.shape[1]).items()}
    return found


def _plain_norm(width: int) -> dict[str, Tensor]:
    """Of a norm whose gain and shift are in the layer behind it."""
    return {'weight': torch.ones(width), 'bias': torch.zeros(width)}


def is_sliceable(large: EncoderSize, small: EncoderSize) -> bool:
    """Whether a ViT of the small size can be a slice of one of the large size."""
    shapes = [(s.depth, s.embed_dim // s.num_heads, s.patch_size) for s in (large, small)]
    return shapes[0] == shapes[1] and small.embed_dim <= large.embed_dim


def _check(large: VisionTransformer, small: VisionTransformer) -> None:
    sizes = (
        EncoderSize(vit.embed_dim, vit.depth, _heads(vit), vit.patch_embed.patch_size)
        for vit in (large, small)
    )
    fits = small.in_channels == large.in_channels and _positions(small) == _positions(large)
    if not is_sliceable(*sizes) or not fits:
        raise ConfigError(
            'a slice of a teacher is as deep, with patches, heads and images of its sizes, and no '
            f'wider: the teacher has {_size(large)}, the student {_size(small)}; leave '
            'distillation.sliced out, or choose another model.backbone.arch (stage 1: model.arch)'
        )


def _size(vit: VisionTransformer) -> str:
    return (
        f'width {vit.embed_dim}, {vit.depth} blocks, heads of {vit.embed_dim // _heads(vit)}, '
        'patches of '
        f'{vit.patch_embed.patch_size} px, {vit.in_channels} channels, images of {vit.img_size} px '
        f'({_positions(vit)} tokens)'
    )


def _positions(vit: VisionTransformer) -> int:
    """Tokens that have a position of their own."""
    positions: Any = getattr(vit, 'pos_embed', None)
    return 0 if positions is None else positions.shape[1]


def _heads(vit: VisionTransformer) -> int:
    first: Any = vit.blocks[0]
    return first.attn.num_heads


def _basis(moments: Moments, width: int) -> tuple[Tensor, float]:
    """Principal directions of what the norms see, [D, d], and their share of the energy.

    A norm takes the mean over the channels out. In the large network that is a direction that no
    norm sees, so no component has it; in the small one it is made the least of those kept.
    """
    total = torch.stack([gram / gram.trace() for gram in moments.norms.values()]).sum(0)
    energy, directions = torch.linalg.eigh(total)
    basis = directions.flip(1)[:, :width]
    ones = torch.full((width,), width**-0.5, dtype=torch.float64)
    # Householder's reflection that turns the last component into that of all channels alike
    mirror = -ones
    mirror[-1] += 1
    mirror /= mirror.norm()
    kept = float(energy.flip(0)[:width].sum() / energy.sum())
    return basis - 2 * (basis @ mirror)[:, None] * mirror, kept


def _block(block: Any, name: str, moments: Moments, found: Slice, small: Any) -> dict[str, Tensor]:
    basis, attn, mlp = found.basis, block.attn, block.mlp
    heads, wide = attn.num_heads, basis.shape[0] // attn.num_heads
    gains = [
        _exact(getattr(block, f'gamma_{i}')) if block.has_layer_scale else 1.0
        for i in (1, 2)
    ]
    state: dict[str, Tensor] = {}
    kept = _strongest(attn.proj, moments.linears[f'{name}.attn.proj'], small.attn.num_heads, wide)
    channels = _channels(kept, wide)
    weight, bias = found.behind(block.norm1, f'{name}.norm1', attn.qkv)
    rows = torch.cat([channels + part * basis.shape[0] for part in range(3)])
    state['attn.qkv.weight'], state['attn.qkv.bias'] = weight[rows], bias[rows]
    state['attn.proj.weight'], state['attn.proj.bias'] = _solved(
        attn.proj, moments.linears[f'{name}.attn.proj'], channels, basis, gains[0]
    )
    weight, bias = found.behind(block.norm2, f'{name}.norm2', mlp.fc1)
    neurons = _strongest(mlp.fc2, moments.linears[f'{name}.mlp.fc2'], small.mlp.fc1.out_features, 1)
    state['mlp.fc1.weight'], state['mlp.fc1.bias'] = weight[neurons], bias[neurons]
    state['mlp.fc2.weight'], state['mlp.fc2.bias'] = _solved(
        mlp.fc2, moments.linears[f'{name}.mlp.fc2'], neurons, basis, gains[1]
    )
    own = small.state_dict()
    for key, tensor in attn.state_dict().items():
        if f'attn.{key}' in own and f'attn.{key}' not in state:  # positions of its attention
            by_head = tensor.ndim == 2 and tensor.shape[1] == heads
            state[f'attn.{key}'] = tensor[:, kept].clone() if by_head else tensor.clone()
    for name in _NORMS:
        state |= {f'{name}.{key}': part for key, part in _plain_norm(basis.shape[1]).items()}
    state |= {key: torch.ones_like(own[key]) for key in own if key.startswith('gamma_')}
    return state


def _strongest(linear: nn.Linear, gram: Tensor, number: int, wide: int) -> Tensor:
    """Numbers, rising, of the groups of ``wide`` inputs that add most to a layer's output."""
    weight = _exact(linear.weight)
    if wide == 1:
        energy = gram.diag()[:-1] * weight.square().sum(0)
    else:
        parts = [slice(i, i + wide) for i in range(0, weight.shape[1], wide)]
        each = [(weight[:, p] @ gram[p, p] * weight[:, p]).sum() for p in parts]
        energy = torch.stack(each)
    return energy.topk(number).indices.sort().values


def _channels(groups: Tensor, wide: int) -> Tensor:
    return (groups[:, None] * wide + torch.arange(wide)).flatten()


def _solved(
    linear: nn.Linear, gram: Tensor, kept: Tensor, basis: Tensor, gain: Tensor | float
) -> tuple[Tensor, Tensor]:
    """Weight and bias of some inputs whose output is nearest to that of all, in what is kept.

    Least squares over what ``gram`` is of, with a small ridge.
    """
    whole = torch.cat([_exact(linear.weight), _bias(linear)[:, None]], dim=1)
    wanted = (whole.T * gain) @ basis  # [C + 1, d]
    places = torch.cat([kept, torch.tensor([gram.shape[0] - 1])])
    seen = gram[places][:, places]
    ridge = _RIDGE * seen.diag()[:-1].mean() * torch.eye(len(seen), dtype=torch.float64)
    ridge[-1, -1] = 0.0
    solution = torch.linalg.solve(seen + ridge, gram[places] @ wanted)
    return solution[:-1].T.contiguous().float(), solution[-1].float()


def _exact(parameter: Tensor) -> Tensor:
    return parameter.detach().double().cpu()


def _bias(layer: nn.Linear | nn.Conv2d) -> Tensor:
    if layer.bias is None:
        return torch.zeros(layer.weight.shape[0], dtype=torch.float64)
    return _exact(layer.bias)
