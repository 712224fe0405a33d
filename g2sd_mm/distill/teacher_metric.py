"""How good is the teacher? Its own metric stands beside its weights: look there, and say it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ..checkpoints.record import Record, describe_data, record_if_any
from ..config.parts import encoder_start, named_teachers, teacher_place
from ..tasks import best_by, more_is_better


@dataclass(frozen=True)
class Known:
    """What a weights file says of how good it is.

    Attributes:
        file: the weights.
        metric, value: the task's headline, in the units of its evaluator (classification and
            segmentation in percent, COCO's average precision from 0 to 1).
        data: training data, of kind, folder and annotations; None if not known.
        classes: how many; 0 if not known.
    """

    file: str
    metric: str
    value: float
    data: Mapping[str, Any] | None
    classes: int

    def __str__(self) -> str:
        name = self.metric.removeprefix('coco/')
        return f'{self.file} with {name} {_as_in_tables(self.metric, self.value)}'

    @property
    def chance(self) -> float:
        """What is reached without looking at an image: one class for all images, or for all
        pixels, or no object at all."""
        if self.metric.startswith('coco/') or not self.classes:
            return 0.0
        return 100 / self.classes

    @property
    def near_chance(self) -> bool:
        """Whether there is nothing to learn from it.

        Up to twice of chance, and at most a tenth of the way from chance to all right; not a
        number is nothing either.
        """
        if math.isnan(self.value):
            return True
        if not more_is_better(self.metric):
            return False  # nobody knows the error of a guess
        best = 1.0 if self.metric.startswith('coco/') else 100.0
        if not self.chance:
            return self.value < 0.01 * best
        return self.value < min(2 * self.chance, self.chance + 0.1 * (best - self.chance))

    def too_little(self, called: str = 'the teacher') -> str:
        """What is wrong with one that is near chance, for whoever trains a student from it."""
        guess = f', and guessing gives about {self.chance:.4g}' if self.chance else ''
        return f'{called} knows next to nothing: {self}{guess}'

    def worse_than(self, value: float) -> bool:
        """Whether another figure of the same metric is better."""
        return self.value < value if more_is_better(self.metric) else self.value > value

    def comparable(self, metric: str, data: Mapping[str, Any] | None) -> bool:
        """Whether it is the same figure of a network on the same data."""
        keys = ('data_root', 'ann_file')
        mine, theirs = ([(part or {}).get(key) for key in keys] for part in (self.data, data))
        return self.metric == metric and any(mine) and mine == theirs


def _as_in_tables(metric: str, value: float) -> str:
    """COCO's average precision in percent too."""
    return f'{100 * value if metric.startswith("coco/") else value:.4g}'


def known_metric(file: str) -> Known | None:
    """What the JSON beside a weights file, or the file itself, says of how good it is.

    None if nothing does: published files, pre-trained encoders, files that are not there.
    """
    record = record_if_any(file)
    origin = (record or {}).get('origin') or {}
    metrics = origin.get('metrics') or (origin.get('last_validation') or {}).get('metrics') or {}
    if record is None or not isinstance(metrics, Mapping):
        return None
    name = next((name for name in best_by() if isinstance(metrics.get(name), (int, float))), None)
    if name is None:
        return None
    return Known(file, name, float(metrics[name]), origin.get('dataset'), _classes(record))


def _classes(record: Record) -> int:
    """Of the head, which may have more than the data have names for."""
    network = record.get('network') or {}
    model = network.get('model') or {}
    heads = [model.get(key) for key in ('head', 'decode_head')]
    found = [head['num_classes'] for head in heads if isinstance(head, dict) and
             isinstance(head.get('num_classes'), int)]  # fmt: skip
    return found[0] if found else len(network.get('classes') or ())


@HOOKS.register_module()
class TeacherMetricHook(Hook):
    """Says before the first step how good the teacher is, and warns of one that knows nothing.

    Warned of are a teacher near chance, one below the network that its student starts from, and,
    when the run ends, one below its own student. What is compared is the task's headline on the
    same data; where the teacher's file says nothing of it, nothing is said.
    """

    def __init__(self) -> None:
        self._teachers: dict[str, Known] = {}
        self._metrics: dict[str, float] = {}

    def before_train(self, runner: Runner) -> None:
        """Look at what the files say."""
        self._teachers = {}
        for name, entry in named_teachers(runner.cfg).items():
            file = entry.get('checkpoint')
            if isinstance(file, str) and (teacher := known_metric(file)):
                self._teachers[name] = teacher
                self._judge(runner, name, teacher)

    def _judge(self, runner: Runner, name: str, teacher: Known) -> None:
        called = f' {name}' if name else ''
        runner.logger.info('teacher%s: %s', called, teacher)
        if teacher.near_chance:
            runner.logger.warning(
                '%s; a student learns nothing good from it. Train the teacher longer, or give '
                'another by --cfg-options %s.checkpoint=FILE',
                teacher.too_little(f'the teacher{called}'), teacher_place(name),
            )
        for start in _starts(runner):
            known = known_metric(start)
            if known and teacher.comparable(known.metric, known.data) and (
                teacher.worse_than(known.value)
            ):
                runner.logger.warning(
                    'the teacher%s is below its student: %s, and the student starts from %s; a '
                    'better teacher, or none, may serve it more', called, teacher, known,
                )

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Remember how good the student is."""
        self._metrics = dict(metrics or {})

    def after_train(self, runner: Runner) -> None:
        """Compare the student that came out."""
        for name, teacher in self._teachers.items():
            if teacher.metric not in self._metrics:
                continue
            value = float(self._metrics[teacher.metric])
            same = teacher.comparable(teacher.metric, describe_data(runner.cfg))
            if same and teacher.worse_than(value):
                called = f' {name}' if name else ''
                runner.logger.warning(
                    'the teacher%s is below its student: %s, and the student ends with %s; a '
                    'better teacher may take it further', called, teacher,
                    _as_in_tables(teacher.metric, value),
                )


def _starts(runner: Runner) -> Iterator[str]:
    """Files that the student's weights come from."""
    begun = (getattr(hook, 'start', None) for hook in runner.hooks)
    for file in (*begun, encoder_start(runner.cfg)):
        if isinstance(file, str):
            yield file
