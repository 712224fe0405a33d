"""timm's ``VisionTransformer`` and ``VisionTransformerDistilled``."""

from __future__ import annotations

from .dist_token import dist_last, dist_second
from .layout import Layout
from .published import DISTILLED_ENCODER, ENCODER, POOLED_ENCODER, Family
from .rules import same

TIMM = Layout(
    name='timm',
    title='timm VisionTransformer or VisionTransformerDistilled',
    tables={
        Family.MAE: same(ENCODER),
        Family.CLASSIFIER: same((*ENCODER, 'head.{p}')),
        Family.POOLED: same((*POOLED_ENCODER, 'head.{p}')),
        Family.DISTILLED: same((*DISTILLED_ENCODER, 'head.{p}', 'head_dist.{p}')),
    },
    cannot_hold=('mask_token', 'decoder_*', 'encoderfeature_pred.*', 'decoderfeature_pred.*'),
    arrange=dist_second,
    undo=dist_last,
)
