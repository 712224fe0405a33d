"""Put the two networks of stage 1 together again: the student, and its teacher as a whole."""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from ...checkpoints import CheckpointError, load_verified, read_weights
from ...checkpoints.autoencoder import autoencoder_state
from ...checkpoints.identify import raw_pixels
from ...checkpoints.predictors import with_our_names
from ...distill.config import distill_config
from ...errors import UserError
from ...models.mae import MaskedAutoencoder
from .reconstruction import Pair

_STUDENT_ONLY = 'Give the checkpoint of a stage-1 run (epoch_N.pth): weights.pth has no decoder.'


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
    weights = read_weights(file, mmap=True)
    for key in ('type', 'until', 'dtype', 'random_weights'):
        settings.pop(key, None)
    teacher = MaskedAutoencoder(**settings).eval().requires_grad_(False)
    load_verified(
        teacher,
        autoencoder_state(weights),
        weights,
        purpose='teacher that draws pixels',
        advice='Give a full masked autoencoder: encoder, decoder and pixel head.',
    )
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        distiller = MODELS.build(model)
    own = read_weights(checkpoint, mmap=True)
    load_verified(
        distiller, with_our_names(own.state), own, purpose='stage-1 student', advice=_STUDENT_ONLY,
        may_ignore=('data_preprocessor.*',),
    )  # fmt: skip
    return Pair(distiller.eval(), teacher, norm_pix=not raw_pixels(weights))
