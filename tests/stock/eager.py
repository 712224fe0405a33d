"""Compiled blocks without a compiler, for a config with ``custom_imports`` of this file."""

from __future__ import annotations

from functools import partialmethod
from unittest import mock

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import nn

from g2sd_mm.engine.hooks.access import bare_model, frozen_networks
from g2sd_mm.engine.hooks.compile import compile_blocks
from g2sd_mm.models.vit import Block


@HOOKS.register_module()
class EagerCompileHook(Hook):
    """Traces the blocks of all networks as ``CompileHook`` does, and runs them as they are."""

    def before_train(self, runner: Runner) -> None:
        """Before the first step."""
        model = bare_model(runner)
        traced = partialmethod(nn.Module.compile, backend='eager')
        with mock.patch.object(Block, 'compile', traced):
            assert compile_blocks(model, *frozen_networks(model))
