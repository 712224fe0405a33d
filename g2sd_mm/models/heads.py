"""The one head that mmpretrain lacks: two tokens, trained apart and averaged to predict."""

from __future__ import annotations

from mmpretrain.models.heads import DeiTClsHead
from mmpretrain.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class TwoTokenClsHead(DeiTClsHead):
    """mmpretrain's ``DeiTClsHead``, with training.

    In training the class token's logits go to the task loss, and the distillation token's logits
    are computed for a tap on ``head.layers.head_dist``; without such a tap their gradient is zero.
    Evaluation averages both, as the base class does; the parameters are the base class's, so a
    trained file loads into plain ``DeiTClsHead``.

    Args:
        average: average both heads to predict; False predicts from the class token alone (the
            published choice when training with NKD).
        class_std: of the class head's random weights; almost zero after pre-training (published),
            0.02 from scratch.
        dist_std: of the distillation head's.
    """

    def __init__(
        self,
        *args: object,
        average: bool = True,
        class_std: float = 2e-5,
        dist_std: float = 0.02,
        **kwargs: object,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.average = average
        self.class_std, self.dist_std = class_std, dist_std

    def init_weights(self) -> None:
        """Truncated-normal weights, zero biases."""
        for layer, std in (
            (self.layers.head, self.class_std),
            (self.layers.head_dist, self.dist_std),
        ):
            nn.init.trunc_normal_(layer.weight, std=std)
            nn.init.zeros_(layer.bias)

    def forward(self, feats: tuple) -> Tensor:
        """((class [B, D], dist [B, D]),) -> logits [B, classes]."""
        cls_token, dist_token = self.pre_logits(feats)
        cls_logits = self.layers.head(cls_token)
        dist_logits = self.layers.head_dist(dist_token)
        if self.training:
            # DDP waits for the gradient of every parameter, whatever losses there are
            return cls_logits + 0 * dist_logits.sum()
        return (cls_logits + dist_logits) / 2 if self.average else cls_logits
