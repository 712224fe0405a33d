"""What a run is asked before its first step, and what goes into its log."""

from __future__ import annotations

from collections.abc import Iterator

from mmengine.config import Config

from ..config.parts import LOADERS, encoder_start
from .inputs import Inputs, Size, unlike
from .names import Names
from .recorded import recorded
from .teacher import agree_with_teacher
from .weights import cut_note, reconcile

_TRAINED, _VALIDATED, _TESTED = LOADERS


def agree_for_training(cfg: Config, name: str) -> None:
    """Fit class names of training and validation, compare the teacher; in place.

    A resumed run keeps the order of classes that its checkpoint was trained with.

    Raises:
        UserError: see :func:`~g2sd_mm.agreement.weights.reconcile` and
            :func:`~g2sd_mm.agreement.teacher.agree_with_teacher`.
    """
    checkpoint = cfg.load_from if cfg.get('resume') else None
    agreement = reconcile(cfg, checkpoint, name, (_TRAINED, _VALIDATED))
    notes = [*agreement.notes, *_start_notes(cfg, agreement.inputs)]
    notes += agree_with_teacher(cfg, agreement.classes, agreement.inputs)
    notes += [note for loader in (_TRAINED, _VALIDATED) if (note := cut_note(cfg, loader))]
    _add_hook(cfg, notes)


def agree_for_test(cfg: Config, checkpoint: str, name: str) -> Names:
    """Fit the labels of the test data to the classes of the weights, in place; gives the classes.

    Raises:
        UserError: see :func:`~g2sd_mm.agreement.weights.reconcile`.
    """
    agreement = reconcile(cfg, checkpoint, name, (_TESTED,))
    size = recorded(checkpoint).inputs.size
    _add_hook(cfg, [*agreement.notes, *filter(None, [cut_note(cfg, _TESTED)])], size)
    return agreement.classes


def _add_hook(cfg: Config, notes: list[str], size: Size | None = None) -> None:
    hook = dict(type='AgreementHook', notes=list(dict.fromkeys(notes)), size=size)
    cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), hook]


def _start_notes(cfg: Config, inputs: Inputs) -> Iterator[str]:
    """A backbone that starts from weights of differently prepared images still trains."""
    checkpoint = encoder_start(cfg)
    if isinstance(checkpoint, str) and not cfg.get('resume'):
        facts = recorded(checkpoint)
        if differs := unlike(facts.inputs, inputs):
            yield (
                f'{facts.source} was trained on images that were prepared differently ({differs}): '
                'the backbone starts from features of other colours'
            )
