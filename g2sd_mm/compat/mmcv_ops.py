"""A stand-in for mmcv's compiled extension ``mmcv._ext``, backed by torchvision.

The mmcv wheels for current torch versions are pure Python, while ``mmcv.ops`` imports the
extension unconditionally, and mmdet, mmseg and mmpretrain import ``mmcv.ops``. :func:`install`
closes that gap. It appends a finder to the *end* of ``sys.meta_path``: where a compiled
extension exists it is found first and this module is never asked.

The kernels live in :mod:`g2sd_mm.compat.mmcv_kernels`, which says how they differ from the
compiled ones; functions that torchvision can differentiate take the place of mmcv's own. An op
that has no kernel there can be imported, since importing ``mmcv.ops`` looks up all of them, but
calling it raises ``RuntimeError``.
"""

import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, NoReturn

from g2sd_mm.compat.import_hooks import after_import

EXTENSION = 'mmcv._ext'
#: Module of mmcv -> its function that torchvision's takes the place of.
_FUNCTIONS = {
    'mmcv.ops.deform_conv': 'deform_conv2d',
    'mmcv.ops.modulated_deform_conv': 'modulated_deform_conv2d',
    'mmcv.ops.multi_scale_deform_attn': 'MultiScaleDeformableAttnFunction',
    'mmcv.ops.roi_align': 'roi_align',
}


class _Extension(ModuleType):
    """``mmcv._ext`` where every name can be looked up, as ``mmcv.utils.ext_loader`` demands."""

    def __getattr__(self, name: str) -> Callable[..., NoReturn]:
        # The import system probes for dunder names and must be told the truth about them.
        if name.startswith('__'):
            raise AttributeError(f'module {EXTENSION!r} has no attribute {name!r}')
        return _missing_op(name)


def _missing_op(name: str) -> Callable[..., NoReturn]:
    def missing(*args: Any, **kwargs: Any) -> NoReturn:
        raise RuntimeError(
            f'{name} needs the compiled ops of mmcv: this mmcv has no {EXTENSION}, and the '
            'torchvision-backed fallback of g2sd_mm does not provide this op'
        )

    missing.__name__ = missing.__qualname__ = name
    return missing


class _Finder(MetaPathFinder, Loader):
    """Answers for ``mmcv._ext`` alone."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != EXTENSION:
            return None
        return ModuleSpec(fullname, self, origin='g2sd_mm fallback')

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Extension(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        # Imported here and not above: this is the first moment at which torch is needed.
        from g2sd_mm.compat.mmcv_kernels import OPS

        for op in OPS:
            setattr(module, op.__name__, op)


_finder = _Finder()


def install() -> None:
    """Make ``mmcv._ext`` importable. Call it before ``mmcv.ops``; later calls do nothing."""
    if _finder not in sys.meta_path:
        sys.meta_path.append(_finder)
    for module in _FUNCTIONS:
        after_import(module, _replace)


def _replace(module: ModuleType) -> None:
    if isinstance(sys.modules.get(EXTENSION), _Extension):
        from g2sd_mm.compat.mmcv_kernels import sampling

        name = _FUNCTIONS[module.__name__]
        setattr(module, name, getattr(sampling, name))
