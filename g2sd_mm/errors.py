"""How a command may end other than well: a person's error, the machine's, or on request."""

from __future__ import annotations


class UserError(Exception):
    """Something is missing or misspelt, by a person who can mend it; the message says what to do.

    The tools print its line and nothing else, and exit with 2.
    """


class DataError(UserError, ValueError):
    """A file of a data set is not what it should be; the message names the file.

    A ``ValueError`` too: in training such a sample is replaced by another one, see
    :class:`g2sd_mm.datasets.seeded.SeededDataset`.
    """


class ConfigError(UserError, ValueError):
    """A value of a config that a component cannot use; the message names entry and value.

    A ``ValueError`` too, as components raise it for what they are given.
    """


class CheckpointError(ValueError):
    """A file that is not a readable checkpoint, or does not fit. The message is one line."""


class RunError(RuntimeError):
    """The machine, the data or the numbers ended a run; the message is the cause in one line.

    The tools print it without a traceback, which would add nothing, and exit with 1.
    """


class Preempted(BaseException):
    """The run was asked to end, and has saved; the message says where. The tools exit with 0.

    Not an ``Exception``, as ``KeyboardInterrupt`` is none: what is ready to lose a run, and to go
    on with the next one, has to end too.
    """
