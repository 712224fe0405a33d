"""The published way of computing a training step, restated in this project's own words.

Networks, names and weights are those of :mod:`g2sd_mm`; what differs is how they are computed.
Nothing in here is slower than the published code is, and the agreement of both formulations is
tested (``tests/test_benchmarks/test_agreement.py``).
"""

from .attention import plain_attention
from .formulation import ReferenceFormulation
from .release import ReleaseFormulation

__all__ = ['ReferenceFormulation', 'ReleaseFormulation', 'plain_attention']
