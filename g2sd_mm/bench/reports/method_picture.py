"""The drawing of the two stages, as README and report show it."""

from __future__ import annotations

from ...config.project import project_folder
from .blocks import Picture

FILE = project_folder() / 'docs' / 'images' / 'method.svg'
_WORDS = (
    'Stage 1: a small autoencoder predicts the hidden features of a large one from the same '
    'visible patches. Stage 2: its encoder is fine-tuned on the task beside a fine-tuned teacher.'
)


def method_picture() -> Picture:
    """The drawing, embedded as a file: its style sheet stays its own, and knows light and dark."""
    return Picture(FILE, _WORDS)
