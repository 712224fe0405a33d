"""Files that come with the package, in a checkout and where it was installed: configs, tools."""

from __future__ import annotations

from pathlib import Path

from ..errors import UserError

_PACKAGE = Path(__file__).resolve().parent.parent
_ENDINGS = ('.py', '.json', '.yaml', '.yml')  # that mmengine reads


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
        UserError: if there is none, naming what lies beside it, or the file is of another kind.
    """
    configs = project_folder() / 'configs'
    places = [Path(name), project_folder() / name, configs / name, configs / f'{name}.py']
    for place in places:
        if place.is_file():
            if place.suffix not in _ENDINGS:
                raise UserError(f'{name} is no config: those end in {", ".join(_ENDINGS)}')
            return str(place)
    folders = [place.parent for place in places if Path(name).parent.name]
    near = next(((f, found) for f in folders if (found := sorted(f.glob('*.py')))), None)
    hint = f'; {near[0]} has {", ".join(path.name for path in near[1])}' if near else ''
    raise UserError(f'no config file {name}{hint}')


def script(name: str) -> str:
    """The path of a script of ``tools/``: short where the working folder is the project's."""
    here = Path('tools') / name
    return str(here if here.is_file() else project_folder() / here)
