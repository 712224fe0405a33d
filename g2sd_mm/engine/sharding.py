"""Networks whose weights, gradients and moments are spread over the processes (FSDP).

torch's ``fully_shard`` block by block, for teachers and students that do not fit a GPU beside each
other. What is saved and loaded has the whole tensors under their usual names: a checkpoint of a
sharded run is one of a run on a single GPU.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmengine.registry import MODEL_WRAPPERS, RUNNERS
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils._pytree import tree_map_only

from ..errors import UserError
from ..models.vit import Block
from .hooks.access import frozen_networks

try:  # torch 2.6
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import DTensor, distribute_tensor
except ImportError:
    fully_shard = DTensor = None  # type: ignore[assignment, misc]


@MODEL_WRAPPERS.register_module()
class ShardedDataParallel(nn.Module):
    """Takes DDP's place: ``model_wrapper_cfg=dict(type='ShardedDataParallel')``.

    Every block of the student is gathered for its own forward and backward pass, what lies outside
    of blocks for the whole step. Of a frozen teacher the blocks are sharded, and nothing of it is
    synchronised. Needs ``runner_type='ShardedRunner'``, which saves with all processes.

    Args:
        module: the model, of which every process has the same copy.

    Raises:
        UserError: where torch is too old.
    """

    def __init__(self, module: BaseModel) -> None:
        super().__init__()
        if fully_shard is None:
            raise UserError(
                f'sharding needs torch 2.6 or newer, this is {torch.__version__}: leave '
                'model_wrapper_cfg out of the config'
            )
        module.init_weights()  # whole tensors are easier to draw than their parts
        module.init_weights = _nothing
        for tensor in module.state_dict().values():
            dist.broadcast(tensor, 0)
        self.module = module
        device = next(module.parameters()).device.type
        mesh = init_device_mesh(device, (dist.get_world_size(),))
        networks = [*frozen_networks(module), module]
        for network in networks:
            for block in (m for m in network.modules() if isinstance(m, Block)):
                fully_shard(block, mesh=mesh, reshard_after_forward=True)
        fully_shard(self, mesh=mesh, reshard_after_forward=True)
        for part in itertools.chain.from_iterable(network.modules() for network in networks):
            part.register_state_dict_post_hook(_gather_own)
            part.register_load_state_dict_pre_hook(_part_own)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The model's own."""
        return self.module(*args, **kwargs)

    def train_step(self, data: Any, optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        """One update, or one step on the way to it."""
        with optim_wrapper.optim_context(self):
            data = self.module.data_preprocessor(data, True)
            losses = self._run(data, 'loss')
        total, shown = self.module.parse_losses(losses)
        # what the backward pass finds here decides, not what the forward pass did
        sharded: Any = self  # a method that fully_shard adds
        sharded.set_requires_gradient_sync(optim_wrapper.should_sync())
        optim_wrapper.update_params(total)
        return shown

    def val_step(self, data: Any) -> list:
        """Predictions for a batch."""
        return self._run(self.module.data_preprocessor(data, False), 'predict')

    test_step = val_step

    def _run(self, data: Any, mode: str) -> Any:
        return self(**data, mode=mode) if isinstance(data, dict) else self(*data, mode=mode)

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        """Nothing to do: mmengine enters it around the forward pass, see :meth:`train_step`."""
        yield


@RUNNERS.register_module()
class ShardedRunner(Runner):
    """mmengine's ``Runner``, whose checkpoints all processes gather and the first one writes."""

    def save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        """See the base class, which runs in the first process alone."""
        if not isinstance(self.model, ShardedDataParallel):
            super().save_checkpoint(*args, **kwargs)
            return
        sides = (self.model.module, self.optim_wrapper)
        whole = [_whole(side.state_dict()) for side in sides]
        for side, state in zip(sides, whole, strict=True):
            side.state_dict = lambda state=state: state
        try:
            super().save_checkpoint(*args, **kwargs)
        finally:
            for side in sides:
                del side.state_dict  # the class's own shows again


def shard_moments(optimizer: Optimizer) -> Optimizer:
    """Let an optimizer of sharded parameters load whole moments, in place."""
    if DTensor is not None:
        optimizer.register_load_state_dict_pre_hook(_with_sharded_moments)
    return optimizer


def _with_sharded_moments(optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    parameters = [p for group in optimizer.param_groups for p in group['params']]
    numbers = [n for group in state['param_groups'] for n in group['params']]
    moments = dict(state['state'])
    for number, parameter in zip(numbers, parameters, strict=False):  # torch counts them
        if isinstance(parameter, DTensor) and number in moments:
            moments[number] = {
                name: _part(value, parameter) for name, value in moments[number].items()
            }
    return {**state, 'state': moments}


def _gather_own(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    for name in module._parameters:
        if isinstance(state.get(prefix + name), DTensor):
            state[prefix + name] = _whole(state[prefix + name])


def _part_own(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    own: dict[str, Any] = module._parameters
    for name, parameter in own.items():
        if prefix + name in state and isinstance(parameter, DTensor):
            state[prefix + name] = _part(state[prefix + name], parameter)


def _whole(value: Any) -> Any:
    """All sharded tensors in it whole, on the CPU; every process has to ask for them."""
    return tree_map_only(DTensor, lambda tensor: tensor.full_tensor().cpu(), value)


def _part(value: Any, like: Any) -> Any:
    """A whole tensor of a parameter's shape, sharded as the parameter is; all else as it is."""
    if not isinstance(value, Tensor) or isinstance(value, DTensor) or value.shape != like.shape:
        return value
    value = value.to(like.device)
    return distribute_tensor(value, like.device_mesh, like.placements, src_data_rank=None)


def _nothing() -> None:
    """Weights are there already."""
