"""Size and arithmetic of networks, deployed and in training; names of metrics in results.

A multiply-add counts as two operations. Products, convolutions and attention are counted, on the
unfused kernel, which the counter can see into.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import g2sd_mm

from ...config.load import load_config
from ...config.parts import (
    import_named_libraries,
    plain_model,
    sync_batch_norm,
    task_of_config,
    use_block,
    use_random_weights,
)
from ...distill.meta import MetaTemperatureHook
from ...engine.undisturbed import silent
from ...errors import UserError
from ...models.positions import height_and_width
from ...models.vit import VisionTransformer
from ...seeding import Generators
from ...tasks import TASKS, Task
from .suites import Step

_IMAGES = 2  # of a training step: batch norm over one value refuses


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


@contextmanager
def _counted() -> Iterator[FlopCounterMode]:
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        yield counter


def gflops(
    model: Any,
    image_size: int | tuple[int, int],
    task: Task | None = None,
    channels: int = 3,
) -> float:
    """Forward arithmetic of one image (side, or height and width), in 1e9.

    Of a task, its ``fixed_part`` counts: what every image costs alike, whatever is found in it.
    """
    device = next(model.parameters()).device
    image = torch.zeros(1, channels, *height_and_width(image_size), device=device)
    training = model.training
    model.eval()
    with torch.no_grad(), _counted() as counter:
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
    g2sd_mm.register_all()
    cfg = sync_batch_norm(load_config(config, options), 'none')
    cfg.model.backbone.init_cfg = None
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        return measure_model(MODELS.build(plain_model(cfg)), task_of_config(cfg))


def training_gflops(step: Step) -> float | None:
    """Arithmetic of one training image of a step, forward and backward, in 1e9.

    That of teachers and of what adapts temperatures counts too, the optimizer's does not. Counted
    on the first images of the training data and with random weights: what a detector does with
    regions is as it is at the start.

    Returns:
        None where the step's images are not there; none are generated for this.
    """
    g2sd_mm.register_all()
    cfg = use_block(sync_batch_norm(load_config(step.config, step.options), 'none'))
    use_random_weights(cfg)
    import_named_libraries(cfg)
    generators = Generators()
    scope = cfg.get('default_scope') or 'mmengine'
    try:
        with silent(), DefaultScope.overwrite_default_scope(scope):
            batch = next(iter(Runner.build_dataloader(_few(cfg.train_dataloader))))
            model: Any = MODELS.build(plain_model(g2sd_mm.distill_config(cfg)))
            model.train()
            with _counted() as counter:
                given = model.data_preprocessor(batch, True)
                losses = model(**given, mode='loss')
                model.parse_losses(losses)[0].backward()
            total = counter.get_total_flops()
            for hook in cfg.get('custom_hooks') or ():
                if hook['type'] == MetaTemperatureHook.__name__:
                    # half a batch: as above, labels alone, the teacher, three without gradients
                    with torch.no_grad(), _counted() as counter:
                        model.student(**given, mode='loss')
                    total += (total + 1.5 * counter.get_total_flops()) / hook.get('every', 10)
    except (FileNotFoundError, UserError):
        return None
    finally:
        generators.restore()
    return total / _IMAGES / 1e9


def _few(loader: Any) -> dict[str, Any]:
    """A training loader that gives one small batch, in this process."""
    few = loader.to_dict() | dict(batch_size=_IMAGES, num_workers=0, persistent_workers=False)
    for key in ('prefetch_factor', 'batch_sampler', 'pin_memory'):
        few.pop(key, None)
    return {**few, 'sampler': dict(type='DefaultSampler', shuffle=False)}
