"""Students of stage 1 that see the whole image: any network of timm that gives feature maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn

from ..models.timm_network import (
    chosen_levels,
    feature_maps,
    level_strides,
    timm_network,
    unused_names,
)

_PLACE = 'model'
_PATCH = 16  # pixels; of the coarsest patches that are usual


@MODELS.register_module()
class FeatureStudent(BaseModule):
    """A network of timm (ConvNeXt, RepViT, Swin, Hiera, ...) whose feature map a teacher teaches.

    Nothing is masked and nothing decoded: the map of one level, through an adapter to the teacher's
    width, is compared with the teacher's patches. It has no loss of its own. Taps hear

    - ``patches``: the map, channels last as a teacher's patches: [B, rows, columns, D];
    - ``cls``: its mean over all positions [B, D], beside a teacher's class token.

    Its weights file is the plain network's state dict, which
    ``timm.create_model(model, num_classes=0)`` loads strictly, and from which
    :class:`~g2sd_mm.models.backbones.timm.TimmBackbone` fine-tunes. What the map does not need
    (later stages, pooling heads) is in it as it was drawn, untrained.

    Args:
        model: name of the network in timm, without a tag.
        level: of the map, counted from 0 (the finest) or from -1 (the last).
        norm: apply the norm that some networks (Swin, ViT) have behind their last level.
        in_channels: channels of the images.
        drop_path_rate: probability of dropping the last residual branch of a sample in training.
        with_cp: recompute activations in the backward pass instead of keeping them.
        options: further ones of that network, e.g. ``depths``, ``dims``, ``img_size``.

    Raises:
        ConfigError: for a network, level or option that timm does not have.
    """

    #: ``load_from`` takes files of timm.
    starts_from_timm = True

    def __init__(
        self,
        model: str,
        level: int = -1,
        norm: bool = False,
        in_channels: int = 3,
        drop_path_rate: float = 0.0,
        with_cp: bool = False,
        data_preprocessor: dict | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self.network = timm_network(model, _PLACE, in_channels, drop_path_rate, **options)
        self.model, self.in_channels, self.norm = model, in_channels, norm
        self.levels = chosen_levels(self.network, (level,), f'{_PLACE}.level')
        if with_cp:
            self.network.set_grad_checkpointing(True)
        if 'img_size' in options:
            self.img_size = options['img_size']
        reduction = level_strides(self.network)[self.levels[0]]
        #: Pixels from one position of the map to the next, which a teacher's grid may follow; a
        #: coarser map is enlarged to the teacher's instead.
        self.stride = reduction if reduction <= _PATCH else None
        # parameters that never get a gradient would break plain DDP
        unused = unused_names(self.network, self.levels, norm)
        for name, parameter in self.network.named_parameters():
            if name in unused:
                parameter.requires_grad_(False)
        self.patches, self.cls = nn.Identity(), nn.Identity()
        self.data_preprocessor = MODELS.build(data_preprocessor or {'type': 'BaseDataPreprocessor'})

    def init_weights(self) -> None:
        """Nothing: timm has drawn the weights, by the rule of each network."""

    def forward(
        self, inputs: Tensor, data_samples: Sequence | None = None, mode: str = 'tensor'
    ) -> dict[str, Tensor] | Tensor:
        """Normalised images [B, C, height, width] -> the map, [B, rows, columns, D].

        In mode ``loss`` it is listened to and has no loss.
        """
        (features,) = feature_maps(self.network, inputs, self.levels, self.norm)
        patches = self.patches(features.movedim(1, -1))
        self.cls(features.mean(dim=(2, 3)))
        return {} if mode == 'loss' else patches

    def deployable_state(self) -> dict[str, Tensor]:
        """State dict of the plain network, under timm's names."""
        return self.network.state_dict()
