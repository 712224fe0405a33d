"""How folders of data are laid out: one answer for the checker, training, suites and distill.

:func:`find_layout` looks at a folder and answers with a :class:`Layout` whose splits every reader
of this project takes as they are. Where the folder is of another tool, the answer points at a copy
that was converted once (:mod:`.copies`).
"""

from .choices import Choices
from .layout import Layout, Split
from .look import LAYOUTS, find_layout, find_trainable

__all__ = ['LAYOUTS', 'Choices', 'Layout', 'Split', 'find_layout', 'find_trainable']
