"""All suites by name."""

from __future__ import annotations

from .mini import MINI
from .paper import PAPER
from .suites import DEMO

SUITES = {suite.name: suite for suite in (DEMO, MINI, PAPER)}
