"""Size and arithmetic of a deployed network, and the names that metrics have in results."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from ...models.positions import height_and_width
from ...models.vit import VisionTransformer
from ...tasks import TASKS, Task


def agreed_metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    """An evaluation's figures under the names of ``results.json``, all in percent.

    A figure that is not a number stays so (JSON may have null for it).
    """
    numbers = {key: math.nan if value is None else value for key, value in metrics.items()}
    found: dict[str, float] = {}
    for task in TASKS.values():
        found |= task.agreed(numbers)
    return found


def parameters_in_millions(model: nn.Module) -> float:
    """Number of parameters / 1e6."""
    return sum(parameter.numel() for parameter in model.parameters()) / 1e6


def gflops(
    model: Any,
    image_size: int | tuple[int, int],
    task: Task | None = None,
    channels: int = 3,
) -> float:
    """Forward arithmetic of one image (side, or height and width), in 1e9.

    A multiply-add counts as two operations.

    Attention is counted on the unfused kernel, which the counter can see into. Of a task, its
    ``fixed_part`` counts: what every image costs alike, whatever is found in it.
    """
    device = next(model.parameters()).device
    image = torch.zeros(1, channels, *height_and_width(image_size), device=device)
    training = model.training
    model.eval()
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        task.fixed_part(model, image) if task else model(image)
    model.train(training)
    return counter.get_total_flops() / 1e9


def measure_model(model: Any, task: Task | None = None) -> dict[str, float]:
    """``params_m`` of a task model; ``gflops`` of one of our backbones, which know their input."""
    measured = {'params_m': round(parameters_in_millions(model), 4)}
    backbone = model.backbone
    if isinstance(backbone, VisionTransformer):  # a detector's positions are of smaller images
        counted = gflops(model, backbone.img_size, task, backbone.in_channels)
        measured['gflops'] = round(counted, 4)
    return measured


def measure_config(config: str, options: dict[str, Any] | None = None) -> dict[str, float]:
    """:func:`measure_model` of a config's student, with random weights on the CPU."""
    from mmengine.registry import MODELS, DefaultScope

    import g2sd_mm

    from ...config.load import load_config
    from ...config.parts import plain_model, sync_batch_norm, task_of_config

    g2sd_mm.register_all()
    cfg = sync_batch_norm(load_config(config, options), 'none')
    cfg.model.backbone.init_cfg = None
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        return measure_model(MODELS.build(plain_model(cfg)), task_of_config(cfg))
