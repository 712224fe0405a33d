"""What a file of a vision encoder shows: family, size, patches, positions; and which class fits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ...text import printable
from .families import PLAIN, EncoderFamily, encoder_family
from .names import Names

#: What people call a ViT of a width and depth.
_SIZES = {
    (192, 12): 'Ti',
    (384, 12): 'S',
    (768, 12): 'B',
    (1024, 24): 'L',
    (1152, 27): 'SO400M',
    (1280, 32): 'H',
    (1408, 40): 'g',
    (1536, 40): 'g',
    (1664, 48): 'bigG',
    (1792, 64): 'E',
    (4096, 40): '7B',
}
#: A block of a hierarchy: of timm, of Hugging Face, of the original ConvNeXt and of ResNet.
_STAGE = re.compile(
    r'^(?:.*?\.)??(?:'
    r'(?:stages|layers)\.(?P<stage>\d+)\.(?:blocks\.|layers\.)?(?P<block>\d+)\.|'
    r'layer(?P<stage_>\d)\.(?P<block_>\d+)\.|'
    r'blocks\.(?P<block__>\d+)\.)'
)
_OF_ITS_WIDTH = (
    'norm.weight',
    'norm2.weight',
    'attn.proj.weight',
    'output.dense.weight',
    'o_proj.weight',
    'dwconv.weight',
    'conv3.weight',
    'bn2.weight',
)


@dataclass(frozen=True)
class VisionEncoder:
    """An encoder of images, as its names and shapes show it.

    Attributes:
        family: what it is.
        library: ``timm``, ``Hugging Face``, or empty where the names are of neither.
        width: channels of its last features.
        depth: blocks.
        patch: side of a patch in px; of a hierarchy, of those of its first stage.
        registers: tokens without a place.
        class_token: whether there is one.
        grid: rows and columns of its table of positions; None if it has none.
        positions: in words.
        architecture: timm's name of the model, where a ``config.json`` says it.
        stages: blocks of each stage of a hierarchy.
        gated: whether its MLPs are gated, where that is part of its name.
    """

    family: EncoderFamily
    library: str
    width: int = 0
    depth: int = 0
    patch: int = 0
    registers: int = 0
    class_token: bool = False
    grid: tuple[int, int] | None = None
    positions: str = ''
    architecture: str = ''
    stages: str = ''
    gated: bool = False

    @property
    def title(self) -> str:
        """What it is, in one phrase."""
        name, network = self.family.name, self.family.network
        vague = name.startswith('(')  # a description, and no name
        words = [_article(name)]
        if network == 'ViT':
            words += [self._vit(), name[1:-1]] if vague else [name, self._vit()]
        else:
            words += [name, network]
        if self.registers:
            words.append(f'with {self.registers} register{"s" * (self.registers > 1)}')
        if self.library:
            words.append(f'({self.library} names)')
        return ' '.join(word for word in words if word)

    def _vit(self) -> str:
        size = _SIZES.get((self.width, self.depth))
        if size is None or not self.patch:
            return 'ViT'
        return f'ViT-{size}{"+" * self.gated}/{self.patch}'

    @property
    def facts(self) -> dict[str, Any]:
        """What is told of its size."""
        names = ('width', 'patch', 'depth', 'stages')
        found = {name: value for name in names if (value := getattr(self, name))}
        if self.family.network == 'ViT':
            found['registers'] = self.registers
            found['class token'] = 'yes' if self.class_token else 'no'
        return found | ({'positions': self.positions} if self.positions else {})


def vision_encoder(
    state: Mapping[str, Tensor], config: Mapping[str, Any] | None = None
) -> VisionEncoder | None:
    """The encoder in a file; None if it is none of a family that is known, or a plain ViT.

    Args:
        state: tensors by name; meta tensors are fine.
        config: ``config.json`` beside them.
    """
    names = Names(state, config or {})
    family = encoder_family(names)
    return None if family is None else _seen(names, family)


def plain_encoder(
    state: Mapping[str, Tensor], config: Mapping[str, Any] | None = None
) -> VisionEncoder:
    """A ViT of MAE's, DINO's and timm's common layout as a vision encoder."""
    return _seen(Names(state, config or {}), PLAIN)


_TEXT = (
    'token_embedding.weight',
    'word_embeddings.weight',
    'embed_tokens.weight',
    'tok_embeddings.weight',
    'wte.weight',
)
#: How the names of numbers end that a quantiser leaves beside or instead of weights.
_QUANTISED = (
    '.SCB',
    '.absmax',
    '.quant_map',
    '.weight_format',
    '.qweight',
    '.qzeros',
    '.scales',
    '.weight_scale',
    '.weight_scale_inv',
    '_packed_params',
    '.zero_point',
)
_PATCHES = ('patch_embed', 'visual.', 'vision_', 'conv1.weight', 'stem.')


def unsuitable(state: Mapping[str, Tensor], config: Mapping[str, Any] | None = None) -> str:
    """Why a file is of no use as a teacher or start, with what to give instead; empty if it may be.

    Args:
        state: tensors by name; meta tensors are fine.
        config: ``config.json`` beside them.
    """
    config = config or {}
    names = Names(state, config)
    marks = [f'{name} is in it' for name in state if name.endswith(_QUANTISED)]
    marks += [
        f'{name} is {str(tensor.dtype).removeprefix("torch.")}'
        for name, tensor in state.items()
        if name.endswith('weight') and tensor.ndim > 1 and tensor.element_size() == 1
    ]
    if 'quantization_config' in config:
        marks.append('its config.json has a quantization_config')
    if marks:
        what = printable(marks[0])
        return (
            f'these are quantised weights ({what}), which cannot be read as those of a network: '
            'give the file in float32, float16 or bfloat16 that they were made from'
        )
    if names.shape(*_TEXT) is not None and not names.has(*_PATCHES):
        return (
            'this is a text tower or language model, which cuts no image into patches: give the '
            'file or folder of the image tower (vision_model.* in Hugging Face names)'
        )
    return ''


def _seen(names: Names, family: EncoderFamily) -> VisionEncoder:
    is_vit = family.network == 'ViT'
    projection = names.projection or (0, 0, 0, 0)
    architecture = names.config.get('architecture')
    stages = [] if is_vit else _stages(names)
    gated = names.has('.fc1_g.', '.w12.', '.gate_proj.', '.mlp.w1.') and 'DINOv3' in family.name
    return VisionEncoder(
        family=family,
        library=_library(names),
        width=projection[0] if is_vit else max((width for width, _ in stages), default=0),
        depth=sum(depth for _, depth in stages) or names.depth,
        patch=projection[-1],
        registers=names.registers if is_vit else 0,
        class_token=is_vit and names.class_token,
        grid=names.grid,
        positions=_positions(names, family, projection[-1]),
        architecture=architecture if isinstance(architecture, str) else '',
        stages='-'.join(str(d) for _, d in stages) if len(stages) > 1 else '',
        gated=is_vit and gated,
    )


def _library(names: Names) -> str:
    if names.has('embeddings.', '.pointwise_conv1.') and not names.has('\nblocks.'):
        return 'Hugging Face'
    original = ('\nstorage_tokens', '\nmask_token', '.mlp.w1.', '.mlp.w12.', '\ndownsample_layers.')
    scaled = names.has('.qkv.bias') and names.has('.gamma_1') and 'pos_embed' in names
    if scaled or names.has(*original, '\nvisual.', '\nstages.0.0.'):
        return ''
    return 'timm'


def _stages(names: Names) -> list[tuple[int, int]]:
    """Width and number of blocks of each stage of a hierarchy, where its names say them.

    Hiera counts its blocks through: it has one stage for these names, of its last width.
    """
    blocks: dict[str, set[str]] = {}
    widths: dict[str, int] = {}
    for name, tensor in names.state.items():
        match = _STAGE.match(name)
        if match is None:
            continue
        stage, block = match['stage'] or match['stage_'] or '', ''.join(
            match[group] or '' for group in ('block', 'block_', 'block__')
        )
        blocks.setdefault(stage, set()).add(block)
        if name.endswith(_OF_ITS_WIDTH):
            widths[stage] = max(widths.get(stage, 0), tensor.shape[0])
    if len(blocks) > 1:  # of a hybrid, the stages of its stem
        blocks.pop('', None)
        widths.pop('', None)
    if sorted(blocks) != sorted(widths):
        return []
    return [(widths[stage], len(blocks[stage])) for stage in sorted(blocks)]


def _positions(names: Names, family: EncoderFamily, patch: int) -> str:
    found = []
    if grid := names.grid:
        square = f' ({grid[0] * patch} px)' if patch and family.network == 'ViT' else ''
        found.append(f'{grid[0]}x{grid[1]} table{square}')
    if family.rotary:
        found.append('rotary')
    if names.has('relative_position_bias_table', '.cpb_mlp.', 'continuous_position_bias'):
        found.append('relative')
    return ' and '.join(found)


def _article(name: str) -> str:
    return 'an' if name.startswith(('EVA', 'AIM')) else 'a'
