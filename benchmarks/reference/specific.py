"""Stage 2 as published: unfused networks, and teachers that compute more than is asked of them."""

from __future__ import annotations

import copy
from typing import Any

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from g2sd_mm.distill import ChainTeacher, SpecificDistiller
from g2sd_mm.models.pixel_cross_entropy import PixelCrossEntropyLoss
from g2sd_mm.models.simple_pyramid import ChannelLayerNorm

from .attention import plain_attention


class WrittenOutChannelNorm(ChannelLayerNorm):
    """The detector's norm of channels, from elementary operations on channels-first maps."""

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, height, width] -> the same."""
        centred = x - x.mean(1, keepdim=True)
        variance = centred.pow(2).mean(1, keepdim=True)
        normed = centred / torch.sqrt(variance + self.eps)
        return self.weight[:, None, None] * normed + self.bias[:, None, None]


class ProposingTeacher(ChainTeacher):
    """A detector's teacher: matches anchors, computes the proposal network's losses, proposes."""

    samples: list

    def answer(self, images: Tensor, view: None) -> Any:
        """Run backbone, pyramid and proposal network on [B, 3, height, width]."""
        levels = self.model.neck(self.model.backbone(images))
        samples = copy.deepcopy(self.samples)
        for sample in samples:  # proposals know no classes
            sample.gt_instances.labels = torch.zeros_like(sample.gt_instances.labels)
        proposal_cfg = self.model.train_cfg.rpn_proposal
        # anchors are sampled: the student's samples stay those of our formulation
        with torch.random.fork_rng(devices=[]):
            return self.model.rpn_head.loss_and_predict(
                levels, samples, proposal_cfg=proposal_cfg
            )


class JudgingTeacher(ChainTeacher):
    """A segmentor's teacher: runs its training forward, both heads with their losses."""

    samples: list

    def answer(self, images: Tensor, view: None) -> Any:
        """Run the whole network on [B, 3, height, width]."""
        return self.model.loss(images, self.samples)


class ReferenceSpecificDistiller(SpecificDistiller):
    """Tells the teacher the labels, for the losses that it computes."""

    def forward(
        self, inputs: Tensor, data_samples: list | None = None, mode: str = 'tensor'
    ) -> Any:
        """As the base class."""
        self.teacher.samples = data_samples
        return super().forward(inputs, data_samples, mode)


_TEACHERS = {'det': ProposingTeacher, 'seg': JudgingTeacher}


def restate(model: SpecificDistiller, task: str) -> None:
    """Compute a distiller the published way, in place."""
    model.__class__ = ReferenceSpecificDistiller
    model.teacher.__class__ = _TEACHERS.get(task, ChainTeacher)
    for network in (model.student, model.teacher.model):
        plain_attention(network)
        _write_out_norms(network)
        _keep_maps_of_losses(network)


def _write_out_norms(network: nn.Module) -> None:
    for module in network.modules():
        if type(module) is ChannelLayerNorm:
            module.__class__ = WrittenOutChannelNorm


def _keep_maps_of_losses(network: nn.Module) -> None:
    """Segmentation heads take mmseg's own cross-entropy."""
    for module in network.modules():
        loss = getattr(module, 'loss_decode', None)
        if isinstance(loss, PixelCrossEntropyLoss):
            cfg = dict(loss_weight=loss.loss_weight, avg_non_ignore=loss.avg_non_ignore)
            module.loss_decode = MODELS.build(dict(type='mmseg.CrossEntropyLoss', **cfg))
