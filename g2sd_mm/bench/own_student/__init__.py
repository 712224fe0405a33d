"""From a folder of images to a deployed student: what ``g2sd distill`` does.

:mod:`.plan` says what will be trained, :mod:`.trial` how long that takes, :mod:`.make` does it, and
:mod:`.card` describes the student.
"""

from .make import Made, distill
from .plan import Wishes

__all__ = ['Made', 'Wishes', 'distill']
