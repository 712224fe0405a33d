"""What the registered backbones share: initialisation and where their weights may come from."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from mmengine.logging import print_log
from torch import nn

from ...checkpoints.fill import fill
from ..vit import VisionTransformer, init_linears


class Backbone(VisionTransformer):
    """A :class:`VisionTransformer` that fine-tunes from a masked autoencoder's encoder.

    ``init_cfg=dict(type='Pretrained', checkpoint=FILE)`` takes any file with an encoder of this
    size (MAE, a stage-1 student, a run of this project) and accounts for every name; mmengine's own
    reading of the same line would skip what does not fit without a word.
    """

    #: deviation of random matrices and tokens: timm's, for widths of hundreds of channels
    init_std: float = 0.02
    #: names that pre-training does not have and that start random
    may_miss: tuple[str, ...] = ()
    #: encoder names that this backbone has no use for
    may_ignore: tuple[str, ...] = ()

    def init_weights(self) -> None:
        """timm's random initialisation, then the weights that ``init_cfg`` names."""
        draw = partial(nn.init.trunc_normal_, std=self.init_std)
        init_linears(self, draw)
        for name, parameter in self.named_parameters(recurse=False):
            if name in ('cls_token', 'pos_embed', 'dist_token'):
                draw(parameter)
        checkpoint = (self.init_cfg or {}).get('checkpoint')
        if checkpoint:
            fit = fill(self, checkpoint, 'encoder')
            summary = fit.summary(Path(checkpoint).name)
            print_log(f'{type(self).__name__}: {summary}', logger='current')
