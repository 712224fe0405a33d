"""The figures of a benchmark, in plain values for JSON."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from .pairing import Ratio, Timing


@dataclass(frozen=True)
class Speed:
    """One part of a stage in one variant, paired with the reference.

    ``counts`` is False for bfloat16 where the device has no instructions for it. Utilisations are
    shares of the matrix-product peak of each side's own precision; None for parts of a step.
    """

    stage: str
    part: str
    variant: str
    batch: int
    images_per_second: float
    reference_images_per_second: float
    ratio: Ratio
    counts: bool
    utilisation: float | None
    reference_utilisation: float | None
    seconds: tuple[float, ...]
    reference_seconds: tuple[float, ...]

    @classmethod
    def of(
        cls,
        stage: str,
        part: str,
        variant: str,
        batch: int,
        images: int,
        own: Timing,
        reference: Timing,
        counts: bool = True,
        flops: float | None = None,
        peaks: tuple[float, float] = (1.0, 1.0),
    ) -> Speed:
        """Of two timings.

        Args:
            stage, part, variant, batch, counts: see the class.
            images: that one timing covers.
            own, reference: the timings, round by round.
            flops: operations an image; None where they were not counted.
            peaks: operations a second that the device reaches, in either side's precision.
        """
        rates = own.rate(images), reference.rate(images)
        used, reference_used = (
            None if flops is None else rate * flops / peak
            for rate, peak in zip(rates, peaks, strict=True)
        )
        return cls(
            stage, part, variant, batch, *rates, Ratio.of(own, reference), counts, used,
            reference_used, own.seconds, reference.seconds,
        )


@dataclass(frozen=True)
class Memory:
    """Peak bytes of a training step over what lies there before it."""

    stage: str
    variant: str
    batch: int
    bytes: int
    reference_bytes: int

    @property
    def ratio(self) -> float:
        """Share of the reference's."""
        return self.bytes / self.reference_bytes


@dataclass(frozen=True)
class Reading:
    """Images a second of the input pipeline alone; ``workers`` 0 reads in the main process."""

    stage: str
    workers: int
    images_per_second: float


@dataclass(frozen=True)
class Startup:
    """Seconds from the start of a process to a run's first batch, and of the bare imports."""

    stage: str
    seconds: tuple[float, ...]
    bare_seconds: tuple[float, ...]

    @property
    def added(self) -> float:
        """What the run adds to the imports: the median of the rounds."""
        pairs = zip(self.seconds, self.bare_seconds, strict=True)
        return statistics.median(ours - bare for ours, bare in pairs)


@dataclass(frozen=True)
class Scaling:
    """Images a second of one process and of two, ``batch`` images a process."""

    stage: str
    batch: int
    images_per_second: float
    images_per_second_of_two: float
    ratio: Ratio
