"""``TimmBackbone``: any network of timm with feature maps, for all three task libraries."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.logging import print_log
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn

from ...checkpoints.fill import fill
from ...checkpoints.load import Fit
from ...errors import ConfigError
from ..timm_network import (
    chosen_levels,
    feature_maps,
    level_widths,
    parameter_groups,
    prune,
    timm_network,
)

_PLACE = 'model.backbone'


@MODELS.register_module()
class TimmBackbone(BaseModule):
    """A network of timm as a backbone of mmpretrain, mmdet and mmseg.

    The ``TIMMBackbone`` of mmpretrain and mmseg (mmdet has none) builds the same networks. This one
    adds what fine-tuning from stage 1 needs: weights whose every name is accounted for, frozen
    stages, layer-wise rates, no parameters without a gradient (plain DDP does not forgive them),
    and no download.

    ``init_cfg=dict(type='Pretrained', checkpoint=FILE)`` takes the weights of a
    :class:`~g2sd_mm.distill.students.FeatureStudent`, a file of timm, or a model with this
    backbone.

    Args:
        model: name of the network in timm, without a tag.
        out_indices: levels whose maps are given, counted from 0 (the finest) or from -1 (the last);
            what no map needs is taken out of the network.
        in_channels: channels of the images.
        drop_path_rate: probability of dropping the last residual branch of a sample in training.
        frozen_stages: -1 trains everything; 0 freezes the stem; n freezes the first n stages too.
            What is frozen stays in evaluation mode.
        norm: apply the norm that some networks (Swin, ViT) have behind their last level.
        norm_eval: batch norms keep their running statistics, for few images a process.
        with_cp: recompute activations in the backward pass instead of keeping them.
        options: further ones of that network, e.g. ``depths``, ``dims``, ``img_size``.

    Attributes:
        out_channels: of the maps, for the neck or head behind.

    Raises:
        ConfigError: for a network, level, stage or option that timm does not have.
    """

    def __init__(
        self,
        model: str,
        out_indices: Sequence[int] = (-1,),
        in_channels: int = 3,
        drop_path_rate: float = 0.0,
        frozen_stages: int = -1,
        norm: bool = False,
        norm_eval: bool = False,
        with_cp: bool = False,
        init_cfg: dict | None = None,
        **options: Any,
    ) -> None:
        super().__init__(init_cfg)
        self.network = timm_network(model, _PLACE, in_channels, drop_path_rate, **options)
        self.model, self.in_channels = model, in_channels
        if 'img_size' in options:
            self.img_size = options['img_size']
        self.out_indices = chosen_levels(self.network, out_indices, f'{_PLACE}.out_indices')
        self.out_channels = [level_widths(self.network)[level] for level in self.out_indices]
        self.norm, self.norm_eval = norm, norm_eval
        whole = set(self.network.state_dict())
        prune(self.network, self.out_indices, norm)
        # names of the whole network that this one has no use for in a file
        self.network.left_out = tuple(sorted(whole - set(self.network.state_dict())))
        for module in self.network.modules():  # mmdet takes whatever has it for a head of its data
            module.__dict__.pop('num_classes', None)
        if with_cp:
            self.network.set_grad_checkpointing(True)
        self._layers = parameter_groups(self.network)
        self._stages = parameter_groups(self.network, coarse=True)
        last = max(self._stages.values())
        if not -1 <= frozen_stages <= last:
            raise ConfigError(
                f'{_PLACE}.frozen_stages={frozen_stages} is not in -1..{last}, the stem (0) and '
                f'the stages of {model}'
            )
        self.frozen_stages = frozen_stages
        self.train()

    @property
    def depth(self) -> int:
        """Layers behind the first one, for layer-wise learning-rate decay."""
        return max(self._layers.values())

    def layer_id(self, name: str) -> int:
        """Layer number of one of this module's parameters: 0 for the stem, as timm counts."""
        return self._layers[name.removeprefix('network.')]

    def train(self, mode: bool = True) -> TimmBackbone:
        """Training or evaluation mode; what is frozen stays in the latter."""
        super().train(mode)
        for name, parameter in self.network.named_parameters():
            if self._stages[name] <= self.frozen_stages:
                parameter.requires_grad_(False)
        for module in self.network.modules():
            inside = list(module.parameters())
            frozen = inside and not any(parameter.requires_grad for parameter in inside)
            normed = self.norm_eval and isinstance(module, nn.modules.batchnorm._BatchNorm)
            if normed or (frozen and self.frozen_stages >= 0):
                module.eval()
        return self

    def init_weights(self) -> None:
        """The weights that ``init_cfg`` names; without it those that timm drew."""
        checkpoint = (self.init_cfg or {}).get('checkpoint')
        if checkpoint:
            summary = self.load(checkpoint).summary(Path(checkpoint).name)
            print_log(f'TimmBackbone {self.model}: {summary}', logger='current')

    def load(self, checkpoint: str) -> Fit:
        """Fill the network from a file.

        Raises:
            CheckpointError: if it is of another network.
        """
        return fill(self.network, checkpoint, 'network of timm', f'TimmBackbone {self.model}')

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """[B, C, height, width] -> a map [B, D, rows, columns] per entry of ``out_indices``."""
        return tuple(feature_maps(self.network, images, self.out_indices, self.norm))
