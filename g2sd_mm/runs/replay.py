"""``tools/train.py --replay``: run a step that was not finite again, and find where it begins."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner
from torch import nn

import g2sd_mm

from ..checkpoints import CheckpointError
from ..checkpoints.load import compare
from ..config.load import load_config
from ..config.parts import distillations_in
from ..distill.hooks import DistillationHook, distillations_of
from ..engine.failure_dump import read_bundle
from ..engine.hooks.access import bare_model, frozen_networks
from ..engine.tensors import all_finite, tensors_in
from ..seeding import seed_everything
from ..text import printable, some
from .prepare import name_run


def replay(
    config: str, bundle: str, options: dict[str, Any] | None = None, runs: str = 'work_dirs'
) -> str:
    """Run the update of a bundle without applying it; return what was found.

    Args:
        config: the run's config; the copy in its work dir has the options that it was run with.
        bundle: file that the run left.
        options: dotted key -> value.
        runs: folder in which configs find each other's weights.

    Raises:
        CheckpointError: if the file is no bundle, or not of this config.
    """
    g2sd_mm.register_all()
    cfg = load_config(config, options, runs)
    content = read_bundle(bundle)
    with tempfile.TemporaryDirectory() as folder:  # the run's own logs stay as they are
        runner = _build(g2sd_mm.distill_config(cfg), folder, config)
        report = _find(runner, content)
    return report


def _build(cfg: Config, folder: str, config: str) -> Runner:
    cfg.work_dir, cfg.log_level, cfg.resume, cfg.load_from = folder, 'ERROR', False, None
    cfg.custom_hooks = distillations_in(cfg)  # hooks alone: a block is in the model by now
    name_run(cfg, config)
    runner = Runner.from_cfg(cfg)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    return runner


def _find(runner: Runner, content: dict[str, Any]) -> str:
    """Run all micro-batches of the update, until something is not finite."""
    model = bare_model(runner)
    if problems := compare(model.state_dict(), content['state_dict']).problems():
        raise CheckpointError(
            f'the bundle is not of this config; parameters: {problems}. Give the config in the '
            "run's work dir, which has the options that it was run with"
        )
    model.load_state_dict(content['state_dict'])
    if broken := [name for name, p in model.named_parameters() if not all_finite([p])]:
        return f'not finite before the step: {some(broken)}'
    model.train()
    added = [hook for hook in runner.hooks if isinstance(hook, DistillationHook)]
    for hook in added:
        hook.before_train(runner)
    lines = []
    for number, updates, batch, files in zip(
        content['steps'], content['updates'], content['batches'], content['files'], strict=True
    ):
        seed_everything(content['seed'], number, content['rank'])
        for distillation in (*distillations_of(model), *(hook.distillation for hook in added)):
            distillation.update = updates
        with _watching(model) as first, runner.optim_wrapper.optim_context(runner.model):
            losses = model(**model.data_preprocessor(batch, True), mode='loss')
            total, terms = model.parse_losses(losses)
        said = ', '.join(f'{name}={value.item():.4g}' for name, value in terms.items())
        lines.append(f'step {number + 1}: {said}')
        if first:
            lines.append(f'the first module that gives a number that is not finite: {first[0]}')
        elif not all_finite([total]):
            lines.append('all modules are finite, a loss is not: look at the loss and the labels')
        else:
            total.backward()
            grads = ((name, p.grad) for name, p in model.named_parameters() if p.grad is not None)
            if not (bad := [name for name, grad in grads if not all_finite([grad])]):
                continue
            lines.append(
                'the losses are finite; gradients are not, from the output backwards first in: '
                f'{some(bad[::-1])}'
            )
        lines.append(f'files of the batch: {", ".join(files) or "unknown"}')
        return '\n'.join(map(printable, lines))
    lines.append('all is finite here: the step depends on another rank, device or precision')
    return '\n'.join(map(printable, lines))


@contextmanager
def _watching(model: nn.Module) -> Iterator[list[str]]:
    """Yields a list that gets the names of modules whose output is not finite, in call order."""
    seen: list[str] = []
    named = [(name, module) for name, module in model.named_modules() if name]
    for frozen in frozen_networks(model):
        named += [(f'teacher {name}', module) for name, module in frozen.named_modules()]

    def watch(name: str) -> Any:
        def hook(module: nn.Module, args: tuple, output: Any) -> None:
            if not all_finite(list(tensors_in(output))):
                seen.append(f'{name} ({type(module).__name__})')

        return hook

    handles = [module.register_forward_hook(watch(name)) for name, module in named]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
