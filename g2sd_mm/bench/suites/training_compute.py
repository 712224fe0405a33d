"""The arithmetic of a training step, with its teachers': what a row costs on any machine."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import g2sd_mm

from ...config.load import load_config
from ...config.parts import (
    import_named_libraries,
    plain_model,
    sync_batch_norm,
    use_random_weights,
)
from ...distill.meta import MetaTemperatureHook
from ...engine.undisturbed import silent
from ...errors import UserError
from ...seeding import Generators
from .suites import Step

_IMAGES = 2  # batch norm over one value refuses


def training_gflops(step: Step) -> float | None:
    """Arithmetic of one training image of a step, forward and backward, in 1e9.

    A multiply-add counts as two operations. Products, convolutions and attention are counted (on
    the unfused kernel, which the counter can see into), those of teachers and of what adapts
    temperatures too; the optimizer is not. Counted on the first images of the training data and
    with random weights: what a detector does with regions is as it is at the start.

    Returns:
        None where the step's images are not there; none are generated for this.
    """
    g2sd_mm.register_all()
    cfg = use_random_weights(sync_batch_norm(load_config(step.config, step.options), 'none'))
    import_named_libraries(cfg)
    generators = Generators()
    scope = cfg.get('default_scope') or 'mmengine'
    try:
        with silent(), DefaultScope.overwrite_default_scope(scope):
            batch = next(iter(Runner.build_dataloader(_few(cfg.train_dataloader))))
            model: Any = MODELS.build(plain_model(g2sd_mm.distill_config(cfg)))
            model.train()
            with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
                given = model.data_preprocessor(batch, True)
                losses = model(**given, mode='loss')
                model.parse_losses(losses)[0].backward()
            total = counter.get_total_flops()
            for hook in cfg.get('custom_hooks') or ():
                if hook['type'] == MetaTemperatureHook.__name__:
                    # half a batch: as above, labels alone, the teacher, three without gradients
                    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
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
