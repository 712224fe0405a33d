"""What a weights file, or the JSON beside it, says of the classes and images it was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..checkpoints import read_weights
from ..checkpoints.sidecar import read_sidecar, sidecar_path
from ..errors import UserError
from .inputs import Inputs, read_inputs
from .names import Names, clean_names


@dataclass(frozen=True)
class Recorded:
    """The facts; empty where nothing is known.

    source: what says so, for messages.
    classes: names by number.
    inputs: the images.
    notes: lines for the log.
    """

    source: str = ''
    classes: Names = ()
    inputs: Inputs = field(default_factory=Inputs)
    notes: tuple[str, ...] = ()


def recorded(checkpoint: str | Path) -> Recorded:
    """Facts from the JSON beside a file, from our own record in it, or from mmengine's.

    Args:
        checkpoint: file or folder of any layout; that it can be read is not asked here.
    """
    path, notes = Path(checkpoint).expanduser(), []
    if not path.is_file():
        return Recorded()
    try:
        record = read_sidecar(path)
    except UserError as error:
        record = None
        notes.append(f'{error}; what it says of the classes is not used')
    if record is not None:
        return of_record(record, str(sidecar_path(path)))
    meta = read_weights(path, mmap=True).meta
    student = meta.get('student')
    if isinstance(student, Mapping):
        return of_record(student, str(path), tuple(notes))
    known = meta.get('dataset_meta')
    classes = known.get('classes') if isinstance(known, Mapping) else meta.get('CLASSES')
    return Recorded(str(path), clean_names(classes), notes=tuple(notes))


def of_record(record: Mapping[str, Any], source: str, notes: tuple[str, ...] = ()) -> Recorded:
    """Facts of a record, see :mod:`g2sd_mm.checkpoints.record`; older ones have no ``inputs``."""
    network = record.get('network')
    network = network if isinstance(network, Mapping) else {}
    inputs = read_inputs(record.get('inputs') or _inputs_of_network(network))
    return Recorded(source, clean_names(network.get('classes')), inputs, notes)


def _inputs_of_network(network: Mapping[str, Any]) -> Any:
    from ..checkpoints.record import restore
    from .inputs import inputs_of

    model = network.get('model')
    if not isinstance(model, Mapping):
        return {}
    cfg = {
        'model': restore(model),
        'default_scope': network.get('scope'),
        'test_dataloader': {'dataset': {'pipeline': restore(network.get('test_pipeline') or [])}},
    }
    return inputs_of(cfg).plain()
