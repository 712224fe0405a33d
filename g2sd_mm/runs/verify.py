"""Does a weights file fit a config? Asked before a run, of every file that its config names."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import MODELS

from ..agreement.weights import check_heads, recorded
from ..checkpoints.fill import fill, fill_start
from ..checkpoints.load import Fit
from ..config.load import load_config
from ..config.parts import encoder_start, named_teachers, plain_model
from ..devices import outlined
from ..distill.teachers import build_teacher, weights_option
from ..engine.undisturbed import silent
from ..errors import UserError
from ..models.backbones.base import Backbone
from ..models.backbones.timm import TimmBackbone
from ..students.load import fit_to_weights

Check = Callable[[str], Fit | None]


@dataclass(frozen=True)
class Verdict:
    """What became of one check.

    Attributes:
        role: what the file was tried as.
        problem: why it does not fit; empty if it does.
        random: names that it leaves at their random values.
    """

    role: str
    problem: str = ''
    random: tuple[str, ...] = ()


def verify(path: str, checkpoint: str, options: dict[str, Any] | None = None) -> list[Verdict]:
    """Try a file as everything that a config has a place for.

    Args:
        path: config file.
        checkpoint: weights file.
        options: dotted key -> value, as ``--cfg-options``.

    Returns:
        one verdict for each role that the config has.

    Raises:
        UserError: if the config cannot be read.
    """
    cfg = load_config(path, options)
    fit_to_weights(cfg, checkpoint)
    verdicts = []
    for role, check in roles(cfg, path).items():
        try:
            fit = check(checkpoint)
        except (UserError, ValueError) as error:
            verdicts.append(Verdict(role, problem=str(error)))
        else:
            verdicts.append(Verdict(role, random=fit.random if fit else ()))
    return verdicts


def verify_named_files(cfg: Config, path: str) -> None:
    """Check every file that a config names: ``load_from``, ``init_cfg`` and teacher.

    A file that a stock backbone of another library starts from is that library's business.

    Args:
        cfg: loaded config, before :func:`g2sd_mm.distill_config`.
        path: its file, for messages.

    Raises:
        CheckpointError, FileNotFoundError: of the first one that does not fit.
    """
    teachers = named_teachers(cfg)
    named = {
        **{_role(name): teacher.get('checkpoint') for name, teacher in teachers.items()},
        'init_cfg': encoder_start(cfg),
        'load_from': None if cfg.get('resume') else cfg.get('load_from'),
    }
    if any(named.values()):
        checks = roles(cfg, path)
        for role, file in named.items():
            if file and role in checks:
                checks[role](file)


def roles(cfg: Config, path: str) -> dict[str, Check]:
    """What a file may be to a config, and the check of each role.

    ``weights``: what ``tools/test.py`` takes; ``init_cfg``: encoder of the backbone; ``load_from``:
    start of a run; ``teacher``, of several ``teacher NAME``. Networks are built without memory, and
    nothing is computed.
    """
    checks: dict[str, Check] = {}
    trained = _outline(lambda: MODELS.build(plain_model(cfg)))  # of a distilled config the student
    for name, teacher in named_teachers(cfg).items():
        if option := weights_option(teacher):
            checks[_role(name)] = functools.partial(_check_teacher, teacher, option)
    backbone = getattr(trained, 'backbone', None)
    if isinstance(backbone, Backbone):
        checks['init_cfg'] = lambda file: fill(backbone, file, 'encoder')
    elif isinstance(backbone, TimmBackbone):
        checks['init_cfg'] = backbone.load
    if backbone is not None:
        checks['weights'] = lambda file: fill(trained, file, 'student', path)
    checks['load_from'] = lambda file: fill_start(trained, file)
    for role in {'init_cfg', 'weights', 'load_from'} & set(checks):
        checks[role] = functools.partial(_of_same_heads, cfg, path, checks[role])
    return checks


def _of_same_heads(cfg: Config, path: str, check: Check, file: str) -> Fit | None:
    check_heads(recorded(file), cfg, path)
    return check(file)


def _role(teacher: str) -> str:
    """Of a teacher's file; the only teacher has no name."""
    return f'teacher {teacher}' if teacher else 'teacher'


def _check_teacher(teacher: Mapping[str, Any], option: str, file: str) -> None:
    if option == 'checkpoint':
        _outline(lambda: build_teacher({**teacher, 'checkpoint': file}))
    else:  # a folder of transformers, which fills no network without memory
        build_teacher({**teacher, option: str(Path(file).parent if Path(file).is_file() else file)})


def _outline(build: Callable[[], Any]) -> Any:
    """Build without memory, and without what libraries have to say of the use of a network."""
    with silent():
        return outlined(build)
