"""Everything that a weights file says of itself, in plain words."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..compat.safe_load import CheckpointError
from ..text import some
from .convert import to_published_names
from .identify import Kind, doubt, identify, raw_pixels, title_of
from .layouts import Family
from .layouts.published import depth_of
from .layouts.rules import State
from .load import defects
from .positions import is_transposed
from .read import Weights
from .record import own_record
from .vision import VisionEncoder, plain_encoder, vision_encoder

#: Tensors whose sides are looked at, and how many sides they have: heads, and parts of the encoder.
_HEADS = {
    'head.weight': 2,
    'decode_head.conv_seg.weight': 4,
    'roi_heads.mask_head.predictor.weight': 4,
}
_TRUNK = {'pos_embed': 3, 'patch_embed.proj.weight': 4}
_BIASES = {
    'blocks.0.attn.relative_position_bias_table': 2,
    'blocks.0.attn.rel_pos_h': 2,
}
#: Layouts of plain ViTs, whose features can teach as well.
_PLAIN = ('mae', 'timm', 'huggingface')
_AUTOENCODERS = (Kind.MAE_FULL, Kind.MAE_RUN, Kind.HUGGING_FACE_MAE)


@dataclass(frozen=True)
class Facts:
    """What a file is.

    Attributes:
        kind: by its names.
        title: the kind in words.
        family: what the network is; None if it is not known.
        tensors, elements, bytes: how many and how large.
        dtypes: tensors by dtype.
        size: what can be seen of the network, in the order in which it is told.
        notes: what one should know before using it.
        broken: phrases on tensors that are no weights (NaN, zeros, integers); then it has no use.
        stock: it is a network of one of the mm libraries, for the config that it was trained with.
        encoder: the vision encoder that can teach stage 1 by its features, if it is one.
    """

    kind: Kind
    title: str
    family: Family | None
    tensors: int
    elements: int
    bytes: int
    dtypes: dict[str, int]
    size: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    stock: bool = False
    encoder: VisionEncoder | None = None


def facts_of(weights: Weights) -> Facts:
    """Look at names, shapes and, once, at every value: a broken one is named."""
    state = weights.state
    grid = weights.grid
    kind = identify(state, grid)
    notes = _notes(weights, kind)
    title = title_of(state)
    if kind in _AUTOENCODERS and raw_pixels(weights):
        title = 'an MAE trained on raw pixels (a "visualize" file), encoder and decoder'
    record = own_record(weights)
    stock = False
    encoder: VisionEncoder | None = None
    try:
        # by the values of positions some kinds are told apart
        kept = {n: t for n, t in state.items() if n in ('pos_embed', 'dist_token')}
        outlines = {name: tensor.to('meta') for name, tensor in state.items()}
        published = to_published_names({**outlines, **kept}, grid=grid)
        family = published.family
        size = network_size(published.state, weights.config, grid)
    except CheckpointError as error:
        family, size = None, {}
        # names of a mm library say nothing more: it may be any network of it
        stock = record is not None or kind.layout == 'ours'
        if kind is Kind.OTHER_ENCODER:
            encoder = vision_encoder(state, weights.config)
        elif stock:
            title = _stock_title(kind, record)
            notes.append('loaded under its own names by the config that it was trained with')
        elif kind is not Kind.UNKNOWN:
            notes.append(str(error))
    if encoder is not None:
        title, size = encoder.title, encoder.facts
        notes.append('no student here has its layers: it can teach stage 1, and start nothing')
        notes += [encoder.family.note] if encoder.family.note else []
    elif kind.layout in _PLAIN and kind is not Kind.MAE_FULL:
        encoder = plain_encoder(state, weights.config)
    broken = defects(state)
    if broken:
        notes.append(
            f'{len(broken)} broken ({some(broken)}): such weights are refused as a teacher or start'
        )
    return Facts(
        kind=kind,
        title=title,
        family=family,
        tensors=len(state),
        elements=sum(tensor.numel() for tensor in state.values()),
        bytes=sum(tensor.nbytes for tensor in state.values()),
        dtypes=dict(Counter(str(t.dtype).removeprefix('torch.') for t in state.values())),
        size=size,
        notes=tuple(notes),
        broken=tuple(broken),
        stock=stock,
        encoder=encoder,
    )


def _stock_title(kind: Kind, record: Mapping[str, Any] | None) -> str:
    """The kind in words; of a file of this project, by the parts that it names."""
    if record is None:
        return kind.title.replace(' with our backbone', '')
    model = record.get('model') or {}
    backbone = (model.get('backbone') or {}).get('type', 'no backbone')
    return f'{model.get("type")} of {record.get("scope")} with {backbone}, trained here'


def network_size(
    published: State,
    config: Mapping[str, Any] | None = None,
    grid: tuple[int, int] | None = None,
) -> dict[str, Any]:
    """Width, depth, heads and so on of a network under published names.

    Raises:
        CheckpointError: if a tensor that tells it is missing, or of another rank than it has there.
    """
    trunk = _trunk(published)
    _check_ranks(published, trunk)
    size: dict[str, Any] = {}
    projection = published.get(f'{trunk}patch_embed.proj.weight')
    if projection is not None:
        size['width'], size['patch'] = projection.shape[0], projection.shape[-1]
    size['depth'] = depth_of(published, f'{trunk}blocks.')
    heads = _heads(published, trunk, size.get('width'), config or {})
    if heads:
        size['heads'] = heads
    positions = published.get(f'{trunk}pos_embed')
    if positions is not None and 'patch' in size:
        rows = positions.shape[1]
        if math.isqrt(rows) ** 2 == rows > 1:
            raise CheckpointError(
                f'{trunk}pos_embed has {rows} rows, none of them for the class token, which '
                'networks here have'
            )
        size |= _image(rows - 1, size['patch'], grid)
    if 'decoder_embed.weight' in published:
        size['decoder width'] = published['decoder_embed.weight'].shape[0]
        size['decoder depth'] = depth_of(published, 'decoder_blocks.')
    for head in _HEADS:
        if head in published:
            size['classes'] = published[head].shape[0]
    return size


def _image(patches: int, patch: int, grid: tuple[int, int] | None) -> dict[str, Any]:
    """The images that positions are laid out for, as far as their number and the file say."""
    if grid is None or grid[0] * grid[1] != patches:
        side = math.isqrt(patches)
        if side * side != patches:
            return {'patches': patches}
        grid = side, side
    rows, columns = grid
    return {'image': rows * patch if rows == columns else f'{rows * patch}x{columns * patch}'}


def _trunk(published: State) -> str:
    """What stands before the names of the encoder."""
    for prefix in ('backbone.net.', 'backbone.', ''):
        if any(f'{prefix}{name}' in published for name in _TRUNK):
            return prefix
    raise CheckpointError(f'there is neither {" nor ".join(_TRUNK)} in it')


def _check_ranks(published: State, trunk: str) -> None:
    ranks = {f'{trunk}{name}': rank for name, rank in (_TRUNK | _BIASES).items()}
    ranks |= {**_HEADS, 'decoder_embed.weight': 2}
    for name, rank in ranks.items():
        shape = published[name].shape if name in published else None
        if shape is not None and (len(shape) != rank or 0 in shape):
            raise CheckpointError(f'{name} is {list(shape)}, expected {rank} sides')


def _heads(published: State, trunk: str, width: int | None, config: Mapping) -> int | None:
    if isinstance(config.get('num_attention_heads'), int):
        return config['num_attention_heads']
    first = f'{trunk}blocks.0.attn.'
    if f'{first}relative_position_bias_table' in published:
        return published[f'{first}relative_position_bias_table'].shape[1]
    if width and f'{first}rel_pos_h' in published:
        return width // published[f'{first}rel_pos_h'].shape[1]
    return None


def _notes(weights: Weights, kind: Kind) -> list[str]:
    notes = list(weights.notes)
    if weights.prefixes:
        notes.append(f'names without {", ".join(weights.prefixes)}, which wrappers have added')
    if kind is Kind.MAE_ENCODER:
        notes.append(
            'no decoder: it cannot teach stage 1 as a full MAE does, by what its decoder predicts'
        )
    if kind in _AUTOENCODERS and raw_pixels(weights):
        notes.append(
            'trained on raw pixels: the published results distil from one trained on normalised '
            'pixels (mae_pretrain_vit_base_full.pth)'
        )
    if kind is Kind.SEG_DISTILLER:
        notes.append('the student is taken from it; --side teacher converts the teacher')
    if unsure := doubt(weights):
        notes.append(unsure)
    table = weights.state.get('pos_embed')
    if table is not None and is_transposed(table):
        notes.append(
            "the sin-cos position embedding is transposed (mmpretrain's order); see --positions of "
            'tools/checkpoint.py convert'
        )
    return notes
