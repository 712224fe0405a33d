"""Files that come with the package, in a checkout and where it was installed: configs, tools."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from ..errors import UserError

_PACKAGE = Path(__file__).resolve().parent.parent
_ENDINGS = ('.py', '.json', '.yaml', '.yml')  # that mmengine reads
_LOSS = 'distillation.losses.loss_tokens'
#: Setting of a config that changed one value of the published one -> the options that say it now.
_SETTINGS: dict[str, Callable[..., str]] = {
    r'generic_dec(\d+)d(\d+)b': lambda width, depth: (
        f'model.decoder=dec{width}d{depth}b distillation.adapters.tokens.in_channels={width}'
    ),
    r'generic_target(\d+)': lambda block: (
        f'distillation.teacher.until=decoder_blocks.{int(block) - 1}'
    ),
    r'generic_mask(\d+)': lambda percent: f'model.mask_ratio={int(percent) / 100}',
    r'generic_(masked|patches)': lambda tokens: f'{_LOSS}.tokens={tokens}',
    r'generic_l1': lambda: f'{_LOSS}.beta=0.0',
    r'generic_beta(\d+)': lambda beta: f'{_LOSS}.beta={float(beta)}',
    r'generic_(\d+)ep': lambda epochs: f'train_cfg.max_epochs={epochs}',
    r'upernet_cwd(\d+)': lambda weight: (
        f'distillation.losses.loss_cwd.loss_weight={float(weight)}'
    ),
}


def project_folder() -> Path:
    """The folder with ``configs/``, ``tools/`` and ``docs/results/``.

    The checkout's root; of a wheel, the copies that ``setup.py`` puts into the package.
    """
    checkout = _PACKAGE.parent
    return checkout if (checkout / 'setup.py').is_file() else _PACKAGE / '_files'


def find_config(name: str) -> str:
    """The path of a config.

    Args:
        name: a file; a path from the project's folder, as configs name each other
            (``configs/coco/vitb_maskrcnn.py``); or one below its ``configs``, with or without the
            ending (``coco/vitb_maskrcnn``). A file of the working folder comes first.

    Raises:
        UserError: if there is none, naming what lies beside it or what it was replaced by, or the
            file is of another kind.
    """
    configs = project_folder() / 'configs'
    places = [Path(name), project_folder() / name, configs / name, configs / f'{name}.py']
    for place in places:
        if place.is_file():
            if place.suffix not in _ENDINGS:
                raise UserError(f'{name} is no config: those end in {", ".join(_ENDINGS)}')
            return str(place)
    refuse_old_config(name)
    folders = [place.parent for place in places if Path(name).parent.name]
    near = next(((f, found) for f in folders if (found := sorted(f.glob('*.py')))), None)
    hint = f'; {near[0]} has {", ".join(path.name for path in near[1])}' if near else ''
    raise UserError(f'no config file {name}{hint}')


def refuse_old_config(name: str) -> None:
    """Raise UserError for a config of ``configs/ablations`` or the demo that is an option now.

    Args:
        name: a config's path, or a message with one.
    """
    if found := re.search(r'shapes[/\\]vits_single_stage(\.py)?\b', name):
        raise UserError(
            f'{found[0]} is now configs/shapes/g2sd_vits_two_token_cls.py with --cfg-options '
            'model.backbone.init_cfg=None model.head.class_std=0.02 '
            'optim_wrapper.paramwise_cfg.layer_decay_rate=1.0'
        )
    for setting, options in _SETTINGS.items():
        found = re.search(rf'ablations[/\\]g2sd_(vit[st])_{setting}(\.py)?\b', name)
        if found:
            student, *values, _ = found.groups()
            base = (
                f'imagenet/g2sd_{student}_generic'
                if setting.startswith('generic')
                else f'ade20k/g2sd_{student}_upernet'
            )
            raise UserError(
                f'{found[0]} is now configs/{base}.py with --cfg-options {options(*values)}'
            )


def script(name: str) -> str:
    """The path of a script of ``tools/``: short where the working folder is the project's."""
    here = Path('tools') / name
    return str(here if here.is_file() else project_folder() / here)
