"""Load a student from what a run or ``tools/checkpoint.py extract`` leaves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from .. import datasets, models  # noqa: F401, a student is built of them
from ..agreement.data import BY_POSITION, comparable, difference
from ..agreement.inputs import inputs_of, pixels, unlike
from ..agreement.weights import of_record, reconcile, reconcile_data, say
from ..checkpoints import CheckpointError, read_weights
from ..checkpoints.record import describe_network, known_record, sidecar_path
from ..config.boxes_alone import has_mask_head, leave_mask_head_out, read_boxes_alone
from ..config.load import load_config
from ..config.parts import LOADERS, sync_batch_norm
from ..devices import usable_device
from ..errors import UserError
from ..models.positions import height_and_width
from ..text import one_line
from .build import BUILDING, build_student
from .student import Student

_ENDINGS = ('.pth', '.safetensors')
_BOX_HEADS = ('bbox_head', 'box_head')


def load_student(
    source: str | Path,
    config: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
    device: str = 'cpu',
) -> Student:
    """Load a trained student of any of the three tasks.

    Args:
        source: a weights file (``.pth``, ``.safetensors``), or a folder with one: a run's work dir
            (``weights.pth``, the last ones) or the target of ``extract``. A training checkpoint and
            a published file will do too.
        config: config file to build it from; without one, what the JSON beside the file says, or
            what the training checkpoint itself says.
        options: changes to ``config``, dotted key -> value, as ``--cfg-options``.
        device: where it goes.

    Returns:
        an ``nn.Module`` in eval mode, float32, see :class:`~g2sd_mm.students.student.Student`.

    Raises:
        UserError: if there is no such file, nothing says what network it is, or the file is a
            pre-trained encoder, which predicts nothing; if there is no such device; for options
            without a config.
        CheckpointError: if the weights do not fit the network, or the file cannot be read.
    """
    path, device = weights_file(source), usable_device(device)
    with BUILDING:
        return _load(path, config, options).to(device)


def _load(path: Path, config: str | Path | None, options: Mapping[str, Any] | None) -> Student:
    if config is not None:
        cfg = load_config(str(config), dict(options or {}))
        return student_of(cfg, str(path), str(config))
    refuse_options(options)
    record = known_record(path)
    if record is None:
        raise UserError(
            f'nothing says what network {path} is for (no {sidecar_path(path).name} beside it): '
            'give the config that it was trained with'
        )
    network = record['network']
    if network is None:
        raise UserError(
            f'{path} is a pre-trained encoder, which predicts nothing: fine-tune it with '
            'model.backbone.init_cfg.checkpoint'
        )
    try:
        model = build_student(network, str(path), path.name)
        return Student(model, network, record['origin'], of_record(record, path.name).inputs)
    except (UserError, CheckpointError, OSError, MemoryError):
        raise
    except Exception as error:  # values that make no network can make a library raise anything
        raise UserError(
            f'{path} is described as a network that cannot be built ({type(error).__name__}: '
            f'{one_line(error)}); give the config'
        ) from error


def refuse_options(options: Mapping[str, Any] | None) -> None:
    """Of a student that is built without a config there is none that they could change.

    Raises:
        UserError: if there are any.
    """
    if options:
        raise UserError(f'{", ".join(options)}: options change a config, so give --config too')


def student_of(cfg: Config, checkpoint: str, name: str) -> Student:
    """The student of a loaded config, filled; ``name`` is the config's, for messages.

    Raises:
        UserError: if the config trains no task, or contradicts what the weights say of themselves.
        CheckpointError: if the weights do not fit.
    """
    sync_batch_norm(cfg, 'none')
    fit_to_weights(cfg, checkpoint)
    if describe_network(cfg) is None:
        tested = cfg.get('test_dataloader')  # image retrieval, visual questions, ...
        raise UserError(
            f'{name} predicts nothing: '
            + (f'{cfg.model.type} is of no task here' if tested else 'it is a pre-training config')
        )
    agreement = reconcile(cfg, checkpoint, name)
    say(agreement.notes)
    network = describe_network(cfg, agreement.classes)
    assert network is not None
    model = build_student(network, checkpoint, name, trusted=True)
    return Student(model, network, inputs=agreement.inputs)


def fit_to_weights(cfg: Config, checkpoint: str | Path) -> None:
    """Leave the mask head out of a config of any task, in place, if its weights have none."""
    if not has_mask_head(cfg) or not Path(checkpoint).is_file():
        return  # a missing file is named where it is read
    names = read_weights(checkpoint, mmap=True).state
    parts = {part for name in names for part in name.split('.')}
    if parts.intersection(_BOX_HEADS) and 'mask_head' not in parts:
        leave_mask_head_out(cfg)
        read_boxes_alone(cfg)


def weights_file(source: str | Path) -> Path:
    """The weights file meant by a path: itself, or the one in a folder.

    Raises:
        UserError: if there is none, or several of which none is called ``weights``.
    """
    path = Path(source).expanduser()
    if path.is_file():
        return path
    if not path.is_dir():
        raise UserError(f'no weights file or folder {source}')
    found = sorted(p for p in path.iterdir() if p.suffix in _ENDINGS)
    described = [p for p in found if sidecar_path(p).is_file()] or found
    last = [p for p in described if p.stem == 'weights'] or described
    if len(last) != 1:
        names = ', '.join(p.name for p in last) or f'no {" or ".join(_ENDINGS)} file'
        raise UserError(f'{source} has {names}: give one weights file')
    return last[0]


def agree_on_test_data(
    students: Mapping[str, Student],
    cfg: Config,
    name: str,
    size: int | tuple[int, int] | None = None,
) -> None:
    """Fit the labels of a config's test data to the classes of students, in place.

    Args:
        students: by name; each is compared with the first.
        cfg, name: the config, and how it is called in messages.
        size: of the only images that can be taken; None for any.

    Raises:
        UserError: if classes, normalisation or size differ.
    """
    (first, reference), *others = students.items()
    here = inputs_of(cfg)
    for called, student in others:
        if reference.classes != student.classes and comparable(reference.classes, student.classes):
            differs = difference(reference.classes, student.classes, (first, called))
            if not cfg.get(BY_POSITION):
                raise UserError(
                    f'{differs}. Networks of other classes cannot be compared; if only the names '
                    f'differ, --cfg-options {BY_POSITION}=True'
                )
        if {reference.channels, student.channels} == {'RGB', 'BGR'}:
            raise UserError(
                f'{first} sees {reference.channels} images and {called} {student.channels}: they '
                'cannot be asked about the same ones'
            )
    for called, student in students.items():
        if student.task == 'classification' and (differs := unlike(student.inputs, here)):
            raise UserError(f'{called} and {name} prepare images differently ({differs})')
    taken = height_and_width(size) if size else None
    if taken and here.size and here.size != taken:
        height, width = here.size
        option = f'{height}' if height == width else f'{height}x{width} (height x width)'
        raise UserError(
            f'{name} gives images of {pixels(here.size)}, and the exported file takes '
            f'{pixels(taken)}: export it with --size {option}, or give other test data'
        )
    say(reconcile_data(cfg, reference.classes, first, (LOADERS[2],)).notes)
