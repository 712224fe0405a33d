"""mmengine formats the whole config anew whenever it is asked for its text; once is enough."""

import functools
from collections import OrderedDict
from typing import Any

__all__ = ['remember_formatting']

_KEPT = 8


def remember_formatting(yapf_api: Any) -> None:
    """Keep the last texts that yapf formatted.

    mmengine does it seven times before the first step and at every checkpoint: each time a second
    or more for a detection config, in which a run that is asked to end has not saved yet.
    """
    format_code, known = yapf_api.FormatCode, OrderedDict()

    @functools.wraps(format_code)
    def remembered(text: str, *args: Any, **kwargs: Any) -> Any:
        key = (text, repr(args), repr(kwargs))
        if key not in known:
            known[key] = format_code(text, *args, **kwargs)
            while len(known) > _KEPT:
                known.popitem(last=False)
        return known[key]

    yapf_api.FormatCode = remembered
