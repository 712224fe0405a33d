"""Networks, files and configs that are small enough for a test."""

from __future__ import annotations

import logging
import multiprocessing
import os
import random
import re
import runpy
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures.thread import _threads_queues  # type: ignore[attr-defined]
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import MODELS
from PIL import Image
from torch import Tensor, nn

from g2sd_mm.distill import SpecificDistiller
from g2sd_mm.errors import UserError
from g2sd_mm.models.mae import MaskedAutoencoder
from g2sd_mm.models.sizes import decoder_size, encoder_size

ROOT = Path(__file__).resolve().parents[2]
IMAGE, PATCH, PATCHES = 32, 8, 16
CLASSES = 3


def images(number: int = 2, size: int = IMAGE, seed: int = 0) -> Tensor:
    """Normal noise [number, 3, size, size]."""
    return torch.randn(number, 3, size, size, generator=torch.Generator().manual_seed(seed))


def arch(dim: int = 16, depth: int = 2, heads: int = 2) -> dict[str, int]:
    """An encoder size in full, patches of 8 px."""
    return dict(embed_dim=dim, depth=depth, num_heads=heads, patch_size=PATCH)


def decoder(dim: int = 12, depth: int = 2, heads: int = 2) -> dict[str, int]:
    """A decoder size in full."""
    return dict(embed_dim=dim, depth=depth, num_heads=heads)


STUDENT = dict(arch=arch(16, 2), decoder=decoder(12, 2), img_size=IMAGE)
TEACHER = dict(arch=arch(24, 3), decoder=decoder(20, 3), img_size=IMAGE)


def autoencoder(size: dict = TEACHER, seed: int = 0, **changes: Any) -> MaskedAutoencoder:
    """An initialised masked autoencoder."""
    torch.manual_seed(seed)
    model = MaskedAutoencoder(**{**size, **changes})
    model.init_weights()
    return model


def stage1_cfg(
    teacher: dict | None = None,
    tokens: str = 'all',
    encoder: float = 0.0,
    relation: float = 0.0,
    heads: int = 1,
    **student: Any,
) -> dict[str, Any]:
    """``model`` and ``distillation`` of a stage-1 config; its teacher has random weights.

    Args:
        teacher: changes of the teacher; without ``random_weights`` it needs a checkpoint.
        tokens: those that are compared.
        encoder, relation, heads: weights of the losses on the encoders' features and relations, if
            not 0, and relation heads.
        student: changes of the student.
    """
    own = {'type': 'MaskedStudent', **STUDENT, **student}
    teacher = {
        'type': 'MAETeacher', **TEACHER, 'until': 'decoder_blocks.1',
        **(teacher or {'random_weights': True}),
    }  # fmt: skip
    taps = {'tokens': dict(student='decoder_blocks.-1', teacher='decoder_blocks.-1')}
    adapters = {'tokens': mlp(decoder_size, own['decoder'], teacher['decoder'])}
    losses = {'loss_tokens': dict(type='SmoothL1FeatureLoss', tap='tokens', tokens=tokens)}
    if encoder:
        taps['encoder'] = dict(student='norm', teacher='blocks.-1')
        adapters['encoder'] = mlp(encoder_size, own['arch'], teacher['arch'])
        losses['loss_encoder'] = dict(
            type='SmoothL1FeatureLoss', tap='encoder', loss_weight=encoder
        )
    if relation:
        taps['relations'] = dict(student='blocks.*.attn.qkv', teacher='blocks.*.attn.qkv')
        losses['loss_relation'] = dict(
            type='TokenRelationLoss', tap='relations', heads=heads, loss_weight=relation
        )
    block = dict(teacher=teacher, taps=taps, adapters=adapters, losses=losses)
    return dict(model=own, distillation=block)


def mlp(size_of: Callable[[Any], Any], student: Any, teacher: Any) -> dict[str, Any]:
    """A ``MlpAdapter`` between the widths of two sizes."""
    widths = [size_of(size).embed_dim for size in (student, teacher)]
    return dict(type='MlpAdapter', in_channels=widths[0], out_channels=widths[1])


def distiller(seed: int = 0, **changes: Any) -> SpecificDistiller:
    """The distiller of :func:`stage1_cfg`, initialised."""
    torch.manual_seed(seed)
    cfg = stage1_cfg(**changes)
    model = SpecificDistiller(student=cfg['model'], **cfg['distillation'])
    model.init_weights()
    return model


def classifier_cfg(
    out_type: str = 'avg_featmap', dim: int = 16, classes: int = CLASSES, **backbone: Any
) -> dict[str, Any]:
    """Config of an mmpretrain ``ImageClassifier`` with our backbone."""
    two = out_type == 'dist_token'
    return dict(
        _scope_='mmpretrain',
        type='ImageClassifier',
        backbone={
            **dict(type='G2SDViT', arch=arch(dim), img_size=IMAGE, out_type=out_type),
            **backbone,
        },
        head=dict(
            type='TwoTokenClsHead' if two else 'LinearClsHead',
            num_classes=classes,
            in_channels=dim,
            loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
            **({} if two else dict(init_cfg=dict(type='TruncNormal', layer='Linear', std=0.02))),
        ),
    )


def classifier(*args: Any, seed: int = 0, **kwargs: Any) -> nn.Module:
    """An initialised classifier of :func:`classifier_cfg`."""
    torch.manual_seed(seed)
    model = MODELS.build(classifier_cfg(*args, **kwargs))
    model.init_weights()
    return model


def save(path: Path, model: nn.Module | dict, **meta: Any) -> str:
    """Write weights as our own runs do; returns the path as text."""
    state = model if isinstance(model, dict) else model.state_dict()
    torch.save({'state_dict': state, 'meta': meta}, path)
    return str(path)


def labelled(labels: list[int], classes: int = CLASSES) -> list:
    """mmpretrain samples with labels and one-hot scores."""
    from mmpretrain.structures import DataSample

    one_hot = torch.eye(classes)
    return [DataSample().set_gt_label(i).set_gt_score(one_hot[i]) for i in labels]


def image_folder(
    root: Path, classes: int = CLASSES, each: int = 8, size: int = 40, seed: int = 0
) -> Path:
    """``root/class_i/*.png|jpg``: noise around a colour of the class, so that it can be learnt."""
    generator = np.random.default_rng(seed)
    for label in range(classes):
        folder = root / f'class_{label}'
        folder.mkdir(parents=True)
        colour = np.roll((150, 120, 90), label)
        for number in range(each):
            pixels = colour + generator.normal(0, 60, (size, size + number, 3))
            ending = 'png' if number % 2 else 'jpg'
            image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
            image.save(folder / f'image_{number}.{ending}')
    return root


def config(name: str, **options: Any) -> Config:
    """A config of the project, with ``--cfg-options``."""
    from g2sd_mm.config.load import load_config

    return load_config(str(ROOT / 'configs' / name), options)


def words(*texts: str) -> str:
    """Pattern of a message that has all ``texts``, in this order."""
    return '(?s)' + '.*'.join(re.escape(text) for text in texts)


def refused(*texts: str) -> Any:
    """Expect a person's error with all ``texts``, in this order."""
    return pytest.raises(UserError, match=words(*texts))


def run_python(
    *arguments: str, cwd: Path = ROOT, timeout: int = 300, **environment: str
) -> subprocess.CompletedProcess:
    """Run this interpreter on one thread, the checkout importable from any folder."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, **_one_thread(), **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def run_tool(
    tool: str,
    *arguments: str,
    cwd: Path = ROOT,
    timeout: int = 300,
    prepare: Callable[[], None] = lambda: None,
    **environment: str,
) -> subprocess.CompletedProcess:
    """Run a script of ``tools/`` in a process forked from this one, which has imported everything.

    Seconds less than :func:`run_python`, for all that does not depend on what is imported when.

    Args:
        tool: its name; or the path of another script.
        arguments: behind it.
        cwd: where it runs.
        timeout: seconds.
        prepare: is called in that process first.
        environment: further variables.
    """
    with tempfile.TemporaryFile('w+') as out, tempfile.TemporaryFile('w+') as err:
        process = multiprocessing.get_context('fork').Process(
            target=_tool,
            args=(tool, arguments, cwd, environment, prepare, out.fileno(), err.fileno()),
        )
        process.start()
        process.join(timeout)
        if late := process.exitcode is None:
            process.kill()  # else this one would wait for it when all tests are done
            process.join()
        assert not late, f'{tool} takes more than {timeout} seconds'
        said = [(file.seek(0), file.read())[1] for file in (out, err)]
    return subprocess.CompletedProcess([tool, *arguments], process.exitcode, *said)


def _tool(
    tool: str,
    arguments: tuple[str, ...],
    cwd: Path,
    environment: dict[str, str],
    prepare: Callable[[], None],
    *streams: int,
) -> None:
    _threads_queues.clear()  # a thread of a pool may have forked: here it waits for none of them
    for number, stream in enumerate(streams, start=1):
        os.dup2(stream, number)
    sys.stdout, sys.stderr = (os.fdopen(n, 'w', closefd=False) for n in (1, 2))
    logging.root.handlers = []
    MMLogger._instance_dict.clear()  # they write to where this test is captured
    os.environ.update({**_one_thread(), **environment})
    # a tool that seeds nothing would go on from the seed of the test, and answer alike each time
    torch.seed()
    random.seed()
    np.random.seed()
    os.chdir(cwd)
    torch.set_num_threads(1)
    prepare()
    sys.argv = [str(ROOT / 'tools' / tool), *arguments]
    runpy.run_path(sys.argv[0], run_name='__main__')


def _one_thread() -> dict[str, str]:
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH')]))
    return {'PYTHONPATH': path, 'OMP_NUM_THREADS': '1'}


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(('127.0.0.1', 0))
        return sock.getsockname()[1]


@contextmanager
def begun(loader: Any) -> Iterator[Iterator[Any]]:
    """The batches of a loader whose reading may fail.

    Its worker would be waited for, five seconds, wherever the exception is collected.
    """
    batches = iter(loader)
    try:
        yield batches
    finally:
        if loader.num_workers:
            batches._shutdown_workers()


class Calls:
    """Unpickled without limits, it calls a function."""

    def __init__(self, function: Callable, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple:
        return self.call


def writes_a_file(path: Path) -> Calls:
    """Unpickled without limits, it writes a file."""
    return Calls(Path.write_text, path, 'you have been had')


class Lines(logging.Handler):
    """Collects what a logger is told."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@contextmanager
def logged() -> Iterator[list[str]]:
    """What mmengine's current logger is told inside of the block."""
    from mmengine.logging import MMLogger

    logger, handler = MMLogger.get_current_instance(), Lines()
    logger.addHandler(handler)
    try:
        yield handler.lines
    finally:
        logger.removeHandler(handler)
