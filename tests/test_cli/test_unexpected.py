"""Exceptions in words: no bare text, and what a person can mend ends with exit code 2."""

from __future__ import annotations

from g2sd_mm.engine.schedules import WarmupCosineLR  # noqa: F401

from ..helpers.odd_coco import *  # noqa: F403
