"""Checks and repairs of the environment, each with the failure that it prevents.

The checks raise ``ImportError`` with one line that ends in the command to run. They look at
installed metadata and files only, so that a healthy environment passes them in milliseconds.
"""

from __future__ import annotations

import functools
import importlib
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

# Upstream distribution -> the maintained one that fills the same import folder.
_TWINS = {
    'mmcv': 'onedl-mmcv',
    'mmcv-full': 'onedl-mmcv',
    'mmcv-lite': 'onedl-mmcv',
    'mmdet': 'onedl-mmdetection',
    'mmengine': 'onedl-mmengine',
    'mmengine-lite': 'onedl-mmengine',
    'mmpretrain': 'onedl-mmpretrain',
    'mmsegmentation': 'onedl-mmsegmentation',
}

_PIP = f'{sys.executable} -m pip'


def installed(distribution: str) -> str | None:
    """The version of a distribution; None where it is not installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


# Two distributions in one folder ----------------------------------------------------------------


def check_no_upstream_twins() -> None:
    """Refuse an environment where upstream OpenMMLab lies on top of the onedl distributions.

    pip sees two unrelated names and lets them overwrite each other's files, which leaves a folder
    that is half of each. Uninstalling one takes files from the other, so the cure reinstalls.

    Raises:
        ImportError: both are installed.
    """
    clashes = {
        upstream: (ours, installed(ours))
        for upstream, ours in _TWINS.items()
        if installed(upstream) and installed(ours)
    }
    if not clashes:
        return
    names = ', '.join(f'{upstream} and {ours}' for upstream, (ours, _) in clashes.items())
    pins = ' '.join(sorted({f'{ours}=={release}' for ours, release in clashes.values()}))
    raise ImportError(
        f'both {names} are installed, and they overwrite each other in one import folder; run: '
        f'{_PIP} uninstall -y {" ".join(clashes)} && '
        f'{_PIP} install --force-reinstall --no-deps {pins}'
    )


# OpenCV -----------------------------------------------------------------------------------------


def check_opencv() -> None:
    """Refuse an OpenCV that cannot be imported on a machine without graphics libraries.

    Dependencies install ``opencv-python``, whose build with windows needs ``libGL.so.1``, beside
    the headless build in the same folder ``cv2``; the last one written wins. The headless build
    says so in ``cv2/version.py`` and needs no test. Any other one is imported, as the only sure
    test: mmcv would import it anyway.

    Raises:
        ImportError: ``cv2`` is missing, alone or with all else, or lacks a system library.
    """
    if 'cv2' in sys.modules:
        return
    spec = find_spec('cv2')
    if spec is None and find_spec('mmengine') is None:
        raise ImportError(
            f'{sys.executable} has none of the packages that g2sd_mm needs: activate the '
            f'environment that has (source .venv/bin/activate), or run: {_PIP} install -e .'
        )
    if spec is None or spec.origin is None:
        raise ImportError(_opencv_cure('the package cv2 is missing'))
    notes = Path(spec.origin).with_name('version.py')
    if notes.is_file() and 'headless = True' in notes.read_text(encoding='utf-8'):
        return
    try:
        importlib.import_module('cv2')
    except ImportError as error:
        library = str(error).partition(':')[0]
        if '.so' not in library:
            raise
        # absent ("cannot open shared object file"), or there and unusable ("file too short")
        raise ImportError(_opencv_cure(f'{library} is not usable on this machine')) from error


def _opencv_cure(reason: str) -> str:
    release = installed('opencv-python-headless') or installed('opencv-python')
    pin = f'=={release}' if release else ''
    return (
        f'OpenCV cannot be imported: {reason}; run: '
        f'{_PIP} install --force-reinstall --no-deps opencv-python-headless{pin}'
    )


# distutils --------------------------------------------------------------------------------------


def provide_distutils() -> None:
    """Make ``import distutils`` work on Python 3.12, which no longer ships it.

    mmengine's Runner imports it to describe the environment. setuptools brings a copy and puts it
    in place at start-up by a ``.pth`` file, which Python reads only in real site folders: with
    setuptools on ``PYTHONPATH``, or its shim switched off, it has to be asked.

    Raises:
        ImportError: neither Python nor setuptools has ``distutils``.
    """
    if find_spec('distutils') is not None:
        return
    try:
        shim = importlib.import_module('_distutils_hack')
    except ImportError as error:
        raise ImportError(
            f'mmengine needs distutils, which Python {sys.version_info[0]}.{sys.version_info[1]} '
            f'no longer has and setuptools brings; run: {_PIP} install setuptools'
        ) from error
    shim.add_shim()


# Modules, once they are imported ----------------------------------------------------------------


def write_in_order(config: ModuleType) -> None:
    """Of ``mmengine.config.config``: configs are written in their own order, not sorted.

    Random weights are drawn in it. Nothing else in that module sorts.
    """
    vars(config).update(sorted=lambda items, key: items)


def name_packages_as_folders(config_utils: ModuleType) -> None:
    """Of ``mmengine.config.utils``: ``mmseg::`` in a config finds the folder of that name.

    mmengine looks for the distribution "mmsegmentation" then. The distribution installed here has
    another name, so mmengine finds nothing and would install upstream over it. Asked for the folder
    name, it falls back to looking for that folder.
    """
    config_utils.MODULE2PACKAGE['mmseg'] = 'mmseg'


def forbid_run_time_installs(package_utils: Any) -> None:
    """Of ``mmengine.utils.package_utils``: no ``pip install`` for a library that mmengine misses.

    ``call_command`` is what every copy of ``install_package`` calls.
    """
    package_utils.call_command = _refuse_command


def _refuse_command(cmd: list[str]) -> NoReturn:
    """Stand in for ``mmengine.utils.package_utils.call_command``.

    Raises:
        ImportError: always; nothing is installed at run time.
    """
    raise ImportError(
        f'{cmd[-1]} is not installed, and nothing is installed at run time; if it is the package '
        f'that you want, run: {_PIP} install {cmd[-1]}'
    )


def close_unsafe_loading(checkpoint: Any) -> None:
    """Of ``mmengine.runner.checkpoint``: every checkpoint is read by our reader.

    That covers ``Runner.load_checkpoint``, ``Runner.resume``, ``load_from`` and pretrained
    initialisation, from local files, object stores and addresses.
    """
    from g2sd_mm.compat import safe_load  # needs torch, which mmengine has loaded by now

    # The loaders of all schemes look these two up in their module when they are called.
    checkpoint._safe_torch_load = safe_load.read_for_mmengine
    checkpoint.load_url = safe_load.read_from_address


def switch_off_multimodal(dependency: Any) -> None:
    """Of ``mmpretrain.utils.dependency``.

    mmpretrain imports its vision-language models wherever transformers is installed, and they
    cannot be imported with transformers 5. Without this nothing of mmpretrain can.
    """
    transformers = installed('transformers')
    if transformers and int(transformers.partition('.')[0]) >= 5:
        dependency.WITH_MULTIMODAL = False


def let_ssd_predict(ssd_head: Any) -> None:
    """Of ``mmdet.models.dense_heads.ssd_head``: its boxes are made by code that asks for a loss.

    SSD has no module for one, and would fail at its first prediction.
    """
    ssd_head.SSDHead.loss_cls = None


def make_heads_anew(dense_heads: ModuleType) -> None:
    """Of ``mmdet.models.dense_heads``: mmseg's heads that are made of them, if mmseg came first.

    It was kept from looking for mmdet then, and has made them of nothing.
    """
    for name in ('mask2former_head', 'maskformer_head'):
        theirs = sys.modules.get(f'mmseg.models.decode_heads.{name}')
        # one that is only now being loaded finds them
        if theirs is not None and hasattr(theirs, 'MODELS'):
            known = theirs.MODELS.module_dict
            for kind in [k for k, made in known.items() if made.__module__ == theirs.__name__]:
                del known[kind]
            importlib.reload(theirs)


def remember_formatting(yapf_api: Any) -> None:
    """Of ``yapf.yapflib.yapf_api``: keep the last texts that it formatted.

    mmengine does it seven times before the first step and at every checkpoint: each time a second
    or more for a detection config, in which a run that is asked to end has not saved yet.
    """
    format_code, known = yapf_api.FormatCode, {}

    @functools.wraps(format_code)
    def remembered(text: str, *args: Any, **kwargs: Any) -> Any:
        key = (text, repr(args), repr(kwargs))
        if key not in known:
            known[key] = format_code(text, *args, **kwargs)
            if len(known) > 8:
                known.pop(next(iter(known)))
        return known[key]

    yapf_api.FormatCode = remembered
