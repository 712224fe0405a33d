"""Silence for the noise that is known, harmless and not ours. Everything else passes."""

import builtins
import re
import warnings
from typing import Any

# A warning's module is a dotted name when code runs and a file's path when it is compiled.
_THEIR_MODULES = r'(.*[/\\])?(mmcv|mmdet|mmengine|mmpretrain|mmseg)([./\\]|$)'


def silence_known_warnings() -> None:
    """Filter the known warnings of the stack for the rest of the process.

    The filters stay because one of the warnings comes long after the imports, and because
    restoring the filter list afterwards would also undo what the imported libraries added to it.
    Errors are never touched, and neither is a warning of any other origin.
    """
    known: tuple[dict[str, Any], ...] = (
        # An optional, faster replacement of pycocotools.
        {'category': UserWarning, 'message': 'faster_coco_eval is not installed'},
        # Our configs say what the published ones do; this comes for the value, said or not.
        {'category': UserWarning, 'message': 'Default ``avg_non_ignore`` is False'},
        # Of their names among themselves, and of torch's for what they call.
        {'category': UserWarning, 'message': 'DeprecationWarning: '},
        {'category': UserWarning, 'message': 'torch.meshgrid: in an upcoming release'},
        # Pictures are drawn by our own hook.
        {'category': UserWarning, 'message': 'The draw is False'},
        # mmengine passes this argument to DistributedDataParallel, always.
        {'category': FutureWarning, 'message': '`broadcast_buffers` is deprecated'},
        # Escapes such as '\d' in plain strings: SyntaxWarning since Python 3.12.
        {'category': SyntaxWarning, 'module': _THEIR_MODULES},
        {'category': DeprecationWarning, 'module': _THEIR_MODULES},
    )
    for which in known:
        warnings.filterwarnings('ignore', **which)


# What pycocotools prints whenever it reads a file or evaluates (its table of results is none of
# it), and the libraries, at any log level, where an optional library of data sets is missing.
_NOISE = re.compile(
    r'(?i)loading (annotations|and preparing)|creating index|index created|done \(t='
    r'|running per image|evaluate annotation type|accumulating|could not import onedl'
)


def print_no_noise(module: Any) -> None:
    """Of a module that calls ``print``: it leaves out the lines that are known."""

    def print_others(*values: Any, **options: Any) -> None:
        if not (values and _NOISE.match(str(values[0]))):
            builtins.print(*values, **options)

    module.print = print_others
