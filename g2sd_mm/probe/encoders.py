"""The features of a network: student, teacher, bare encoder, timm's, or Hugging Face's."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from ..agreement.weights import recorded
from ..checkpoints import describe, encoder_state, read_weights
from ..checkpoints.record import known_record
from ..distill.teachers import Features
from ..distill.teachers.mae import tokens_features
from ..errors import UserError
from ..models.backbones import G2SDViT
from ..models.backbones.base import Backbone
from ..models.sizes import ENCODERS
from ..provenance import file_digest
from ..students.load import load_student, student_of, weights_file

IMAGENET = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
#: What takes the place of a file for weights that the library fetches.
PRETRAINED = 'pretrained'


@dataclass(frozen=True)
class Encoder:
    """A frozen network.

    name: for people.
    digest: of its weights.
    built: what it was made of, for JSON: the same weights fit networks that compute other things.
    channels: ``RGB`` or ``BGR``, as the network sees them.
    mean, std: of its channels in their order, in values of 0 to 255.
    block: whose output it gives, from 0; None where that is not known.
    normed: whether the final norm is behind that.
    features: normalised images [B, 3, H, W] -> class token [B, C] or None, map [B, h, w, C].
    network: what has to be moved to a device.
    pool: goes over the mean of the patches, of a network that has its norm there.
    notes: what a person should know.
    """

    name: str
    digest: str
    built: dict[str, Any]
    channels: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    block: int | str | None
    normed: bool
    features: Callable[[Tensor], Features]
    network: nn.Module
    pool: Callable[[Tensor], Tensor] | None = None
    notes: tuple[str, ...] = ()

    @torch.no_grad()
    def answer(self, images: Tensor) -> Features:
        """Features of images uint8 [B, 3, H, W], RGB; ``cls`` and ``patches``, float32.

        Raises:
            UserError: if the network does not take images of that size.
        """
        mean, std = (images.new_tensor(v, dtype=torch.float32)[:, None, None]
                     for v in (self.mean, self.std))  # fmt: skip
        images = images.flip(1) if self.channels == 'BGR' else images
        try:
            cls, patches = self.features((images.float() - mean) / std)
        except torch.OutOfMemoryError:
            raise  # says something about the machine, not about the images
        except (RuntimeError, AssertionError, ValueError) as error:
            height, width = images.shape[-2:]
            raise UserError(
                f'{self.name} does not take images of {width}x{height} px: give another --size '
                f'({" ".join(str(error).split())[:200]})'
            ) from error
        return Features(None if cls is None else cls.float(), patches.float())


def find_encoder(
    weights: str,
    timm: str | None = None,
    config: str | None = None,
    options: dict[str, Any] | None = None,
    block: int | str = -1,
    norm: bool | None = None,
    heads: int | None = None,
) -> Encoder:
    """The network that a path and a few options mean.

    Args:
        weights: a weights file or a run's folder; a folder of Hugging Face; ``pretrained`` with
            ``timm``.
        timm: name of timm's model that the file is of.
        config, options: config that a student of a task is built from, where nothing is known.
        block: whose output, from 0, or from the end if negative.
        norm: whether the final norm comes behind it; None: behind the last block alone.
        heads: of attention, for a bare encoder of an unusual width.

    Raises:
        UserError, CheckpointError: with what does not fit, and what to do.
    """
    if timm is not None:
        given = {'pretrained': True} if weights == PRETRAINED else {'checkpoint': weights}
        return _of_teacher('TimmTeacher', weights, block, norm, model=timm, norm=norm, **given)
    folder = Path(weights).expanduser()
    if (folder / 'config.json').is_file():
        if norm is not None:
            raise UserError('--norm and --no-norm are for networks of this project and of timm')
        return _of_teacher('HuggingFaceTeacher', weights, block, norm, model=weights)
    if not isinstance(block, int):
        raise UserError(f'--block {block}: blocks of this network are numbers')
    path = weights_file(weights)
    if config is not None:
        from ..config.load import load_config

        student = student_of(load_config(config, options), str(path), config)
        return _of_student(student, path, block, norm)
    record = known_record(path)
    if record is not None and record.get('network') is not None:
        return _of_student(load_student(path), path, block, norm)
    return _of_file(path, block, norm, heads)


def _of_teacher(kind: str, weights: str, block: Any, normed: bool | None, **given: Any) -> Encoder:
    teacher: Any = MODELS.build(dict(type=kind, block=block, **given))
    source = Path(str(teacher.source or weights)).expanduser()
    return Encoder(
        teacher.name,
        _digest(source),
        {'type': kind},
        'RGB',
        tuple(teacher.pixels.mean),
        tuple(teacher.pixels.std),
        block,
        bool(getattr(teacher, '_norm', normed)),
        teacher.features,
        teacher.model,
    )


def _of_student(student: Any, path: Path, block: int, norm: bool | None) -> Encoder:
    backbone = student.model.backbone
    name = f'{path.parent.name}/{path.name}'
    built = {key: student.network[key] for key in ('scope', 'model')}
    pixels = student.channels or 'RGB', student.mean, student.std
    if isinstance(backbone, G2SDViT):
        return _of_vit(backbone, name, path, built, block, norm, *pixels)
    if block != -1 or norm is not None:
        raise UserError(
            f'{name}: of a {type(backbone).__name__} the output is probed, not a block; leave out '
            '--block and --norm'
        )

    tokens = False
    if 'raw' in getattr(backbone, 'OUT_TYPES', ()):  # a ViT of mmpretrain gives all that it has
        tokens = getattr(backbone, 'cls_token', None) is not None
        backbone.out_type = 'raw' if tokens else 'featmap'

    def features(images: Tensor) -> Features:
        found = backbone(images)
        found = found[-1] if isinstance(found, (tuple, list)) else found
        if tokens:  # the patches of a square image stand last
            side = math.isqrt(found.shape[1] - 1)
            return Features(found[:, 0], found[:, -side * side :].unflatten(1, (side, side)))
        if found.ndim != 4:
            raise UserError(f'{name}: a {type(backbone).__name__} gives no map of features')
        return Features(None, found.permute(0, 2, 3, 1))

    return Encoder(
        name, file_digest(path), built, *pixels, None, False, features, backbone
    )


def _of_file(path: Path, block: int, norm: bool | None, heads: int | None) -> Encoder:
    """A bare encoder: its sizes are those of its tensors."""
    weights = read_weights(path, mmap=True)
    state = encoder_state(weights)
    parts = 'cls_token', 'pos_embed', 'blocks.0.mlp.fc1.weight'
    if absent := [part for part in parts if part not in state]:
        raise UserError(
            f'{path} is no plain ViT (no {", no ".join(absent)}): it is {describe(weights.state)}; '
            'give --timm MODEL, or --config of the network'
        )
    width, channels, patch, _ = state['patch_embed.proj.weight'].shape
    depth = 1 + max(int(name.split('.')[1]) for name in state if name.startswith('blocks.'))
    places = state['pos_embed'].shape[1] - 1
    side = round(places**0.5)
    rows, columns = weights.grid or (side, side)
    if rows * columns != places:
        raise UserError(
            f'{path} is of images that are no squares: give --config, or, of timm, --timm MODEL'
        )
    known = [size.num_heads for size in ENCODERS.values()
             if (size.embed_dim, size.depth) == (width, depth)]  # fmt: skip
    chosen = heads or (known[0] if known else width // 64 if width % 64 == 0 else 0)
    if heads and width % heads:
        raise UserError(f'--heads {heads} does not divide the width of {path}, {width}')
    if not chosen:
        raise UserError(f'{path} does not say how many heads go with width {width}: give --heads')
    if not {'norm.weight', 'fc_norm.weight'} & set(state):
        raise UserError(f'{path} has no final norm: it is the backbone of a task; give --config')
    pooled = 'cls_token' if 'norm.weight' in state else 'avg_featmap'
    built: dict[str, Any] = dict(
        arch=dict(embed_dim=width, depth=depth, num_heads=chosen, patch_size=patch,
                  mlp_ratio=len(state['blocks.0.mlp.fc1.weight']) / width),
        img_size=(rows * patch, columns * patch),
        out_type='dist_token' if 'dist_token' in state else pooled,
        in_channels=channels,
    )
    vit: Backbone = G2SDViT(**built, init_cfg=dict(type='Pretrained', checkpoint=str(path)))
    vit.init_weights()
    inputs = recorded(path).inputs
    order = inputs.channels or 'RGB'
    usual = [values[::-1] if order == 'BGR' else values for values in IMAGENET]
    mean, std = inputs.mean or usual[0], inputs.std or usual[1]
    notes = [f'{chosen} heads of attention are taken (--heads), as its width has them']
    if inputs.mean is None:
        notes.append("the file does not say how images are normalised: ImageNet's mean and std")
    encoder = _of_vit(vit, path.name, path, built, block, norm, order, mean, std)
    return replace(encoder, notes=tuple(notes if not heads else notes[1:]))


def _of_vit(
    vit: Any, name: str, path: Path, built: dict[str, Any], block: int, norm: bool | None,
    channels: str, mean: tuple[float, ...], std: tuple[float, ...],
) -> Encoder:
    if not -vit.depth <= block < vit.depth:
        raise UserError(f'--block {block}: {name} has blocks 0 to {vit.depth - 1}')
    last = block % vit.depth == vit.depth - 1
    normed = last if norm is None else norm
    own = getattr(vit, 'norm', None) is not None
    pool = None if own or not normed else vit.fc_norm

    def features(images: Tensor) -> Features:
        cls, patches = tokens_features(vit, images, block, normed and own)
        # a network that pools its patches was trained without its class token
        return Features(cls if own or not normed else None, patches)

    vit.eval()
    return Encoder(
        name, file_digest(path), built, channels, tuple(mean), tuple(std), block % vit.depth,
        normed, features, vit, pool,
    )  # fmt: skip


def _digest(source: Path) -> str:
    """Of a file, or of all files of a folder by name and content."""
    if source.is_file():
        return file_digest(source)
    told = hashlib.sha256(str(source).encode())
    for file in sorted(source.glob('*')) if source.is_dir() else ():
        if file.is_file():
            told.update(f'{file.name} {file_digest(file)}'.encode())
    return told.hexdigest()
