"""Vision encoders of transformers as teachers of features, from a local folder or the hub."""

from __future__ import annotations

import copy
import inspect
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
import yaml
from mmengine.registry import MODELS
from torch import Tensor, nn

from ...checkpoints import CheckpointError, Weights, describe, read_weights
from ...checkpoints.load import Fit, defects, fits
from ...checkpoints.vision.names import Names
from ...engine.undisturbed import silent
from ...errors import UserError
from ...text import one_line, some
from .features import FeatureTeacher, mean_features, take_block
from .hub import PAGE, hub_file
from .images import Pixels
from .protocol import Features

_PLACE = 'distillation.teacher'
_WEIGHTS = ('model.safetensors', 'model.safetensors.index.json', 'pytorch_model.bin')
#: What files have beside the encoder, and no teacher of features runs.
_NEVER_RUN = (
    '*classifier.*', 'pooler.*', 'decoder.*', 'decode_head.*', 'auxiliary_head.*', 'lm_head.*',
    'text_model.*', 'text_projection.*', 'visual_projection.*', 'logit_scale', 'logit_bias',
    'head.*', '*.position_ids', '*relative_position_index', '*mask_token',
)  # fmt: skip


@MODELS.register_module()
class HuggingFaceTeacher(FeatureTeacher):
    """What ``transformers.AutoModel`` makes of a folder: Dinov2, DINOv3, SigLIP, CLIP, MAE, BEiT...

    Of a model of images and text, the tower of images. Mean and std are those of its
    ``preprocessor_config.json``, the licence that of its model card. Blocks behind the wanted one
    are not built. Masked autoencoders see all patches, in order.

    Args:
        model: a folder with ``config.json``, ``preprocessor_config.json`` and the weights; or a
            name on the hub, ``owner/name`` or ``owner/name@revision``, which is fetched or taken
            from its cache. A folder never goes to the network.
        block: whose output it answers with: a number from 0, or from the end if negative.
        mean_of_last: the mean of so many blocks that end with ``block``.
        random_weights: admit a folder without weights (speed tests only).
        mean, std: of RGB values 0 to 1, in place of the folder's.
        licence: in place of the model card's.
        options: ``cls``, ``size``, ``compile`` and ``dtype`` of
            :class:`~g2sd_mm.distill.teachers.features.FeatureTeacher`.

    The output of the last block is ``last_hidden_state``, behind the final norm where the network
    has one; with it in a mean, the others pass that norm too. That of others is as the block gives
    it, as in ``hidden_states``.

    Raises:
        UserError: without transformers, for a folder that is none, or what cannot be fetched.
        CheckpointError: if the weights do not fill what is run.
    """

    model: Any  # whatever class transformers has for it

    def __init__(
        self,
        model: str,
        block: int | str = -1,
        mean_of_last: int = 1,
        random_weights: bool = False,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        licence: str | None = None,
        **options: Any,
    ) -> None:
        transformers = _transformers()
        folder = _folder(model, weights=not random_weights)
        config = _vision_config(transformers, folder)
        depth = getattr(config, 'num_hidden_layers', None)
        patch = getattr(config, 'patch_size', None)
        if isinstance(patch, (list, tuple)) and len(set(patch)) == 1:
            patch = patch[0]
        if not isinstance(depth, int) or not isinstance(patch, int):
            raise UserError(
                f'{_PLACE}.model={model!r} is a {config.model_type}, which is no plain vision '
                'transformer (no num_hidden_layers, patch_size): take it as a TimmTeacher'
            )
        names = [str(number) for number in range(depth)]
        self._blocks = take_block(block, mean_of_last, names)
        self._all = depth
        shorter = copy.deepcopy(config)
        shorter.num_hidden_layers = self._blocks[-1] + 1
        with torch.random.fork_rng(devices=[]):
            network = transformers.AutoModel.from_config(shorter)
            if not random_weights:
                # not from the disk as it is needed: the network keeps these very tensors
                weights = read_weights(folder)
                network = _filled(type(network), config, shorter, weights)
                self.files = weights.files
            place = _layers_name(network, shorter.num_hidden_layers)
            self._layers: Any = network.get_submodule(place)
            own = Names(network.state_dict())
            distilled = own.shape('distillation_token') is not None
            self._prefix = own.class_token + distilled + own.registers
            self.model, self.stride = network.eval(), patch
            if only := self._only_size(getattr(config, 'image_size', None)):
                options['size'] = options.get('size') or only
        super().__init__(
            network,
            pixels=_pixels(folder, model, mean, std),
            stride=patch,
            width=config.hidden_size,
            name=model,
            source=model if Path(model).expanduser().is_dir() else f'{PAGE}/{model}',
            licence=licence or _card_licence(folder),
            **options,
        )

    def features(self, images: Tensor) -> Features:
        """Class token, if it has one, and map of the wanted blocks; registers are dropped."""
        rows, columns = (side // self.stride for side in images.shape[-2:])
        layers = self._layers[self._blocks[0] :]
        outside = set(self.model.modules()) - set(self._layers.modules())
        with _calls({*layers, *outside}) as calls:
            last = self.model(**self._inputs(images, rows, columns)).last_hidden_state
        heard = {module: output for module, _, output in calls}
        tokens = [heard[layer] for layer in layers]
        if self._blocks[-1] == self._all - 1:
            norms = (m for m, given, output in calls if given is tokens[-1] and output is last)
            tokens = [*map(next(norms, nn.Identity()), tokens[:-1]), last]
        return mean_features([self._split(each, rows, columns) for each in tokens])

    def blocks(self) -> Sequence[nn.Module]:
        """Its layers."""
        return list(self._layers)

    def _only_size(self, trained: int | Sequence[int] | None) -> int | Sequence[int] | None:
        """The size of images that it insists on; None where its positions follow the image.

        Raises:
            UserError: if it answers with other tokens than one for each patch, class token and
                registers first.
        """
        reasons: list[Exception] = []
        for only in (None, trained) if trained else (None,):
            size = only or 2 * self.stride
            height, width = (size, size) if isinstance(size, int) else size
            try:
                with torch.no_grad():
                    self.features(torch.zeros(2, 3, height, width, dtype=self.model.dtype))
                return only
            except (RuntimeError, ValueError, TypeError) as error:
                reasons.append(error)
        raise UserError(
            f'{_PLACE}.model: {type(self.model).__name__} of transformers gives no map of its '
            f'patches ({one_line(reasons[0])[:200]}): take it as a TimmTeacher'
        ) from reasons[0]

    def _split(self, tokens: Tensor, rows: int, columns: int) -> Features:
        """Tokens [B, prefix + rows * columns, C]: class token first, registers, patches."""
        cls = tokens[:, 0] if self._prefix else None
        return Features(cls, tokens[:, self._prefix :].unflatten(1, (rows, columns)))

    def _inputs(self, images: Tensor, rows: int, columns: int) -> dict[str, Any]:
        """Arguments of the network's forward."""
        takes = inspect.signature(self.model.forward).parameters
        given: dict[str, Any] = {'pixel_values': images}
        if 'interpolate_pos_encoding' in takes:
            given['interpolate_pos_encoding'] = True
        batch, device = len(images), images.device
        if 'noise' in takes:  # patches are put in the order of this noise: their own
            given['noise'] = torch.arange(rows * columns, device=device).expand(batch, -1)
        if 'spatial_shapes' in takes:  # SigLIP 2 for images of any shape takes patches, in NHWC
            patches = images.unflatten(3, (columns, -1)).unflatten(2, (rows, -1))
            given['pixel_values'] = patches.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)
            given['pixel_attention_mask'] = torch.ones(
                batch, rows * columns, dtype=torch.int64, device=device
            )
            shape = torch.tensor([[rows, columns]], dtype=torch.int64, device=device)
            given['spatial_shapes'] = shape.expand(batch, -1)
        return given


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise UserError(
            f'{_PLACE}: a HuggingFaceTeacher needs transformers: pip install "transformers>=5"'
        ) from error
    return transformers


def _folder(model: str, weights: bool) -> Path:
    """The folder itself, or where the hub's files of that name lie."""
    path = Path(model).expanduser()
    if path.is_dir():
        return path
    if not re.fullmatch(r'[\w-][\w.-]*/[\w.-]+(@[\w.-]+)?', model) or path.is_absolute():
        raise UserError(f'{_PLACE}.model={model!r} is no folder here, and no owner/name of the hub')
    remedy = (
        f'config.json and preprocessor_config.json too, into one folder, and give '
        f'{_PLACE}.model=FOLDER'
    )
    if weights:
        file = hub_file(model, _WEIGHTS, f'{remedy} (it is no folder here)')
        if file.name.endswith('.index.json'):
            shards = sorted(set(json.loads(file.read_text())['weight_map'].values()))
            for shard in shards:
                hub_file(model, (shard,), remedy)
    folder = hub_file(model, ('config.json',), remedy).parent
    for optional in ('preprocessor_config.json', 'README.md'):
        with suppress(UserError):  # asked for below where it is needed
            hub_file(model, (optional,), remedy)
    return folder


def _vision_config(transformers: Any, folder: Path) -> Any:
    """The config of the tower of images, for eager and dense computing."""
    if not (folder / 'config.json').is_file():
        raise UserError(f'{_PLACE}.model={str(folder)!r} has no config.json: it is no model folder')
    try:
        config = transformers.AutoConfig.from_pretrained(str(folder), local_files_only=True)
    except (ValueError, KeyError, OSError) as error:
        raise UserError(
            f'{_PLACE}.model: transformers {transformers.__version__} cannot read '
            f'{folder / "config.json"}: {one_line(error)[:200]}'
        ) from error
    config = getattr(config, 'vision_config', config)
    if getattr(config, 'quantization_config', None):
        raise UserError(f'{_PLACE}.model={str(folder)!r} is quantised: take the full weights')
    for name, value in (('mask_ratio', 0.0), ('vision_use_head', False)):
        if hasattr(config, name):
            setattr(config, name, value)
    return config


def _filled(kind: type, config: Any, shorter: Any, weights: Weights) -> nn.Module:
    """A network with a file's weights, by transformers' own renaming; every name accounted for."""
    with silent():  # what is off is said below
        try:
            network, info = kind.from_pretrained(  # type: ignore[attr-defined]
                None,
                config=shorter,
                state_dict=dict(weights.state),
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # they are refused below, by name
            )
        except (RuntimeError, ValueError) as error:
            raise CheckpointError(
                f'{weights.name} cannot serve as teacher: it is {describe(weights.state)}; '
                f'transformers: {one_line(error)[:200]}'
            ) from error
    built, place = shorter.num_hidden_layers, _layers_name(network, shorter.num_hidden_layers)
    later = (f'{place}.{number}.*' for number in range(built, config.num_hidden_layers))
    ignored = (*_NEVER_RUN, *later)
    fit = Fit(
        loaded=(),
        random=(),
        missing=tuple(sorted(n for n in info['missing_keys'] if not fits(n, _NEVER_RUN))),
        extra=tuple(sorted(n for n in info['unexpected_keys'] if not fits(n, ignored))),
        wrong=tuple(sorted(str(m[0]) for m in info['mismatched_keys'])),
    )
    if problems := fit.problems():
        raise CheckpointError(
            f'{weights.name} cannot serve as teacher {config.model_type}: it is '
            f'{describe(weights.state)}; parameters: {problems}. Give the folder as it '
            'was published'
        )
    if broken := defects(network.state_dict()):
        raise CheckpointError(
            f'{weights.name} cannot serve as teacher: broken tensors ({some(broken)}); fetch the '
            'file again'
        )
    return network


def _layers_name(network: nn.Module, number: int) -> str:
    lists = [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.ModuleList)
        and len(module) == number
        and name.rpartition('.')[2] in ('layer', 'layers', 'blocks')
    ]
    if not lists:
        raise UserError(
            f'{_PLACE}.model: {type(network).__name__} has no list of {number} layers, so it gives '
            'no features by block: take it as a TimmTeacher'
        )
    return min(lists, key=len)


@contextmanager
def _calls(modules: Iterable[Any]) -> Iterator[list[tuple[Any, Any, Any]]]:
    """Modules that are called, each with its first input and its first output."""
    calls = []

    def keep(module: nn.Module, args: tuple, output: Any) -> None:
        first = output[0] if isinstance(output, (tuple, list)) else output
        calls.append((module, args[0] if args else None, first))

    handles = [module.register_forward_hook(keep) for module in modules]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def _pixels(
    folder: Path, model: str, mean: Sequence[float] | None, std: Sequence[float] | None
) -> Pixels:
    """How the folder's own preprocessing normalises."""
    known = _json(folder / 'preprocessor_config.json')
    if not known:
        known = _json(folder / 'processor_config.json').get('image_processor') or {}
    if known and not (mean and std):
        factor = known.get('rescale_factor', 1 / 255)
        if abs(factor - 1 / 255) > 1e-6 or not known.get('do_rescale', True):
            raise UserError(
                f'{_PLACE}.model={model!r} scales pixels by {factor}, not by 1/255: give '
                f'{_PLACE}.mean and {_PLACE}.std for values of 0 to 1'
            )
        if not known.get('do_normalize', True):
            known = {'image_mean': (0.0, 0.0, 0.0), 'image_std': (1.0, 1.0, 1.0)}
    mean, std = mean or known.get('image_mean'), std or known.get('image_std')
    if not mean or not std:
        raise UserError(
            f'{_PLACE}.model={model!r} has no preprocessor_config.json with image_mean and '
            f'image_std: put it into the folder, or give {_PLACE}.mean and {_PLACE}.std'
        )
    return Pixels.of_fractions(mean, std)


def _json(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except ValueError as error:
        raise UserError(f'{path} is no JSON ({error}): fetch it again') from error
    return content if isinstance(content, dict) else {}


def _card_licence(folder: Path) -> str | None:
    """The licence that a model card's header names."""
    card = folder / 'README.md'
    if not card.is_file():
        return None
    text = card.read_text(encoding='utf-8-sig', errors='replace')
    header = re.match(r'\s*---\n(.*?)\n---\n', f'{text}\n', re.DOTALL)
    try:
        found = yaml.safe_load(header[1]) if header else None
    except (ValueError, yaml.YAMLError):  # a header of another kind says nothing
        return None
    found = found if isinstance(found, dict) else {}
    named = found.get('license_name') if found.get('license') == 'other' else None
    said = named or found.get('license')
    return said if isinstance(said, str) else None
