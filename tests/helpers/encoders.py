"""State dicts of other people's vision encoders, by their own constructors with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from g2sd_mm.devices import on_meta_device

State = dict[str, torch.Tensor]

#: A vision transformer of transformers, small.
TINY_VIT = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
                image_size=32, patch_size=8)  # fmt: skip
TINY_CONV = dict(hidden_sizes=[4, 8, 16, 32], depths=[1, 1, 2, 1])
TINY_SWIN = dict(embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 2, 4, 8])
TINY_TEXT = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
                 vocab_size=10, bos_token_id=0, eos_token_id=1, pad_token_id=1)  # fmt: skip


def timm_state(name: str, **arguments: Any) -> State:
    """Tensors of a model of timm without memory; skips where the installed timm has no such one."""
    timm = pytest.importorskip('timm')
    if not timm.is_model(name):
        pytest.skip(f'no {name} in this version of timm')
    with on_meta_device():
        return timm.create_model(name, **arguments).state_dict()


def hugging_face(name: str, **size: Any) -> Any:
    """A small model of transformers with random weights, of its class ``{name}Model``."""
    transformers = pytest.importorskip('transformers')
    if not hasattr(transformers, f'{name}Model'):
        pytest.skip(f'no {name} in this version of transformers')
    torch.manual_seed(0)
    config = getattr(transformers, f'{name}Config')(**(size or TINY_VIT))
    return getattr(transformers, f'{name}Model')(config)


def as_real(state: State) -> State:
    """Tensors of the same names and shapes with small random values; variances are positive."""
    generator = torch.Generator().manual_seed(0)
    real = {}
    for name, tensor in state.items():
        values = torch.randn(tensor.shape, generator=generator) * 0.02
        if name.endswith('running_var'):
            values = values.abs() + 1
        whole = not tensor.is_floating_point()
        real[name] = torch.zeros_like(tensor, device='cpu') if whole else values
    return real


def save_folder(name: str, folder: Path, **size: Any) -> Path:
    """A folder as ``save_pretrained`` writes it, with a preprocessor's statistics."""
    hugging_face(name, **size).save_pretrained(folder)
    (folder / 'preprocessor_config.json').write_text(
        '{"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}'
    )
    return folder
