"""The error that a person made and can mend: the tools print its line and nothing else."""

from __future__ import annotations


class UserError(Exception):
    """Something is missing or misspelt; the message says what to do."""
