"""Transformer blocks on ``torch.compile``, and whether it works on this machine at all."""

from __future__ import annotations

import torch
from torch import nn

from ..models.vit import Block
from ..text import first_line

#: Compiled forms of one function: widths, precisions, windows, drop-path rates, with and without
#: gradients. Blocks that are alike share one.
_FORMS = 256


def compile_blocks(*networks: nn.Module) -> list[Block]:
    """Compile every transformer block in place; names of parameters stay as they are.

    Block by block: those of one network are alike, so one is compiled for all of them. Their
    shapes are fixed (50 and 197 tokens in stage 1, 198 in classification), so every shape gets a
    form of its own instead of one form with unknown sizes.

    Returns:
        the blocks, each of which :func:`run_plainly` takes back.
    """
    limit = 'recompile_limit' if hasattr(torch._dynamo.config, 'recompile_limit') else (
        'cache_size_limit'  # before torch 2.7
    )
    setattr(torch._dynamo.config, limit, max(_FORMS, getattr(torch._dynamo.config, limit)))
    blocks = [m for network in networks for m in network.modules() if isinstance(m, Block)]
    for block in blocks:
        block.compile(dynamic=False)
    return blocks


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
        block.compile(dynamic=False)
        block(tokens).sum().backward()
    except Exception as error:  # whatever stops it, training goes on without
        torch._dynamo.reset()
        return f'{type(error).__name__}: {first_line(error) or "no message"}'
    return None
