"""Train with compiled transformer blocks where that works."""

from __future__ import annotations

import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ...models.vit import Block
from ..compiling import compile_blocks, run_plainly, why_not
from ..sharding import ShardedDataParallel
from .access import bare_model, frozen_networks


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
        for block in self._student:
            block.compile(dynamic=False)
