"""Train with transformer blocks on ``torch.compile``, where that works."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import nn

from ...models.vit import Block
from ...text import first_line
from ..sharding import ShardedDataParallel
from .access import bare_model, frozen_networks

#: Compiled forms of one function: widths, precisions, windows, drop-path rates, with and without
#: gradients. Blocks that are alike share one.
_FORMS = 256


def compile_blocks(*networks: nn.Module) -> list[Block]:
    """Compile every transformer block in place; names of parameters stay as they are.

    Returns:
        the blocks, each of which :func:`run_plainly` takes back.
    """
    blocks = [m for network in networks for m in network.modules() if isinstance(m, Block)]
    compile_each(blocks)
    return blocks


def compile_each(blocks: Iterable[nn.Module]) -> None:
    """Compile blocks in place, each for itself: those of one network are alike and share the code.

    Their shapes are fixed (50 and 197 tokens in stage 1, 198 in classification), so every shape
    gets a form of its own instead of one form with unknown sizes. Two settings of
    ``torch._dynamo.config`` are changed for the whole process, since blocks are compiled when they
    run: how many forms there may be, and that code is shared by blocks with the same hooks only. A
    tap inside of a block is a hook, which the code of a block without one would leave out.
    """
    config = torch._dynamo.config
    limit = 'recompile_limit' if hasattr(config, 'recompile_limit') else (
        'cache_size_limit'  # before torch 2.7
    )
    setattr(config, limit, max(_FORMS, getattr(config, limit)))
    config.skip_nnmodule_hook_guards = False
    for block in blocks:
        block.compile(dynamic=False)


def run_plainly(blocks: list[Block]) -> None:
    """Let blocks run as they were written again, in place."""
    for block in blocks:
        block._compiled_call_impl = None


def why_not(device: str) -> str | None:
    """Why ``torch.compile`` does not work on a device, in one line; None where it does.

    Tried on a small block, both passes: a few seconds once on a machine. Nothing else tells: a
    compiler, its headers, Triton and the driver all have to be there and to fit.
    """
    block = Block(16, 2).to(device)
    tokens = torch.randn(2, 5, 16, device=device, requires_grad=True)
    try:
        compile_each([block])
        block(tokens).sum().backward()
    except Exception as error:  # whatever stops it, training goes on without
        torch._dynamo.reset()
        return f'{type(error).__name__}: {first_line(error) or "no message"}'
    return None


@HOOKS.register_module()
class CompileHook(Hook):
    """Compiles the blocks of the model and, apart from it, of the frozen networks beside it.

    Parameters keep their names, so checkpoints are those of any other run. Where ``torch.compile``
    does not work the log has one line with the reason, and the run goes on without. (mmengine's own
    ``compile=`` compiles a whole step with its optimizer and its hooks; this one is in its place.)

    Validation runs the student as written: its batches have other shapes, each of which would be
    compiled for a single use.

    Args:
        on_cpu: compile on a CPU too; otherwise only on a GPU.
    """

    def __init__(self, on_cpu: bool = False) -> None:
        self.on_cpu = on_cpu
        self._student: list[Block] = []

    def before_train(self, runner: Runner) -> None:
        """Try, and compile or say why not."""
        model = bare_model(runner)
        device = next(model.parameters()).device.type
        if device == 'cpu' and not self.on_cpu:
            return
        sharded = isinstance(runner.model, ShardedDataParallel)
        reason = 'they are sharded' if sharded else why_not(device)
        if reason:
            runner.logger.warning('blocks are not compiled: %s', reason)
            return
        # what one kind of block alone cannot do, it does plainly
        torch._dynamo.config.suppress_errors = True
        self._student = compile_blocks(model)
        frozen = compile_blocks(*frozen_networks(model))
        runner.logger.info(
            'compiled on first use: %d blocks of the student, %d of the teacher',
            len(self._student), len(frozen),
        )

    def before_val(self, runner: Runner) -> None:
        """Plain blocks for validation."""
        run_plainly(self._student)

    def after_val(self, runner: Runner) -> None:
        """Compiled ones again; what was compiled is still there."""
        compile_each(self._student)
