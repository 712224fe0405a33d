"""What is written down about a student, in and beside its weights: which network, from where.

A record has three parts of plain values. ``network`` is what the student's own library builds it
from, without anything that only training needs; it is None for a pre-trained encoder, which is no
task's network. ``inputs`` are the images that it was trained on: size, normalisation, order of the
channels (:class:`g2sd_mm.agreement.inputs.Inputs`). ``origin`` names the config, the commit, the
data, the teacher, the metrics.

JSON has no tuples, and the libraries tell them from lists: a record has ``{"tuple": [...]}``.

It is in ``meta`` of ``weights.pth``, and in the JSON beside it, ``weights.json``::

    {"format": 1,
     "weights": {"file": "weights.pth", "sha256": "...", "parameters": 22050664},
     "network": {"task": "classification", "scope": "mmpretrain", "model": {...}, ...},
     "inputs": {"size": [224, 224], "mean": [...], "std": [...], "channels": "RGB"},
     "origin": {"config": "...", "dataset": {...}, "teacher": {...}, "metrics": {...}, ...}}
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.registry import MODELS, TASK_UTILS, TRANSFORMS
from torch import Tensor

from ..config.parts import (
    SOURCES,
    SYNCHRONISED,
    encoder_start,
    innermost_dataset,
    innermost_datasets,
    named_imports,
    named_teachers,
)
from ..errors import UserError
from ..provenance import digest_if_there, file_digest, git_commit
from ..tasks import scopes, task_of
from ..version import __version__
from ..whole_files import write_text
from .read import Weights, read_weights

Record = dict[str, Any]

_NETWORK = dict(task=str, scope=str, imports=list, model=dict, test_pipeline=list, classes=list)
#: Packages whose parts need no module of somebody's own.
_LIBRARIES = ('g2sd_mm.', 'mmengine.', 'mmcv.', 'timm.', 'torch.', 'torchvision.',
              *(f'{scope}.' for scope in scopes()))  # fmt: skip


def describe_network(cfg: Mapping[str, Any], classes: Sequence[str] = ()) -> Record | None:
    """The student of a config as its library builds it; None if the config trains no task.

    Args:
        cfg: an mmengine config, distilled or not, as written or as ``distill_config`` made it.
        classes: names of the classes by number.
    """
    model = cfg.get('model') or {}
    distilled = model.get('type') == 'SpecificDistiller'
    student = dict(model['student'] if distilled else model)
    scope = student.pop('_scope_', None) or cfg.get('default_scope')
    loader = cfg.get('test_dataloader') or cfg.get('val_dataloader')
    task = task_of(scope, student)
    if 'backbone' not in student or task is None or not loader:
        return None
    if cfg.get('data_preprocessor'):
        student.setdefault('data_preprocessor', cfg['data_preprocessor'])
    student['train_cfg'] = None
    steps = innermost_dataset(loader['dataset']).get('pipeline') or ()
    imports = named_imports(cfg)
    parts = {
        'model': _plain(student),
        'test_pipeline': [_plain(step) for step in steps if 'Annotations' not in str(step['type'])],
    }
    if not _has_own_parts(parts):
        # what else is imported is for training: losses, teachers, hooks
        imports = [module for module in imports if f'{module}.'.startswith(_LIBRARIES)]
    return {
        'task': task.name, 'scope': scope, 'imports': imports, **parts, 'classes': list(classes)
    }  # fmt: skip


def _has_own_parts(parts: Record) -> bool:
    """Whether a description has the name of a part that somebody registered."""
    text = json.dumps(parts)
    roots = (MODELS, TASK_UTILS, TRANSFORMS)
    registries = [registry for root in roots for registry in (root, *root.children.values())]
    known = [item for registry in registries for item in registry.module_dict.items()]
    own = [name for name, part in known if not f'{part.__module__}.'.startswith(_LIBRARIES)]
    return any(f'{name}"' in text for name in own)


def describe_origin(cfg: Mapping[str, Any], **known: Any) -> Record:
    """Config, data, teacher and initial weights of a run, with the digests of the files.

    Args:
        cfg: as in :func:`describe_network`.
        known: what else is known: metrics, epoch, seed, ...
    """
    return {
        'g2sd_mm': __version__,
        'commit': git_commit(),
        'config': _from_here(getattr(cfg, 'filename', None)),
        'dataset': describe_data(cfg),
        **_teachers(cfg),
        'initialised_from': _file(encoder_start(cfg)),
        **known,
    }


def check_record(record: Any, place: str) -> Record:
    """A record that was read from a ``place``, if it has the parts of one.

    Raises:
        UserError: naming what is wrong. What the values make is for the library to say that builds
            the network.
    """
    network, problem = None, 'format, network, origin'
    if isinstance(record, Mapping) and isinstance(record.get('origin'), Mapping):
        network, problem = record.get('network'), ''
    if isinstance(network, Mapping):
        kinds = _NETWORK.items()
        problem = ', '.join(key for key, kind in kinds if not isinstance(network.get(key), kind))
    elif network is not None:
        problem = 'network'
    if problem:
        raise UserError(
            f'{place} does not describe a student ({problem}); put back the file as it '
            'was written, or give the config'
        )
    return dict(record)


def describe_data(cfg: Mapping[str, Any]) -> Record | None:
    """Kind, folder and annotations of the training data; None if a config has none."""
    dataset = (cfg.get('train_dataloader') or {}).get('dataset')
    if not dataset:
        return None
    keys = ('type', 'data_root', 'ann_file')
    described = [
        {key: part[key] for key in keys if isinstance(part.get(key), str)}
        for part in innermost_datasets(dataset)
    ]
    if len(described) == 1:
        return described[0]
    return {'type': str(dataset.get('type')), 'datasets': described}


def _teachers(cfg: Mapping[str, Any]) -> Record:
    """``teacher``, None if there is none; of several ``teachers`` by name."""
    described = {name: _teacher(teacher) for name, teacher in named_teachers(cfg).items()}
    only = described.pop('', None)
    return {'teacher': only, **({'teachers': described} if described else {})}


def _teacher(teacher: Mapping[str, Any]) -> Record:
    config = teacher.get('config')
    named = {'config': config} if isinstance(config, str) else {}
    return {**named, **(_file(teacher.get('checkpoint')) or {'file': None})}


def _file(path: str | None) -> Record | None:
    return {'file': path, 'sha256': digest_if_there(path)} if path else None


def _from_here(path: str | None) -> str | None:
    """``path`` relative to the working folder if it lies below, as a person would type it."""
    if path and Path(path).is_relative_to(Path.cwd()):
        return str(Path(path).relative_to(Path.cwd()))
    return path


def _plain(value: Any) -> Any:
    """Config values for JSON; what only training needs is left out.

    Synchronised batch norm becomes plain: the same parameters, and it runs in one process.
    """
    if isinstance(value, Mapping):
        plain = {str(key): _plain(item) for key, item in value.items() if key not in SOURCES}
        return {**plain, 'type': 'BN'} if plain.get('type') in SYNCHRONISED else plain
    if isinstance(value, tuple):
        return {'tuple': [_plain(item) for item in value]}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    return getattr(value, '__name__', None) or str(value)  # a class: registries know its name


def restore(value: Any) -> Any:
    """Values of a sidecar as the libraries take them: tuples are tuples again."""
    if isinstance(value, Mapping):
        if set(value) == {'tuple'}:
            return tuple(restore(item) for item in value['tuple'])
        return {key: restore(item) for key, item in value.items()}
    return [restore(item) for item in value] if isinstance(value, list) else value


#: Of the JSON beside weights.
FORMAT = 1


def sidecar_path(weights: str | Path) -> Path:
    """``weights.json`` for ``weights.pth``."""
    return Path(weights).with_suffix('.json')


def refuse_taken(target: str | Path, sources: Iterable[str | Path]) -> None:
    """Refuse to write weights to a place where another file would be lost, also when asked to.

    Args:
        target: the weights file to write. The JSON beside it has its name with another ending.
        sources: the files that it is made of.

    Raises:
        UserError: if it is one of the sources, whose digest is noted and which may hold more, or if
            the JSON of its name is of another file.
    """
    target = Path(target)
    if target.exists() and any(target.samefile(source) for source in sources):
        raise UserError(f'{target} is what is read: choose another file to write to')
    beside = sidecar_path(target)
    if target.suffix in ('', beside.suffix) or not beside.exists():
        return
    try:
        described = json.loads(beside.read_text(encoding='utf-8'))['weights']['file']
    except (OSError, ValueError, RecursionError, LookupError, TypeError):
        described = None
    if described != target.name:
        of = described if isinstance(described, str) else 'something else'
        raise UserError(
            f'{beside} is of {of}, and {target.name} would have a JSON of that name too: choose '
            'another name to write to'
        )


def parameters_in(state: Mapping[str, Tensor]) -> int:
    """Numbers of a state dict that are trained; norms' statistics, counts and indices are not."""
    statistics = ('running_mean', 'running_var')
    learnt = (t for n, t in state.items() if t.is_floating_point() and not n.endswith(statistics))
    return sum(tensor.numel() for tensor in learnt)


def write_sidecar(
    weights: str | Path, record: Mapping[str, Any], parameters: int, **sources: str | Path
) -> Path:
    """Write the JSON beside a weights file that is already there.

    ``sources`` are the files that it was made of, by what was done, such as ``extracted_from``:
    they are noted in ``origin``.

    Raises:
        OSError: if it cannot be written.
    """
    path = Path(weights)
    file = {'file': path.name, 'sha256': file_digest(path), 'parameters': parameters}
    content: Record = {'format': FORMAT, 'weights': file}
    content |= {key: value for key, value in record.items() if key not in content}
    if sources:
        made_of = {how: _file(str(source)) for how, source in sources.items()}
        content['origin'] = {**record['origin'], **made_of}
    path = sidecar_path(weights)
    write_text(path, json.dumps(content, indent=2))
    return path


def read_sidecar(weights: str | Path) -> Record | None:
    """The JSON beside a weights file; None if there is none.

    Raises:
        UserError: if the file is no sidecar, one of a later version, or describes other weights
            than those (by its ``sha256``).
    """
    path = sidecar_path(weights)
    if not path.is_file() or path == Path(weights):  # the index of shards is a JSON file itself
        return None
    try:
        record = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(
            f'{path} does not describe a student ({error}); put back the file as it '
            'was written, or give the config'
        ) from error
    version = record.get('format', FORMAT) if isinstance(record, dict) else FORMAT
    if version != FORMAT:
        raise UserError(f'{path} has format {version}, this version of g2sd_mm reads {FORMAT}')
    record = check_record(record, str(path))
    known = record.get('weights')
    expected = known.get('sha256') if isinstance(known, dict) else None
    if expected is not None and Path(weights).is_file() and expected != file_digest(weights):
        raise UserError(
            f'{path} describes other weights than {weights} (sha256 {expected!s:.12} ...): one of '
            f'the two was replaced; move {path.name} away and give the config, or put the right '
            'file back'
        )
    return record


def known_record(path: Path) -> Record | None:
    """What is known of a weights file: from the JSON beside it, else from the file itself.

    Raises:
        UserError: if the JSON is none of ours.
        CheckpointError: if the file cannot be read.
    """
    if (record := read_sidecar(path)) is not None:
        return record
    record = read_weights(path, mmap=True).meta.get('student')
    return record if record is None else check_record(record, f'{path}, meta.student,')


def record_if_any(weights: str | Path) -> Record | None:
    """The same; None too where there is no such file, or what is there is of something else."""
    try:
        return known_record(Path(weights)) if Path(weights).is_file() else None
    except (UserError, ValueError, OSError):  # whoever loads the file says what is wrong with it
        return None


def own_record(weights: Weights) -> Mapping[str, Any] | None:
    """What a file written by this project, under the libraries' names, says of its network.

    None for any other file, for a conversion to another layout, and for a pre-trained encoder.
    """
    record = weights.meta.get('student')
    if record is None and Path(weights.path).is_file():
        try:
            record = read_sidecar(weights.path)
        except UserError:  # of something else: no reason to refuse the weights
            return None
    if not isinstance(record, Mapping) or record.get('layout', 'ours') != 'ours':
        return None
    network = record.get('network')
    return network if isinstance(network, Mapping) else None


#: Name of a teacher -> its licence.
Licences = dict[str, str]


def licences_of(origin: Any) -> Licences:
    """Licences of the teachers in a record's ``origin``, and of those who taught its files."""
    return dict(_taught(origin)) if isinstance(origin, Mapping) else {}


def licences_beside(weights: str | None) -> Licences:
    """The same of what is known of a weights file, by the JSON beside it or by itself."""
    record = record_if_any(weights) if weights else None
    return licences_of((record or {}).get('origin'))


def _taught(origin: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    several = origin.get('teachers')
    teachers = list(several.values()) if isinstance(several, Mapping) else []
    for source in [origin.get('initialised_from'), origin.get('teacher'), *teachers]:
        if not isinstance(source, Mapping):
            continue
        if isinstance(source.get('licences'), Mapping):  # of who taught what is in the file
            yield from ((str(name), str(licence)) for name, licence in source['licences'].items())
        if isinstance(licence := source.get('licence'), str):
            yield str(source.get('model') or source.get('config') or source.get('file')), licence
