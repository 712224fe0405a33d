"""Distillation losses, each a pure function and a thin registered module.

Every module is called with keywords: ``student`` and ``teacher`` are what the taps recorded, any
further argument is named in the config's ``inputs``. Each returns one scalar. A file that is put
into this folder is imported with it, and so registers what it has.
"""

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f'{__name__}.{_module.name}')
