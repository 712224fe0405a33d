"""Look through a data set for what would stop a training run, or spoil it without a word.

:mod:`.run` finds what there is to look at, looks on several processes and reports: :mod:`.images`
and :mod:`.masks` look at one file each, :mod:`.coco` and :mod:`.class_folders` at what belongs
together. None of these needs torch or a task library. :mod:`.before_training` looks at a config's
labels, by the rules of :mod:`.contents`, before a run begins.
"""

from .findings import Finding
from .run import Report, check
from .source import Source

__all__ = ['Finding', 'Report', 'Source', 'check']
