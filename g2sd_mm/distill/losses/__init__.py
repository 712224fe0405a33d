"""Distillation losses, each a pure function and a thin registered module.

Every module is called with keywords: ``student`` and ``teacher`` are what the taps recorded, any
further argument is named in the config's ``inputs``. Each returns one scalar. A file that is put
into this folder is imported with it, and so registers what it has.
"""

from ...dropped_in import import_modules

import_modules(__name__, __path__)
