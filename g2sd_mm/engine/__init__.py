"""What training needs beside models and data: parameter groups, schedules and hooks.

All of it is found in the registries, by its name in a config.
"""

from . import hooks, loops, optimizers, schedules, sharding  # noqa: F401 - they register it
