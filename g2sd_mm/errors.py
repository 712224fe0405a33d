"""The errors that a person made and can mend: the tools print their line and nothing else."""

from __future__ import annotations


class UserError(Exception):
    """Something is missing or misspelt; the message says what to do."""


class DataError(UserError, ValueError):
    """A file of a data set is not what it should be; the message names the file.

    A ``ValueError`` too: in training such a sample is replaced by another one, see
    :class:`g2sd_mm.datasets.seeded.SeededDataset`.
    """
