"""A GPU that is not there: tensors that say they are on it, and are computed on the CPU.

They are refused wherever a real GPU's would be: beside a tensor of the CPU, and by numpy. So a
machine without a GPU finds what was left on the CPU. Kernels, streams and speed are another matter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

GPU = torch.device('cuda', 0)
_aten = torch.ops.aten
#: Indices may be on the CPU.
_INDEXING = {
    _aten.index.Tensor, _aten.index_put.default, _aten.index_put_.default,
    _aten._index_put_impl_.default,
}  # fmt: skip
#: Gives a number, or a bool, to Python.
_LEAVES = {_aten._local_scalar_dense.default, _aten.equal.default}


class MixedDevices(RuntimeError):
    """What torch says of tensors on two devices."""


class Pretended(Tensor):
    """A tensor [...] that says it is on a GPU; ``inner`` is where its numbers are."""

    inner: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl
    device = property(lambda self: GPU)
    is_cuda = property(lambda self: True)
    is_cpu = property(lambda self: False)

    @staticmethod
    def __new__(cls, inner: Tensor) -> Pretended:
        # for C++ it is on the CPU, which has no driver to ask
        made = torch.Tensor._make_wrapper_subclass(
            cls, inner.shape, strides=inner.stride(), storage_offset=inner.storage_offset(),
            dtype=inner.dtype, requires_grad=inner.requires_grad,
        )  # fmt: skip
        made.inner = inner
        return made

    def __repr__(self) -> str:
        return f'Pretended({self.inner})'

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        return _run(func, args, kwargs or {})

    def cpu(self, *args: Any, **kwargs: Any) -> Tensor:
        return _Fetched.apply(self)

    def cuda(self, *args: Any, **kwargs: Any) -> Tensor:
        return self

    def to(self, *args: Any, **kwargs: Any) -> Tensor:
        kept, device = [], kwargs.pop('device', None)
        kwargs.pop('non_blocking', None)
        for value in args:
            if isinstance(value, Tensor):
                device, value = value.device, value.dtype
            if isinstance(value, (str, torch.device)):
                device = value
            elif isinstance(value, torch.dtype):
                kept.append(value)
        moved = self.cpu() if device and torch.device(device).type == 'cpu' else self
        if not kept and not kwargs:
            return moved
        return super().to(*kept, **kwargs) if moved is self else moved.to(*kept, **kwargs)

    def numpy(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    __array__ = numpy

    def tolist(self) -> Any:
        return self.inner.tolist()

    def new_tensor(self, data: Any, dtype: Any = None, **kwargs: Any) -> Tensor:
        return Pretended(torch.tensor(data, dtype=dtype or self.dtype))


class _Fetched(torch.autograd.Function):
    """From the GPU to the CPU, and its gradient back."""

    @staticmethod
    def forward(ctx: Any, there: Pretended) -> Tensor:
        return there.inner.detach().clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return Pretended(gradient)


def _inner(value: Any) -> Any:
    return value.inner if isinstance(value, Pretended) else value


def _there(value: Any) -> Any:
    here = isinstance(value, Tensor) and not isinstance(value, Pretended)
    return Pretended(value) if here else value


def _run(func: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    """An operation on the numbers; refused for tensors of both devices."""
    tensors = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
    there = any(isinstance(tensor, Pretended) for tensor in tensors)
    if there and func is not _aten.copy_.default:
        ours = tensors[:1] if func in _INDEXING else tensors
        for tensor in ours:
            if tensor.ndim and not isinstance(tensor, Pretended):
                raise MixedDevices(f'{func}: {tuple(tensor.shape)} {tensor.dtype} is on the CPU')
    settings = dict(kwargs)
    if settings.get('device') is not None:
        # of what is made like a tensor, C++ fills in the device that it takes it to be on
        there = there or torch.device(settings['device']).type == 'cuda'
        settings['device'] = torch.device('cpu')
    settings.pop('pin_memory', None)  # which a driver does
    done = func(*tree_map(_inner, args), **tree_map(_inner, settings))
    if func in _LEAVES:
        return done
    if func._schema.is_mutable and isinstance(args[0], Tensor):  # in place
        return args[0]
    return tree_map(_there, done) if there else done


class _Mode(TorchDispatchMode):
    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        return _run(func, args, kwargs or {})


def _placed(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """``torch.tensor`` and the like, which make tensors without an operation to be seen."""

    def made(data: Any, *args: Any, device: Any = None, **kwargs: Any) -> Tensor:
        if isinstance(data, Pretended):
            return data if device is None else data.to(device)
        found = make(data, *args, **kwargs)
        return Pretended(found) if device and torch.device(device).type == 'cuda' else found

    return made


def _one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    done = _ONE_HOT(_inner(tensor), num_classes)
    return Pretended(done) if isinstance(tensor, Pretended) else done


_ONE_HOT = nn.functional.one_hot


@contextmanager
def pretended_gpu() -> Iterator[None]:
    """``device='cuda'`` makes pretended tensors in this block, in this thread."""
    torch._C._ensureCUDADeviceGuardSet()
    with (
        patch('torch.cuda._lazy_init', lambda: None),
        patch('torch.tensor', _placed(torch.tensor)),
        patch('torch.as_tensor', _placed(torch.as_tensor)),
        patch('torch.nn.functional.one_hot', _one_hot),
        _Mode(),
    ):
        yield


def moved(module: nn.Module) -> nn.Module:
    """A module as ``to('cuda')`` leaves it, in place."""
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        module._apply(_there)
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(False)
    for part in module.modules():
        if hasattr(part, '_device'):  # mmengine's preprocessors note it down
            part._device = GPU
    return module


class _Event:
    """A stream, or an event in one, where nothing has to be waited for."""

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    def record(self, *args: Any) -> None: ...

    def synchronize(self) -> None: ...

    def wait_stream(self, other: Any) -> None: ...

    def elapsed_time(self, other: Any) -> float:
        return 1.0

    def __enter__(self) -> _Event:
        return self

    def __exit__(self, *args: Any) -> None: ...


#: What ``torch.cuda`` answers where there is one GPU.
_LIBRARY: dict[str, Any] = {
    'is_available': lambda: True, 'device_count': lambda: 1, 'current_device': lambda: 0,
    'is_bf16_supported': lambda *args, **kwargs: True, 'get_device_name': lambda *args: 'pretended',
    'get_device_capability': lambda *args: (9, 0), 'mem_get_info': lambda *args: (1 << 36, 1 << 37),
    'Event': _Event, 'Stream': _Event, 'stream': lambda stream: stream,
    'current_stream': lambda *args: _Event(),
    **dict.fromkeys(('max_memory_allocated', 'memory_allocated'), lambda *args, **kwargs: 0),
    **dict.fromkeys(
        ('set_device', 'synchronize', 'empty_cache', 'manual_seed', 'manual_seed_all',
         'reset_peak_memory_stats'),
        lambda *args: None,
    ),
}  # fmt: skip


@contextmanager
def pretended_machine() -> Iterator[None]:
    """One that has a :func:`pretended_gpu`, for whole runs without loader workers."""
    from mmengine.runner import runner

    with ExitStack() as stack:
        for name, answer in _LIBRARY.items():
            stack.enter_context(patch(f'torch.cuda.{name}', answer))
        stack.enter_context(patch.object(runner, 'get_device', lambda: 'cuda'))
        stack.enter_context(pretended_gpu())
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        stack.callback(torch.__future__.set_overwrite_module_params_on_conversion, False)
        yield
