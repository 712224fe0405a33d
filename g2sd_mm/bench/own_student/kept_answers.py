"""Few views of an image in a long run on few images, and the teacher's answers to them on disk.

A run on a few hundred images meets each of them hundreds of times. With K views of each in turn
(:mod:`~g2sd_mm.distill.answers`) its teacher is asked K times an image instead of every time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from mmengine.config import Config

from ...distill.answers import TeacherAnswersHook
from ..suites.budget import Work, raw_config, step_work
from ..suites.data import OwnData
from ..suites.suites import Step

#: Times that a run without labels, and one with them, meets each view: as often as those of the
#: league's row of four views, whose students are as good as with new views in every pass.
_MEETINGS = (5, 2.5)
#: Views of an image at least: with fewer a run is too short for it.
_LEAST = 4
#: Share of the batches that the teacher may still be asked for: beyond, it gains too little.
_MOST_ASKED = 0.5
#: Bytes on the disk that the answers of one run may take.
MOST_BYTES = 2e9
#: Below the folder of the runs.
FOLDER = 'answers'
_VIEWS = 'train_dataloader.dataset.views'
_FLOAT = 4  # bytes
_TOKENS = 7 * 7 + 1  # of an image of 56 px, with a class token
#: Parts of networks whose teachers are asked for maps, which are too large to be kept.
_MAPS = {'roi_head', 'decode_head'}


def kept_answers(cfg: Config, work: Work) -> dict[str, Any]:
    """Entries for a run's config that keep its teacher's answers; none where that gains nothing.

    Args:
        cfg: of the run, with its length.
        work: of the run.
    """
    views = math.ceil((work.passes or 0) / _MEETINGS[bool(cfg.get('val_dataloader'))])
    each = _bytes_of_an_answer(cfg)
    if not each or views < _LEAST or views * (work.images or 0) * each > MOST_BYTES:
        return {}
    if _asked(work, views) > _MOST_ASKED:
        return {}
    hook = dict(
        type=TeacherAnswersHook.__name__, folder=f'work_dirs/{FOLDER}', limit_gb=MOST_BYTES / 1e9
    )
    return {
        _VIEWS: views,
        'custom_hooks': [*(cfg.get('custom_hooks') or []), hook],
    }


def views_of(step: Step) -> int:
    """Of each image in a run that keeps answers; 0 in another."""
    return 0 if step.file else step.options.get(_VIEWS, 0)


def size_of(step: Step, data: OwnData) -> float:
    """Bytes on the disk that the answers of a run take at most; 0 where it keeps none."""
    if not (views := views_of(step)):
        return 0.0
    images = step_work(step, data)[0].images or 0
    return views * images * _bytes_of_an_answer(raw_config(step.config, step.options))


def share_asked(step: Step, data: OwnData) -> float:
    """Share of a run's updates for which its teacher is asked."""
    views = views_of(step)
    return _asked(step_work(step, data)[0], views) if views else 1.0


def _asked(work: Work, views: int) -> float:
    """Expected share of the batches for which the teacher is asked.

    A batch is asked for if one of its images is not known in this view: the first time, and where
    the loader left the image out in each meeting before, since it drops what fills no batch.
    """
    if not work.passes or not work.images:
        return 1.0
    dropped = work.images % work.step / work.images
    meetings = max(1.0, work.passes / views)
    asked = 0.0
    for number in range(math.ceil(meetings)):
        unknown = 1 - (1 - dropped**number) ** work.step
        asked += unknown * min(1.0, meetings - number)
    return asked / meetings


def _bytes_of_an_answer(cfg: Config) -> int:
    """At most; 0 of a run that has no teacher, or one whose answers cannot be kept."""
    distillation: Mapping[str, Any] = cfg.get('distillation') or {}
    if not distillation.get('teacher') or _MAPS & set(cfg.model):
        return 0
    adapters = (distillation.get('adapters') or {}).values()
    widths = [part['out_channels'] for part in adapters if part and 'out_channels' in part]
    classes = (cfg.model.get('head') or {}).get('num_classes', 0)
    return _FLOAT * (_TOKENS * sum(widths) + classes)
