"""Hooks of every run; every module of this folder is imported and so registered."""

from ...dropped_in import import_modules

import_modules(__name__, __path__)
