"""Published weights that stand in for runs: whether a file can be what its name says."""

from __future__ import annotations

from pathlib import Path

from ...checkpoints import CheckpointError, Kind, identify, read_weights
from ...compat.safe_load import is_bare_pickle, is_zip, refuse_impostors
from .suites import Step

#: What a published file may be, by its name; the same network of this project does too.
_KINDS = {
    'mae_pretrain_vit_base_full.pth': (Kind.MAE_FULL, Kind.MAE_RUN),
    'mae_pretrain_vit_large.pth': (Kind.MAE_ENCODER, Kind.MAE_FULL, Kind.MAE_RUN),
    'mae_finetuned_vit_base.pth': (Kind.MAE_FINETUNED, Kind.MM_CLASSIFIER),
    'vitdet_b_maskrcnn.pth': (Kind.DETECTRON2, Kind.MM_DETECTOR),
}


def refuse_other(file: Path, step: Step) -> None:
    """Check what lies where a step's published file is expected, without reading its tensors.

    Of a file that cannot be looked into without reading all of it (a pickle, or written before
    torch 1.6) the first bytes count alone; whether it fits is seen when it is loaded.

    Raises:
        CheckpointError: for a text, a page, half a file, or weights of another kind, in one line.
    """
    advice = f'{step.name} takes {step.origin} from it; move it away to train {step.name} instead'
    try:
        if is_bare_pickle(file):
            return
        refuse_impostors(file)
        if not is_zip(file):
            return
        kind = identify(read_weights(file, mmap=True).state)
    except CheckpointError as error:
        raise CheckpointError(f'{error} ({advice})') from error
    if kind not in _KINDS.get(step.public, tuple(Kind)):
        raise CheckpointError(f'{file} is {kind.value}: {advice}')
