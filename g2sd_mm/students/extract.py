"""Take the student out of a training checkpoint: plain weights and their description."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ..agreement.inputs import inputs_of
from ..agreement.weights import reconcile, say
from ..checkpoints import Kind, Weights, encoder_state, identify, read_weights
from ..checkpoints.convert import convert_state, state_for
from ..checkpoints.identify import TRAINED
from ..checkpoints.read import Which, below
from ..checkpoints.record import (
    Record,
    describe_network,
    describe_origin,
    known_record,
    own_record,
    parameters_in,
    refuse_taken,
    sidecar_path,
    write_sidecar,
)
from ..checkpoints.write import write_layout, write_weights
from ..config.load import load_config
from ..errors import UserError
from ..whole_files import tried_first
from .build import build_student, network_names
from .load import refuse_options

_PRETRAINING = (Kind.STAGE1_RUN, Kind.MAE_RUN)
#: What a training checkpoint knows of its run.
_PROGRESS = ('experiment_name', 'epoch', 'iter', 'seed')


@dataclass(frozen=True)
class Extracted:
    """What was written.

    Attributes:
        path: weights.
        sidecar: the JSON beside them.
        tensors: how many there are.
        left_behind: names of the checkpoint that are not the student's: adapters, predictors.
        network: the record of the network; None for a pre-trained encoder.
    """

    path: Path
    sidecar: Path
    tensors: int
    left_behind: tuple[str, ...]
    network: Record | None


def extract_student(
    checkpoint: str | Path,
    path: str | Path,
    layout: str = 'ours',
    config: str | None = None,
    options: Mapping[str, Any] | None = None,
    which: Which | None = None,
) -> Extracted:
    """Write the student of a checkpoint, of stage 1 its encoder, and its sidecar.

    Args:
        checkpoint: of a run of this project, a weights file of one, or a published file.
        path: ``.pth`` or ``.safetensors``; its folder is made.
        layout: ``ours`` for mmpretrain, mmdet and mmseg with our backbones
            (``custom_imports``), or another library's, see
            :data:`~g2sd_mm.checkpoints.layouts.LAYOUTS`.
        config: config of the run; None for what the checkpoint says of itself.
        options: changes to it, as ``--cfg-options``.
        which: of a checkpoint with raw and averaged (EMA) weights, ``raw`` or ``ema``.

    Raises:
        UserError: if nothing says which student it is.
        CheckpointError: if the weights do not fill the student, or the layout cannot hold them.
    """
    checkpoint, path = Path(checkpoint), Path(path)
    weights = read_weights(checkpoint, mmap=True, which=which)
    refuse_taken(path, (checkpoint, *weights.files))
    if config is None:
        refuse_options(options)
        record = _known_record(weights, checkpoint)
    else:
        record = _record_of(weights, config, options)
    state = _student_state(weights, record['network'], config is not None)
    meta = {'g2sd_mm': record['origin'].get('g2sd_mm'), 'extracted_from': checkpoint.name}
    if weights.meta.get('grid'):
        meta['grid'] = weights.meta['grid']
    if layout == 'ours' and path.suffix not in ('.pth', '.safetensors'):
        raise UserError(f'{path}: a student is written to .pth or .safetensors')
    path.parent.mkdir(parents=True, exist_ok=True)
    with tried_first(path) as new:
        if layout != 'ours':
            write_layout(new, convert_state(state, to=layout), meta)
        else:
            known = {'student': record} if path.suffix == '.pth' else {}
            write_weights(new, state, {**meta, **known})
        if record['network'] is not None:
            # does it fill it?
            trusted = config is not None
            build_student(record['network'], str(new), 'the student', trusted=trusted)
    record = {**record, 'layout': layout}
    sidecar = write_sidecar(path, record, parameters_in(state), extracted_from=checkpoint)
    left_behind = _left_behind(weights, state)
    return Extracted(path, sidecar, len(state), left_behind, record['network'])


def _student_state(
    weights: Weights, network: Record | None, trusted: bool
) -> dict[str, Tensor]:
    if identify(weights.state) in _PRETRAINING:
        return encoder_state(weights)
    if identify(weights.state) is Kind.FEATURE_RUN:
        return below(weights.state, TRAINED[Kind.FEATURE_RUN])
    if network is None or own_record(weights) is not None:
        return state_for(weights)
    return state_for(weights, network_names(network, weights.path, trusted=trusted))


def _left_behind(weights: Weights, state: Mapping[str, Tensor]) -> tuple[str, ...]:
    kind = identify(weights.state)
    if kind in _PRETRAINING:
        return tuple(name for name in weights.state if name.partition('.')[2] not in state)
    prefix = TRAINED.get(kind, '')
    return tuple(name for name in weights.state if not name.startswith(prefix))


def _known_record(weights: Weights, checkpoint: Path) -> Record:
    if isinstance(several := weights.meta.get('students'), Mapping):
        raise UserError(
            f'{checkpoint} has several students, {", ".join(several)}: its run writes each to '
            'NAME/weights.pth of its work dir when it ends; finish it with --resume'
        )
    record = known_record(checkpoint)
    if record is None:
        raise UserError(
            f'nothing says which student is in {weights.name} (no {sidecar_path(checkpoint).name} '
            'beside it): give the config of its run with --config'
        )
    return record


def _record_of(weights: Weights, config: str, options: Mapping[str, Any] | None) -> Record:
    cfg = load_config(config, dict(options or {}))
    network, inputs = describe_network(cfg), inputs_of(cfg)
    if network is not None:
        agreement = reconcile(cfg, weights.path, config)
        say(agreement.notes)
        network, inputs = describe_network(cfg, agreement.classes), agreement.inputs
    progress = {key: weights.meta[key] for key in _PROGRESS if key in weights.meta}
    origin = describe_origin(cfg, metrics={}, **progress)
    return {'network': network, 'inputs': inputs.plain(), 'origin': origin}
