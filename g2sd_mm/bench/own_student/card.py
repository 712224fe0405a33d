"""The model card of a student, in Hugging Face's form; ``card.md.j2`` says how it looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2

from ...checkpoints.record import licences_of
from ...distill.teachers.licences import licence_sentence
from ...provenance import git_commit
from ...students import Student
from ...tasks import TASKS
from ...version import __version__
from ...whole_files import write_text
from ..reports.summary import retained
from .plan import Plan, describe

#: Task -> what Hugging Face calls it.
_PIPELINES = {
    'classification': 'image-classification',
    'detection': 'object-detection',
    'segmentation': 'image-segmentation',
    'depth': 'depth-estimation',
}
_TITLES = {
    'teacher': 'teacher',
    'g2sd_nosd': 'plain twin (fine-tuned without the teacher)',
    'g2sd': 'student',
}
_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader('g2sd_mm.bench.own_student', '.'),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True)
class Figures:
    """A trained network: what it is worth and what it costs.

    method: of its row.
    metric, value: that it is judged by, in percent.
    parameters: in millions.
    megabytes: of its weights file.
    milliseconds: of a prediction of one image on the CPU of this machine.
    """

    method: str
    metric: str
    value: float
    parameters: float
    megabytes: float
    milliseconds: float

    @property
    def title(self) -> str:
        """What it is, in words."""
        return _TITLES.get(self.method, self.method)

    def line(self) -> str:
        """For the terminal."""
        return (
            f'{self.title}: {self.metric} {self.value:.2f}, {self.parameters:.2f} M parameters, '
            f'{self.megabytes:.1f} MB, {self.milliseconds:.1f} ms an image'
        )


def write_card(
    plan: Plan,
    student: Student,
    figures: Sequence[Figures],
    files: Sequence[Path],
    path: Path,
    command: str,
) -> Path:
    """Write the card at ``path``, which it returns.

    Args:
        figures: of all networks, the student's among them.
        files: beside the card.
        command: that made all of it.
    """
    own = next(figure for figure in figures if figure.method == 'g2sd')
    teacher = next((figure for figure in figures if figure.method == 'teacher'), None)
    size = student.image_size
    less = TASKS[plan.task].metric(own.metric).lower_is_better
    text = _TEMPLATES.get_template('card.md.j2').render(
        name=plan.data.name,
        pipeline=_PIPELINES.get(student.task, student.task),
        task=student.task,
        own=own,
        sliced=plan.networks.sliceable,
        timm='' if plan.networks.arch else plan.networks.student,
        given=plan.wishes.teacher,
        licences=[*map(licence_sentence, licences_of(student.origin).items())],
        teacher=teacher,
        kept=retained(own.value, teacher.value, less) if teacher else None,
        less=less,
        figures=figures,
        images=plan.data.size(str(plan.data.pictures.train)),
        classes=student.classes,
        # width first, as image viewers say it
        size=f'{size[1]}x{size[0]}' if isinstance(size, tuple) else size or '',
        files=[file.name for file in files],
        choices=list(describe(plan)),
        command=command,
        version=__version__,
        commit=git_commit(),
    )
    write_text(path, text)
    return path
