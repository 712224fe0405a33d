"""Build a student's network from its record, which may be untrusted, and fill it."""

from __future__ import annotations

import contextlib
import copy
import importlib
import re
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import mmengine.registry.registry as registries
from mmengine.config import ConfigDict
from mmengine.registry import MODELS, TASK_UTILS, TRANSFORMS, Registry
from torch import Tensor, nn
from torch.nn.modules import module as torch_modules

from ..agreement.inputs import reading
from ..checkpoints import CheckpointError, Weights, read_weights
from ..checkpoints.fill import fill
from ..checkpoints.record import Record, restore
from ..config.parts import without_sources
from ..devices import on_meta_device
from ..errors import UserError
from ..tasks import scopes
from ..text import printable

#: The scope of the registries, and what is changed in them and in torch below, are the process's,
#: and not a thread's: networks and pipelines are built one after the other.
BUILDING = threading.RLock()


def build_student(
    network: Record,
    checkpoint: str,
    purpose: str,
    *,
    trusted: bool = False,
    untrained: bool = False,
) -> nn.Module:
    """A record's network in eval mode, filled with a student's weights.

    Args:
        network: see :func:`~g2sd_mm.checkpoints.record.describe_network`.
        checkpoint: ``weights.pth``, a training checkpoint, or a published file.
        purpose: what the network is, e.g. its config's path, for messages.
        trusted: the record was made from a config here; else it was read from a file, and is
            checked (see :mod:`~g2sd_mm.students.build`).
        untrained: see :func:`~g2sd_mm.checkpoints.fill.fill`.

    Raises:
        UserError: if a record that was read asks for something that is no registered layer.
        CheckpointError: if the file does not fit.
    """
    model = _build(network, checkpoint, trusted)
    fill(model, checkpoint, 'student', purpose, untrained=untrained)
    model.eval()
    return model


def network_names(network: Record, checkpoint: str, *, trusted: bool = False) -> list[str]:
    """Names of the state dict that a record's network has; see :func:`build_student`."""
    return list(_build(network, checkpoint, trusted).state_dict())


def _build(network: Record, checkpoint: str, trusted: bool) -> nn.Module:
    cfg = ConfigDict(without_sources(restore(network['model'])), _scope_=network['scope'])
    if trusted:
        return MODELS.build(cfg)
    weights = read_weights(checkpoint, mmap=True)
    check_network(network, weights)
    with registered_only():
        # one that is too large is noticed before it takes memory; some networks compute while they
        # are built, which ends this early
        with no_larger_than(weights), on_meta_device(), contextlib.suppress(RuntimeError):
            MODELS.build(copy.deepcopy(cfg))  # detectors of the DETR family change their config
        with no_larger_than(weights):
            return MODELS.build(cfg)


# The JSON beside weights is data, which anybody may have written. Libraries build a network from a
# config as from a program: they import modules by name, read configs and weights, fetch models.
# Here a description can name registered layers and nothing that opens files, and it can be no
# larger than the weights that it stands beside.

#: A registered name, with or without its library. Registries take any other text for the address
#: of something to import and call.
_REGISTERED = re.compile(rf'((mmengine|mmcv|{"|".join(scopes())})\.)?\w+')
#: A text that may name a file, a folder or an address; 768/32 is a ConvMixer.
_PLACE = re.compile(r'^(?!\d+/\d+$)(.*[/\\]|.*\.[A-Za-z]\w*$|~)', re.DOTALL)
#: Modules whose classes open files or addresses by name, run a config, or fetch a model.
_OPENING = (
    'transformers',
    'mmpretrain.models.classifiers.hugging_face',
    'mmpretrain.models.multimodal',
    'mmpretrain.models.retrievers',
    'mmpretrain.models.selfsup.milan',
    'mmpretrain.models.utils.huggingface',
    'mmpretrain.models.utils.tokenizer',
    'mmpretrain.models.utils.vector_quantizer',
    'mmdet.models.dense_heads.atss_vlfusion_head',
    'mmdet.models.detectors.glip',
    'mmdet.models.detectors.grounding_dino',
    'mmdet.models.detectors.kd_one_stage',
    'mmdet.models.detectors.lad',
    'mmdet.models.detectors.semi_base',
    'mmdet.models.detectors.soft_teacher',
    'mmdet.models.language_models',
    'mmdet.models.mot',
    'mmdet.models.reid',
    'mmdet.models.task_modules.tracking',
    'mmdet.models.trackers',
    'mmdet.models.vis',
    'mmdet.datasets.transforms.loading',
    'mmdet.datasets.transforms.text_transformers',
    'mmseg.datasets.transforms.loading',
    'mmseg.models.backbones.vpd',
    'mmseg.models.text_encoder',
    'mmcv.transforms.loading',
    'g2sd_mm.datasets.depth',
)
#: mmcv evaluates the name of this operation.
_NMS = ('nms', 'soft_nms')
#: Highest number in a description, unless the weights have a longer side: images, channels, boxes.
_LARGEST = 2**14
_BUFFERS = 2**26  # values that are computed and not in the file
_MADE_ANEW = 2**25  # values of layers that others replace: mmpretrain's RegNet is a ResNet-50 first


def check_network(network: Record, weights: Weights | None = None) -> None:
    """See that a description names registered layers, no places, and numbers that make sense.

    Args:
        network: see :func:`~g2sd_mm.checkpoints.record.describe_network`.
        weights: the file that it describes; a number may be as large as its longest side.

    Raises:
        UserError: for a library, a component, an import, a text or a number that does not belong.
    """
    sides = [side for t in (weights.state.values() if weights else ()) for side in t.shape]
    largest = max([_LARGEST, *sides])
    for step in network['test_pipeline']:
        if not isinstance(step, Mapping) or not isinstance(step.get('type'), str):
            raise UserError(f'the record of a student has a step {step!r:.60}, which has no type')
    for key, value in _entries({n: network[n] for n in ('scope', 'model', 'test_pipeline')}):
        _check_entry(key, value, largest)
    for module in network['imports']:
        _check_import(module)
    # the reading of the file is ours
    entries = list(_entries([network['model'], reading(network['test_pipeline'])[1]]))
    moves = any(key == '_scope_' for key, _ in entries)
    for key, name in entries:
        if key == 'type':
            _check_home(str(name), network['scope'], moves)


def _check_entry(key: str, value: Any, largest: int) -> None:
    if key in ('scope', '_scope_') and value not in scopes():
        raise UserError(
            f'the record of a student has the scope {value!r}, expected {", ".join(scopes())}'
        )
    if key == 'type':
        if not isinstance(value, str) or not _REGISTERED.fullmatch(value):
            raise UserError(f'the record of a student names {value!r}, which is no component')
    elif isinstance(value, str) and _PLACE.search(value):
        raise UserError(
            f'the record of a student has {key}={value!r:.80}, which may name a file: a network '
            'is described without files; give the config'
        )
    elif _may_be_size(key, value) and abs(value) > largest and float(value).is_integer():
        raise UserError(
            f'the record of a student has {key}={value}, more than {largest}: no network that '
            'these weights fill has such a size; give the config'
        )
    if key == 'nms' and isinstance(value, Mapping) and value.get('type', 'nms') not in _NMS:
        raise UserError(
            f'the record of a student has nms.type={value["type"]!r}, expected {", ".join(_NMS)}'
        )


def _may_be_size(key: str, value: Any) -> bool:
    """Whether a number may become a size.

    Neither are the ranges of FCOS, that end at 1e8, the 30,000 boxes that RTMDet keeps, nor the
    131,072 pixels that PIDNet learns from.
    """
    return isinstance(value, (int, float)) and key not in ('regress_ranges', 'nms_pre', 'min_kept')


def _check_import(module: Any) -> None:
    if not isinstance(module, str) or not re.fullmatch(r'\w+(\.\w+)*', module):
        raise UserError(f'the record of a student imports {module!r}, which is no module')
    if module.split('.')[0] == 'g2sd_mm':
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise UserError(f'the student needs {module}, which this version lacks') from error
    elif module in [f'{library}.models' for library in scopes()]:
        importlib.import_module(module)  # of a network that takes parts of another library
    elif module not in sys.modules:
        raise UserError(
            f'the student needs {module}: if you trust it, import {module} before loading, or '
            'give the config'
        )


def _check_home(name: str, scope: str, moves: bool) -> None:
    """Refuse a class that opens files by name.

    A library's own class goes before those of others with the same name, unless the description
    ``moves`` between libraries by itself. Else a name may be found anywhere.
    """
    prefix, _, short = name.rpartition('.')
    library = prefix or scope
    _registered(library)
    roots = (MODELS, TASK_UTILS, TRANSFORMS)
    own = [root.children[library] for root in roots if library in root.children]
    found = [registry.module_dict.get(short) for registry in own]
    if moves or not any(found):
        registries = [r for root in roots for r in (root, *root.children.values())]
        found = [registry.module_dict.get(short) for registry in registries]
    for home in (getattr(component, '__module__', '') or '' for component in found):
        if any(home == part or home.startswith(f'{part}.') for part in _OPENING):
            raise UserError(
                f'the record of a student names {name}, which opens files by name: give the config'
            )


def _registered(scope: str) -> None:
    """Have a library register its components, as it would when the first of them is built."""
    library = importlib.import_module(f'{scope}.registry') if scope in scopes() else None
    for registry in vars(library).values() if library else ():
        if isinstance(registry, Registry):
            registry.import_from_location()


def _entries(value: Any, key: str = '') -> Iterator[tuple[str, Any]]:
    """All values of nested dicts and lists, under the nearest key above them."""
    if isinstance(value, Mapping) and set(value) == {'tuple'}:
        yield from _entries(value['tuple'], key)
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield name, item
            yield from _entries(item, name)
    elif isinstance(value, (list, tuple)):
        for item in value:
            if not isinstance(item, (Mapping, list, tuple)):
                yield key, item
            yield from _entries(item, key)


@contextmanager
def registered_only() -> Iterator[None]:
    """Registries do not import what they do not know while this is open."""
    found: Any = registries
    import_by_name = found.get_object_from_string
    found.get_object_from_string = lambda name: None
    try:
        yield
    finally:
        found.get_object_from_string = import_by_name


@contextmanager
def no_larger_than(weights: Weights) -> Iterator[None]:
    """Networks that are built in this block may have as many values as a file, and few more.

    Raises:
        CheckpointError: as soon as one has more.
    """
    values = sum(tensor.numel() for tensor in weights.state.values())
    # libraries make some layers anew while they build, and a tensor can have two names
    most = {
        'parameters': 3 * len(weights.state) + 100,
        'values': 3 * values + _MADE_ANEW,
        'computed values': 3 * values + _BUFFERS,
    }
    counted = dict.fromkeys(most, 0)

    def count(name: str, number: int) -> None:
        counted[name] += number
        if counted[name] > most[name]:
            raise CheckpointError(
                f'{printable(weights.name)} is described as a network of more than {most[name]} '
                f'{name}, and has {len(weights.state)} tensors of {values} values: the '
                'description is of another file; give the config'
            )

    def parameter(module: Any, name: str, tensor: Tensor | None) -> None:
        if tensor is not None:
            count('parameters', 1)
            count('values', tensor.numel())

    def buffer(module: Any, name: str, tensor: Tensor | None) -> None:
        if tensor is not None:
            count('computed values', tensor.numel())

    hooks = (
        torch_modules.register_module_parameter_registration_hook(parameter),
        torch_modules.register_module_buffer_registration_hook(buffer),
    )
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
