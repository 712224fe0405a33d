"""What a person decides about a folder where it can be read in two ways."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..errors import DataError, UserError
from ..text import printable

#: Question -> what its answer decides; the answers are named where the question comes up.
QUESTIONS = {
    'format': 'which of several kinds of labels is read: coco, yolo, voc, masks, list, folders',
    'file': 'which of several annotation files is read, by its path in the folder; several splits '
    'have an answer each',
    'column': 'which column of a list has the classes',
    'crowd': 'whether annotations with iscrowd 1 are crowd regions, or objects',
    'voc': 'whether pixels of VOC boxes count from-1 or from-0',
    'numbers': 'whether class folders 1, 2, ... count the names beside them from-0 or from-1',
    'folder': 'which of several folders of masks is read, by its name',
    'suffix': 'which of several masks of an image is read, by the end of its name',
    'masks': 'whether masks hold class numbers, colours, or 255 for the object (binary)',
    'test': 'val: labelled test images are the validation images, where there are no others',
}
#: Questions that come up for each split, and may have an answer for each.
SEVERAL = ('file', 'column')


@dataclass(frozen=True)
class Choices:
    """Answers to what a folder leaves open.

    Attributes:
        val_share: of the training images that are held out where there are no validation images, in
            (0, 1); None holds out none.
        split_seed: of which ones.
        read_as: question of :data:`QUESTIONS` -> answer.
    """

    val_share: float | None = None
    split_seed: int = 0
    read_as: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.val_share is not None and not 0 < self.val_share < 1:
            raise UserError(f'--val-share {self.val_share}: a share between 0 and 1, such as 0.2')
        if unknown := [key for key in self.read_as if key not in QUESTIONS]:
            raise UserError(
                f'--read-as {unknown[0]}={self.read_as[unknown[0]]}: the questions are '
                f'{", ".join(QUESTIONS)}'
            )

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def words(self) -> list[str]:
        """The options of a command that say the same."""
        words = [] if self.val_share is None else ['--val-share', f'{self.val_share:g}']
        words += ['--split-seed', str(self.split_seed)] if self.split_seed else []
        answers = [f'{key}={value}' for key, value in self.read_as.items()]
        return words + (['--read-as', *answers] if answers else [])

    def told(self, question: str) -> tuple[str, ...]:
        """All answers to a question; those of :data:`SEVERAL` are separated by commas."""
        said = self.read_as.get(question, '')
        parts = said.split(',') if question in SEVERAL else ()
        return tuple(dict.fromkeys((said, *parts))) if said else ()

    def answer(self, question: str, readings: Mapping[str, str], where: Path | str) -> str:
        """The reading that was chosen.

        Args:
            question: of :data:`QUESTIONS`.
            readings: answer -> what it means. With one alone nothing has to be said.
            where: file or folder that can be read so.

        Raises:
            DataError: if there are several and none was chosen, or one that is not there.
        """
        chosen, told = self.read_as.get(question), self.told(question)
        fits = [r for r in readings if r in told]
        if not fits and (not told or question in SEVERAL):  # an answer may be another split's
            fits = list(readings)
        if len(fits) == 1:
            return fits[0]
        said = ' or '.join(
            f'as {printable(meaning)} (--read-as {question}={printable(answer)})'
            for answer, meaning in readings.items()
        )
        so_far = '' if chosen is None else f'; so far you said {question}={chosen}'
        raise DataError(f'{where} can be read {said}{so_far}')


def read_answers(pairs: Iterable[str]) -> dict[str, str]:
    """``question=answer`` words of a command line; a question may have several answers.

    Raises:
        UserError: for a word without ``=``.
    """
    answers: dict[str, list[str]] = {}
    for pair in pairs:
        question, equals, answer = pair.partition('=')
        if not equals or not answer:
            raise UserError(f'--read-as {pair}: write QUESTION=ANSWER, such as format=yolo')
        told = answers.setdefault(question, [])
        if answer not in told:
            told.append(answer)
    return {question: ','.join(told) for question, told in answers.items()}
