"""Where samples come from: the part that each layout of a data set has to play."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from .findings import Finding
from .images import Picture
from .masks import Labels, Mask


class Source(Protocol):
    """One split of a data set.

    Attributes:
        split: its name. Splits whose pixels must not meet have different ones.
        place: folder or file that it is read from, for the report.
    """

    split: str
    place: str

    def images(self) -> Sequence[str]:
        """Paths of the images to look at."""

    def masks(self) -> Sequence[tuple[str, Labels]]:
        """Paths of the masks to look at, with how they are read."""

    def structure(self) -> Iterable[Finding]:
        """What is wrong without opening an image."""

    def compare(
        self, pictures: Mapping[str, Picture], masks: Mapping[str, Mask]
    ) -> Iterable[Finding]:
        """What is wrong with images and annotations together, once all have been looked at."""

    def label(self, path: str) -> str | None:
        """The class of an image, where images have one."""
