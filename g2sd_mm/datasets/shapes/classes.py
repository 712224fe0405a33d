"""The ten shape classes: their names, colours and the numbers they have in each annotation.

One name has three numbers, and this is the only place that says so:

=====================  =======================================================
classification label   0 .. 9, the position in :data:`CLASSES`
COCO ``category_id``   1 .. 10 (0 is never used: COCO tools treat it as "none")
semantic mask value    1 .. 10, 0 is background, 255 is "do not score"
=====================  =======================================================
"""

from __future__ import annotations

CLASSES: tuple[str, ...] = (
    'arrow', 'crescent', 'cross', 'disc', 'heart', 'pentagon', 'ring', 'square', 'star', 'triangle',
)  # alphabetical, because ImageFolder readers number class folders in that order
"""Class names in label order."""

SEG_CLASSES: tuple[str, ...] = ('background', *CLASSES)
"""Names of the semantic mask values 0 .. 10."""

VOID = 255
"""Semantic mask value of pixels that belong to an instance too hidden to be annotated."""

PALETTE: tuple[tuple[int, int, int], ...] = (
    (230, 25, 75), (60, 180, 75), (255, 225, 25), (0, 130, 200), (245, 130, 48),
    (145, 30, 180), (70, 240, 240), (240, 50, 230), (210, 245, 60), (250, 190, 190),
)
"""One RGB colour per class, for drawings."""

SEG_PALETTE: tuple[tuple[int, int, int], ...] = ((0, 0, 0), *PALETTE)
"""One RGB colour per semantic mask value 0 .. 10."""
