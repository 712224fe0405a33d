"""Size and arithmetic of a deployed network, and the names that metrics have in results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from ..models.image_size import height_and_width

# evaluator's name -> ours, and what makes percent of it
_METRICS = {
    'accuracy/top1': ('top1', 1),
    'accuracy/top5': ('top5', 1),
    'coco/bbox_mAP': ('bbox_mAP', 100),
    'coco/segm_mAP': ('segm_mAP', 100),
    'mIoU': ('mIoU', 1),
    'mAcc': ('mAcc', 1),
    'imagenet_c/top1': ('top1', 1),
    'imagenet_c/mCE': ('mCE', 1),
}


def agreed_metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    """An evaluation's figures under the names of ``results.json``, all in percent."""
    return {
        name: factor * metrics[key] for key, (name, factor) in _METRICS.items() if key in metrics
    }


def parameters_in_millions(model: nn.Module) -> float:
    """Number of parameters / 1e6."""
    return sum(parameter.numel() for parameter in model.parameters()) / 1e6


def gflops(model: Any, image_size: int | tuple[int, int], channels: int = 3) -> float:
    """Forward arithmetic of one image, 1e9 multiply-adds counted as two operations.

    ``image_size`` is the side in pixels, or height and width.

    Attention is counted on the unfused kernel, which the counter can see into. Of a detector,
    backbone, pyramid and RPN count: the work of the heads on regions depends on what is found.
    """
    device = next(model.parameters()).device
    image = torch.zeros(1, channels, *height_and_width(image_size), device=device)
    training = model.training
    model.eval()
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        if hasattr(model, 'rpn_head'):
            model.rpn_head(model.extract_feat(image))
        else:
            model(image)
    model.train(training)
    return counter.get_total_flops() / 1e9


def measure_model(model: Any) -> dict[str, float]:
    """``params_m`` of a task model; ``gflops`` of one of our backbones, which know their input."""
    measured = {'params_m': round(parameters_in_millions(model), 4)}
    if hasattr(model.backbone, 'grid_size'):
        backbone = model.backbone
        rows, columns = (side * backbone.patch_embed.patch_size for side in backbone.grid_size)
        measured['gflops'] = round(gflops(model, (rows, columns), backbone.in_channels), 4)
    return measured


def measure_config(config: str) -> dict[str, float]:
    """:func:`measure_model` of a config's student, with random weights on the CPU."""
    from mmengine.registry import MODELS, DefaultScope

    import g2sd_mm

    from ..config.load import load_config
    from ..config.parts import plain_model
    from ..engine.norm import sync_batch_norm

    g2sd_mm.register_all()
    cfg = sync_batch_norm(load_config(config), 'none')
    cfg.model.backbone.init_cfg = None
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        return measure_model(MODELS.build(plain_model(cfg)))
