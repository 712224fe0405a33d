"""The one error of this package."""

from __future__ import annotations


class CheckpointError(ValueError):
    """A weights file that does not fit its use; the message says what it is and what would fit."""
