"""Any network of timm with patch tokens or feature maps as a teacher of features."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import timm
import torch
from mmengine.registry import MODELS
from timm.layers import resample_abs_pos_embed
from torch import Tensor, nn

from ...checkpoints import CheckpointError, Weights, load_verified, read_weights
from ...checkpoints.timm_file import by_timm_rules
from ...checkpoints.vision.names import Names
from ...errors import UserError
from ...models.timm_network import (
    check_maps,
    check_name,
    gives_class_token,
    level_names,
    level_strides,
    level_widths,
    prune,
)
from ...text import one_line, some
from .features import FeatureTeacher, mean_features, take_block
from .hub import PAGE, hub_file, url_file
from .images import Pixels, Size, size_for, student_stride
from .protocol import Features

_PLACE = 'distillation.teacher'
_WEIGHTS = ('model.safetensors', 'pytorch_model.bin')
#: What files have beside the encoder, and no teacher of features runs: heads, pooling, decoders of
#: masked autoencoders, text towers.
_NEVER_RUN = (
    'head.*', 'head_dist.*', 'fc.*', 'fc_norm.*', 'classifier.*', 'attn_pool.*', 'mask_token',
    'decoder_*', 'logit_*', 'text.*', 'lm_head.*',
)  # fmt: skip


@MODELS.register_module()
class TimmTeacher(FeatureTeacher):
    """A network of timm: DINOv2, DINOv3, EUPE, BEiT v2, EVA-02, CLIP, SigLIP 2, ConvNeXt, Swin, ...

    Mean, std and licence are those of the ``config.json`` beside its weights, else those that timm
    knows of the model. Blocks behind the wanted one, and heads, are dropped before its weights are
    loaded.

    Args:
        model: its name in timm, with or without a tag: ``vit_small_patch14_dinov2.lvd142m``.
        block: whose output it answers with: a number from 0, from the end if negative, or a name
            of timm's ``feature_info`` (``blocks.8``, ``stages.2``). In a pyramid, a stage.
        mean_of_last: the mean of so many blocks that end with ``block``.
        norm: pass the output through the network's final norm; None does that where the last block
            is among them, as the network itself does.
        checkpoint: its weights, in timm's names or any that timm's own loader of that model takes.
        pretrained: fetch them from the hub that timm names, or take them from its cache.
        random_weights: admit a teacher without weights (speed tests only).
        overrides: further arguments of ``timm.create_model``, for a model of another size.
        mean, std: of RGB values 0 to 1, in place of those.
        licence: of its weights, in place of that.
        options: ``cls``, ``size``, ``compile`` and ``dtype`` of
            :class:`~g2sd_mm.distill.teachers.features.FeatureTeacher`.

    Raises:
        UserError: for a model, a block or an option that timm does not have, or a file that cannot
            be fetched.
        CheckpointError: if there are no weights, or they do not fill what is run.
    """

    model: Any  # whatever class timm has for it

    def __init__(
        self,
        model: str,
        block: int | str = -1,
        mean_of_last: int = 1,
        norm: bool | None = None,
        checkpoint: str | None = None,
        pretrained: bool = False,
        random_weights: bool = False,
        overrides: Mapping[str, Any] | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        licence: str | None = None,
        **options: Any,
    ) -> None:
        if checkpoint and pretrained:
            raise UserError(
                f'{_PLACE} has a checkpoint and pretrained=True: its weights are one or the other'
            )
        self._model_name, self._overrides = model, dict(overrides or {})
        network = self._create()
        known: Mapping[str, Any] = network.pretrained_cfg
        if pretrained:
            checkpoint = self._fetch(known)
        elif not (checkpoint or random_weights):
            raise CheckpointError(
                f'the teacher {model} has no weights: --cfg-options {_PLACE}.checkpoint=FILE, or '
                f'{_PLACE}.pretrained=True to fetch them from the hub'
            )
        weights = read_weights(checkpoint, mmap=True) if checkpoint else None
        said = {} if weights is None else weights.config
        known = {**known, **(said.get('pretrained_cfg') or said)}  # older files have no such key
        if weights is not None and (size := _size_of_file(weights.state, network)):
            network = self._create(img_size=size)  # positions are resampled once, when they are run
        widths, strides = level_widths(network), level_strides(network)
        self._blocks = take_block(block, mean_of_last, level_names(network))
        self._norm = self._blocks[-1] == len(widths) - 1 if norm is None else norm
        self._norm = self._norm and _has_final_norm(network)
        shapes = {(widths[n], strides[n]) for n in self._blocks}
        if len(shapes) > 1:
            raise UserError(
                f'{_PLACE}.mean_of_last={mean_of_last}: the stages of {model} have maps of '
                f'different sizes, which have no mean; take one stage'
            )
        ((width, stride),) = shapes
        self._fixed_step = max(strides)
        network = self._filled(network, weights)
        super().__init__(
            network,
            pixels=Pixels.of_fractions(mean or known['mean'], std or known['std']),
            stride=stride,
            step=self._fixed_step if _one_size(network) else None,
            width=width,
            name=model,
            source=_page(known) if pretrained else checkpoint,
            licence=licence or known.get('license'),
            **options,
        )
        self._asked = self.size  # by the user
        self.files = weights.files if weights is not None and pretrained else ()

    def check_student(self, student: nn.Module) -> None:
        """Take down what the student sees; a network of one size is made anew in the right one."""
        super().check_student(student)
        if not _one_size(self.model):
            return
        image = getattr(student, 'img_size', None)
        own = _built_size(self.model)
        wanted = self._asked or own
        if self._asked is None and image is not None:
            image = (image, image) if isinstance(image, int) else (image[0], image[1])
            stride = student_stride(student)
            grid = (image[0] // stride, image[1] // stride) if stride else None
            wanted = size_for(image, grid, self.stride, self.step, None)
        if wanted != own:
            self.model = self.frozen(self._resized(wanted))
        self.size = wanted

    def features(self, images: Tensor) -> Features:
        """Class token, if it has one, and map of the wanted blocks; registers are dropped."""
        prefix = {'return_prefix_tokens': True} if gives_class_token(self.model) else {}
        answers = self.model.forward_intermediates(
            images, indices=self._blocks, norm=self._norm, intermediates_only=True, **prefix
        )
        return mean_features([self._split(answer) for answer in answers])

    def blocks(self) -> Sequence[nn.Module]:
        """Those up to the last wanted one."""
        names = level_names(self.model)[: self._blocks[-1] + 1]
        return [self.model.get_submodule(name) for name in names]

    def _split(self, answer: Tensor | tuple[Tensor, Tensor]) -> Features:
        patches, prefix = answer if isinstance(answer, (tuple, list)) else (answer, None)
        cls = None if prefix is None else prefix[:, 0]
        return Features(cls, patches.movedim(1, -1))

    def _create(self, **more: Any) -> Any:
        """The whole network with random weights; the generators of random numbers do not notice."""
        name, arguments = self._model_name, {**self._overrides, **more}
        check_name(name, _PLACE, tagged=True)
        with torch.random.fork_rng(devices=[]):
            try:
                try:
                    network = timm.create_model(name, **{'dynamic_img_size': True, **arguments})
                except TypeError:  # only some are built for any size
                    network = timm.create_model(name, **arguments)
            except (TypeError, AssertionError, RuntimeError, ValueError) as error:
                if not arguments or isinstance(error, NotImplementedError):
                    raise
                raise UserError(
                    f'{_PLACE}.overrides: timm cannot build {name} with {arguments}: '
                    f'{one_line(error)}'
                ) from error
        check_maps(network, name, _PLACE)
        return network

    def _fetch(self, known: Mapping[str, Any]) -> str:
        """The file that timm names for the model."""
        remedy = f'give {_PLACE}.checkpoint=FILE in place of pretrained'
        name = self._model_name
        if known.get('hf_hub_id'):
            named = known.get('hf_hub_filename')
            files = (named,) if named else _WEIGHTS
            return str(hub_file(known['hf_hub_id'], files, remedy))
        if known.get('custom_load'):
            raise UserError(f'{_PLACE}: the weights of {name} are no file of torch; {remedy}')
        if known.get('url'):
            return str(url_file(known['url'], remedy))
        tags = timm.list_pretrained(f'{name.partition(".")[0]}*')
        raise UserError(
            f'{_PLACE}: timm knows no weights of {name}'
            + (f'; it does of {some(tags)}' if tags else '') + f'. Else {remedy}'
        )

    def _filled(self, network: nn.Module, weights: Weights | None) -> nn.Module:
        """The network up to the last wanted block, with a file's weights if there is one."""
        state = {} if weights is None else _translated(weights, network)
        whole = set(network.state_dict())
        prune(network, self._blocks, self._norm)
        if weights is not None:
            dropped = whole - set(network.state_dict())
            load_verified(
                network,
                state,
                weights,
                purpose=f'teacher {self._model_name}',
                may_ignore=[*dropped, *_NEVER_RUN],
                advice=f'Give a file of timm\'s {self._model_name}.',
            )
        return network

    def _resized(self, size: Size) -> Any:
        """The same network for images of another size, tables of positions resampled."""
        old = self.model.state_dict()
        try:
            network = self._create(img_size=size)
            state = _positions_resampled(by_timm_rules(old, network), self.model, network)
            prune(network, self._blocks, self._norm)
            network.load_state_dict(state)
            with torch.no_grad():  # some refuse a size only when they run
                self.frozen(network)
                network.forward_intermediates(
                    torch.zeros(1, len(self.pixels.mean), *size, dtype=self.dtype),
                    indices=self._blocks, intermediates_only=True,
                )
        except (AssertionError, RuntimeError, ValueError) as error:
            raise UserError(
                f'{_PLACE}: {self._model_name} cannot see images of {size[0]}x{size[1]} px '
                f'({one_line(error)}): give {_PLACE}.size, e.g. {_built_size(self.model)[0]}'
            ) from error
        return network


def _page(known: Mapping[str, Any]) -> str:
    """Where timm's weights of a model are from."""
    repo = known.get('hf_hub_id')
    return f'{PAGE}/{repo}' if repo else str(known.get('url'))


def _has_final_norm(network: nn.Module) -> bool:
    return any(isinstance(getattr(network, name, None), nn.Module) for name in ('norm', 'norm_pre'))


def _one_size(network: nn.Module) -> bool:
    """Whether it is built for images of one size: windows, tables of relative positions."""
    if getattr(network, 'dynamic_img_size', False):
        return False
    return 'img_size' in inspect.signature(type(network).__init__).parameters


def _built_size(network: Any) -> Size:
    """Height and width that a network of one size was built for."""
    size = getattr(getattr(network, 'patch_embed', None), 'img_size', None)
    if size is None:
        shape = getattr(network, 'tokens_spatial_shape', None)  # of Hiera
        size = shape and [n * pixels for n, pixels in zip(shape, network.patch_stride, strict=True)]
    if size is None:
        size = network.pretrained_cfg['input_size'][-2:]
    return (int(size[0]), int(size[1]))


def _size_of_file(state: Mapping[str, Tensor], network: Any) -> Size | None:
    """The size of images that a file's square table of positions is for, if the network's differs.

    Only of networks whose tables are resampled when they are run.
    """
    table, own = state.get('pos_embed'), getattr(network, 'pos_embed', None)
    grid = Names(state).grid if getattr(network, 'dynamic_img_size', False) else None
    if table is None or own is None or grid is None or table.shape == own.shape:
        return None
    rows, columns = network.patch_embed.patch_size
    size = (grid[0] * rows, grid[1] * columns)
    return None if size == tuple(network.patch_embed.img_size) else size


def _translated(weights: Weights, network: nn.Module) -> dict[str, Tensor]:
    try:
        return by_timm_rules(weights.state, network)
    except (KeyError, AttributeError, RuntimeError, AssertionError, TypeError) as error:
        raise CheckpointError(
            f'{weights.name} is no file of timm\'s {type(network).__name__} '
            f'({type(error).__name__}: {one_line(error)})'
        ) from error


def _positions_resampled(
    state: dict[str, Tensor], old: nn.Module, new: nn.Module
) -> dict[str, Tensor]:
    """Tables that timm's loader leaves in the old size: of networks without prefix tokens."""
    table, own = state.get('pos_embed'), getattr(new, 'pos_embed', None)
    if table is None or own is None or table.ndim != 3 or table.shape == own.shape:
        return state
    grids = [getattr(network, 'tokens_spatial_shape', None) for network in (new, old)]
    if None in grids:
        return state
    resampled = resample_abs_pos_embed(
        table, new_size=grids[0], old_size=grids[1], num_prefix_tokens=0
    )
    return {**state, 'pos_embed': resampled}
