"""Put the two networks of stage 1 together again: the student, and its teacher as a whole."""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from ...checkpoints import CheckpointError, read_weights
from ...checkpoints.fill import fill
from ...checkpoints.identify import raw_pixels
from ...distill.config import distill_config
from ...errors import UserError
from ...models.mae import MaskedAutoencoder
from .reconstruction import Pair


def load_pair(cfg: Config, checkpoint: str | Path) -> Pair:
    """Student and teacher of a stage-1 config, in eval mode on the CPU.

    Args:
        cfg: as written, or as a run wrote it down; its teacher has a checkpoint, a full masked
            autoencoder with its pixel head, and the tap ``tokens`` is what the student predicts.
        checkpoint: of the stage-1 run, with decoder and predictor: ``epoch_N.pth``.

    Raises:
        UserError: if the config is not of stage 1.
        CheckpointError: if a file lacks what is needed.
    """
    model = distill_config(cfg).model  # the config that a run wrote down has it already
    student = (model.get('student') or {}).get('type')
    if student != 'MaskedStudent' or 'tokens' not in (model.get('adapters') or {}):
        raise UserError(
            f'{cfg.filename} is no stage-1 config (a MaskedStudent, and distillation.adapters with '
            'tokens): reconstructions come from one'
        )
    settings = model.teacher.to_dict()
    file = settings.pop('checkpoint', None)
    if not file:
        raise CheckpointError(
            'the stage-1 teacher has no checkpoint: '
            '--cfg-options distillation.teacher.checkpoint=FILE'
        )
    for key in ('type', 'until', 'dtype', 'random_weights'):
        settings.pop(key, None)
    teacher = MaskedAutoencoder(**settings).eval().requires_grad_(False)
    fill(teacher, file, 'teacher that draws')
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        distiller = MODELS.build(model)
    fill(distiller, checkpoint, 'stage-1 run')
    normalised = not raw_pixels(read_weights(file, mmap=True))
    return Pair(distiller.eval(), teacher, norm_pix=normalised)
