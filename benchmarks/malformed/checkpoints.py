"""Weights files of every format: looked into, converted, and loaded."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import pickle
import tempfile
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from safetensors.torch import save as safetensors_bytes

from g2sd_mm.checkpoints import CheckpointError
from g2sd_mm.checkpoints.load import load_verified
from g2sd_mm.checkpoints.read import read_weights
from g2sd_mm.cli.checkpoint_commands import convert, inspect
from g2sd_mm.errors import UserError
from g2sd_mm.students.load import load_student
from tests.helpers import fake_checkpoints as fakes
from tests.helpers import toys
from tests.helpers.students import student_folder

from .case import Case
from .examples import examples, nearly
from .mutations import mutated

_SIZE = fakes.Size(dim=16, depth=1, heads=2, patch=16, image=32, decoder_dim=8, decoder_depth=1)


def _state() -> dict[str, torch.Tensor]:
    return fakes.random_state(fakes.mae_full(_SIZE))


def _torch_file(content: Any, legacy: bool = False) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=not legacy)
    return file.getvalue()


@cache
def _formats() -> dict[str, bytes]:
    """The same network in every format that is read."""
    state = _state()
    arrays = {name: tensor.numpy() for name, tensor in state.items()}
    official = {'model': state, 'args': argparse.Namespace(lr=1.0), 'epoch': 3}
    return {
        'a.pth': _torch_file(official),
        'legacy.pth': _torch_file(official, legacy=True),
        'a.safetensors': safetensors_bytes(state, {'format': 'pt'}),
        'a.pkl': pickle.dumps({'model': arrays}, protocol=4),
        'old.pkl': pickle.dumps({'model': arrays}, protocol=2),
    }


def checkpoint_cases(each: int, states: int) -> Iterator[Case]:
    """``each`` damaged copies of every format, ``states`` sets of odd tensors, crafted files."""
    for seed, (name, content) in enumerate(_formats().items()):
        for what, damaged in mutated(content, each, seed):
            yield Case('checkpoint', f'{name}, {what}', partial(_use, name, damaged))
    for name, make in _CRAFTED.items():
        yield Case('checkpoint', name, partial(_use_crafted, name, make))
    for number, state in enumerate(examples(_odd_states(), states)):
        shown = ', '.join(f'{name} {list(tensor.shape)}' for name, tensor in state.items())
        run = partial(_use_crafted, 'odd.pth', partial(_torch_file, state))
        yield Case('checkpoint', f'tensors #{number}: {shown:.60}', run)


#: Tensors whose shapes tell what a network is.
_LOOKED_AT = (
    'pos_embed', 'patch_embed.proj.weight', 'head.weight', 'decoder_embed.weight', 'cls_token',
    'decoder_pos_embed', 'backbone.pos_embed', 'backbone.patch_embed.proj.weight', 'mask_token',
    'dist_token', 'blocks.0.mlp.fc1.weight', 'blocks.0.attn.qkv.weight', 'decoder_pred.weight',
    'blocks.0.attn.relative_position_bias_table', 'backbone.net.blocks.0.attn.rel_pos_h',
    'student.pos_embed', 'model.pos_embed', 'autoencoder.pos_embed', 'student.backbone.pos_embed',
    'decode_head.conv_seg.weight', 'encoderfeature_pred.weight', 'blocks.0.norm1.weight',
)  # fmt: skip


def _odd_states() -> st.SearchStrategy[dict[str, torch.Tensor]]:
    """Names of all layouts with tensors of any shape and type."""
    names = sorted(
        name
        for shapes in (
            fakes.mae_full, fakes.g2sd_classifier, fakes.segmentor, fakes.hf_mae, fakes.hf_vit,
            fakes.timm_distilled, fakes.mmpretrain_vit, fakes.stage2_run, fakes.detectron2,
            fakes.our_segmentor, fakes.mmseg,
        )
        for name in shapes(_SIZE)
    )  # fmt: skip
    name = st.sampled_from(_LOOKED_AT) | st.sampled_from(names) | st.text(max_size=6)
    some = st.lists(name, min_size=1, max_size=6)
    shape = st.lists(st.sampled_from([0, 1, 3, 5, 16]), max_size=4)
    dtype = st.sampled_from([torch.float32, torch.int64, torch.bool, torch.complex64])
    tensor = st.builds(lambda s, d: torch.zeros(s, dtype=d), shape, dtype)
    odd = some.flatmap(lambda keys: st.fixed_dictionaries(dict.fromkeys(keys, tensor)))
    whole = st.sampled_from([fakes.mae_full, fakes.hf_mae, fakes.segmentor, fakes.our_distilled])
    return odd | st.builds(lambda shapes, extra: {**fakes.random_state(shapes(_SIZE)), **extra},
                           whole, odd)  # fmt: skip


# Crafted files ------------------------------------------------------------------------------------


def _evil() -> toys.Calls:
    return toys.Calls(Path.write_text, Path('/tmp/malformed-was-here'), 'code ran')


def _laughs() -> list:
    """A list of ten lists of ten lists ...: small as a file, endless for who walks through it."""
    nested: list = [0.0]
    for _ in range(40):
        nested = [nested] * 10
    return nested


def _endless() -> dict:
    inside: dict = {}
    inside['model'] = inside
    return inside


def _arrays(**others: Any) -> bytes:
    return pickle.dumps({'model': {'a': np.zeros(3, np.float32), **others}}, protocol=4)


def _too_large_array() -> bytes:
    """An array that says it has more values than its bytes hold."""
    return _arrays().replace(pickle.dumps((3,), 4)[2:-1], pickle.dumps((2**40,), 4)[2:-1])


def _foreign_zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w') as archive:
        archive.writestr('../../outside.txt', 'x')
        archive.writestr('archive/data.pkl', pickle.dumps({'model': {}}))
        archive.writestr('archive/version', '3')
    return file.getvalue()


def _zip_bomb() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('archive/data.pkl', bytes(1 << 28))
        archive.writestr('archive/version', '3\n')
    return file.getvalue()


def _script() -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), file)
    return file.getvalue()


def _safetensors(header: dict | bytes, data: bytes = b'', size: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if size is None else size).to_bytes(8, 'little') + text + data


def _entry(**changes: Any) -> dict:
    return {'a': {'dtype': 'F32', 'shape': [2], 'data_offsets': [0, 8], **changes}}


_CRAFTED: dict[str, Callable[[], bytes]] = {
    'evil.pth': lambda: _torch_file({'model': _evil()}),
    'evil legacy.pth': lambda: _torch_file({'model': _evil()}, legacy=True),
    'evil.pkl': lambda: pickle.dumps({'model': _evil()}),
    'eval.pkl': lambda: pickle.dumps(toys.Calls(eval, '1')),
    'laughs.pth': lambda: _torch_file({'model': _state(), 'meta': _laughs()}),
    'laughs.pkl': lambda: _arrays(b=_laughs()),
    'endless.pth': lambda: _torch_file(_endless()),
    'endless.pkl': lambda: pickle.dumps(_endless()),
    'objects.pkl': lambda: _arrays(b=np.array([object], dtype=object)),
    'too large.pkl': _too_large_array,
    'foreign.pth': _foreign_zip,
    'bomb.pth': _zip_bomb,
    'script.pth': _script,
    'meta.pth': lambda: _torch_file({'state_dict': _state(), 'meta': 3, 'args': [1]}),
    'student.pth': lambda: _torch_file({'state_dict': _state(), 'meta': {'student': 'x'}}),
    'numbers.pth': lambda: _torch_file({1: torch.zeros(1), (2,): torch.zeros(2)}),
    'sparse.pth': lambda: _torch_file({'pos_embed': torch.eye(3).to_sparse()}),
    'quantised.pth': lambda: _torch_file(
        {'head.weight': torch.quantize_per_tensor(torch.eye(3), 0.1, 0, torch.qint8)}
    ),
    'nan.pth': lambda: _torch_file({k: v * float('nan') for k, v in _state().items()}),
    'ordered.pth': lambda: _torch_file(OrderedDict(state_dict=OrderedDict())),
    'long header.safetensors': lambda: _safetensors({}, size=2**62),
    'no JSON.safetensors': lambda: _safetensors(b'{"a": '),
    'a list.safetensors': lambda: _safetensors(b'[]'),
    'too far.safetensors': lambda: _safetensors(_entry(data_offsets=[0, 2**60])),
    'backwards.safetensors': lambda: _safetensors(_entry(data_offsets=[8, 0]), bytes(8)),
    'negative.safetensors': lambda: _safetensors(_entry(shape=[-2]), bytes(8)),
    'unknown.safetensors': lambda: _safetensors(_entry(dtype='F99'), bytes(8)),
    'huge.safetensors': lambda: _safetensors(_entry(shape=[2**40, 2**40]), bytes(8)),
}


# What is done with them ---------------------------------------------------------------------------


def _use_crafted(name: str, make: Callable[[], bytes], work: Path) -> None:
    _use(name, make(), work)


def _use(name: str, content: bytes, work: Path) -> None:
    (work / name).write_bytes(content)
    _use_path(work / name, work)


def _use_path(path: Path, work: Path) -> None:
    """Every tool is given it; the verdict is the first one's, which has least to ask for."""
    model = toys.autoencoder(dict(arch=dict(embed_dim=16, depth=1, num_heads=2, patch_size=16),
                                  decoder=toys.decoder(8, 1), img_size=32))  # fmt: skip
    tools: list[Callable[[], Any]] = [
        lambda: inspect.run(argparse.Namespace(files=[str(path)], names=True)),
        lambda: _convert(path, work / 'out.safetensors', 'ours'),
        lambda: _convert(path, work / 'folder', 'huggingface'),
        lambda: _fill(model, path),
        lambda: load_student(path),
    ]
    refused: list[Exception | None] = []
    for tool in tools:
        with contextlib.redirect_stdout(io.StringIO()):
            try:
                refused.append(tool())
            except (UserError, CheckpointError) as error:
                refused.append(error)
    if isinstance(refused[0], Exception):
        raise refused[0]


def _convert(path: Path, target: Path, layout: str) -> None:
    convert.run(
        argparse.Namespace(
            source=str(path), target=str(target), to=layout, side='student', img_size=None,
            positions=None, grid=None, heads=2, decoder_heads=2, force=False, weights=None,
            half=False,
        )
    )  # fmt: skip


def _fill(model: torch.nn.Module, path: Path) -> None:
    weights = read_weights(path)
    load_verified(model, weights.state, weights, purpose='an autoencoder')


# The files beside ---------------------------------------------------------------------------------


def beside_cases(number: int) -> Iterator[Case]:
    """Malformed ``*.index.json``, ``config.json`` of Hugging Face folders and ``weights.json``."""
    state = fakes.random_state(fakes.hf_mae(_SIZE))
    shards = {name: f'model-{1 + i % 2}.safetensors' for i, name in enumerate(state)}
    few = dict(list(shards.items())[:4])
    for what, index in nearly({'metadata': {'total_size': 1}, 'weight_map': few}, number):
        yield Case('index', what, partial(_read_index, json.dumps(index).encode()))
    for what, damaged in mutated(json.dumps({'weight_map': shards}).encode(), number // 2):
        yield Case('index', f'the text, {what}', partial(_read_index, damaged))
    config = {
        'model_type': 'vit_mae', 'hidden_size': 16, 'num_attention_heads': 2, 'image_size': 32,
        'decoder_num_attention_heads': 2, 'id2label': {'0': 'a'},
    }  # fmt: skip
    for what, other in nearly(config, number):
        yield Case('config.json', what, partial(_read_folder, json.dumps(other).encode()))
    for what, damaged in mutated(json.dumps(config).encode(), number // 2):
        yield Case('config.json', f'the text, {what}', partial(_read_folder, damaged))
    files = _student_files()
    for what, content in nearly(json.loads(files['weights.json']), number):
        changed = {**files, 'weights.json': json.dumps(content).encode()}
        yield Case('weights.json', what, partial(_read_student, changed))
    for what, damaged in mutated(files['weights.json'], number // 2):
        changed = {**files, 'weights.json': damaged}
        yield Case('weights.json', f'the text, {what}', partial(_read_student, changed))


def _read_index(index: bytes, work: Path) -> None:
    state = fakes.random_state(fakes.hf_mae(_SIZE))
    for shard in (0, 1):
        part = {name: tensor for i, (name, tensor) in enumerate(state.items()) if i % 2 == shard}
        (work / f'model-{1 + shard}.safetensors').write_bytes(safetensors_bytes(part))
    path = work / 'model.safetensors.index.json'
    path.write_bytes(index)
    _use_path(path, work)


def _read_folder(config: bytes, work: Path) -> None:
    (work / 'hf').mkdir()
    state = fakes.random_state(fakes.hf_mae(_SIZE))
    (work / 'hf' / 'model.safetensors').write_bytes(safetensors_bytes(state))
    (work / 'hf' / 'config.json').write_bytes(config)
    _use_path(work / 'hf', work)


@cache
def _student_files() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        return {path.name: path.read_bytes() for path in student_folder(Path(folder)).iterdir()}


def _read_student(files: dict[str, bytes], work: Path) -> None:
    for name, content in files.items():
        (work / name).write_bytes(content)
    load_student(work)
