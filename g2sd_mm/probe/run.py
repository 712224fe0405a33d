"""All probes of one network on one data set; the function behind ``tools/probe.py``."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

import g2sd_mm

from ..devices import usable_device
from ..errors import DataError, UserError
from ..threads import use_threads
from . import measures
from .data import find_images
from .encoders import Encoder, find_encoder
from .extract import TOKENS, Extracted, extract
from .measures import IGNORED

PROBES = ('knn', 'linear', 'few-shot', 'retrieval')
#: Of images with masks.
DENSE = 'dense'


def probe(
    weights: str,
    data: str,
    probes: Sequence[str] | None = None,
    timm: str | None = None,
    config: str | None = None,
    options: dict[str, Any] | None = None,
    block: int | str = -1,
    norm: bool | None = None,
    heads: int | None = None,
    token: str | None = None,
    size: int | None = None,
    crop_share: float = 0.875,
    k: int = 20,
    temperature: float = 0.07,
    centred: str | None = None,
    train_images: int | None = None,
    val_images: int | None = None,
    cache: str | None = None,
    device: str | None = 'cpu',
    dtype: str = 'float32',
    out: str | None = None,
) -> dict[str, Any]:
    """What the frozen features of a network are worth.

    Args:
        weights, timm, config, options, block, norm, heads: see
            :func:`~g2sd_mm.probe.encoders.find_encoder`.
        data: see :func:`~g2sd_mm.probe.data.find_images`.
        probes: of :data:`PROBES`, or ``dense``; None for all that the labels allow.
        token: ``cls``, ``mean`` (of the patches) or ``both``; None for the class token, and of a
            network without one the mean.
        size: side of the images in pixels; None: 224.
        crop_share: of the shorter side that the middle square has.
        k, temperature: of the nearest neighbours.
        centred: for neighbours and retrieval take off the mean of the training features
            (``train``), or of each split its own (``each``); None takes nothing off.
        train_images, val_images: the first so many of each class (of images with masks, of all).
        cache: folder of features; None keeps none.
        device, dtype: where and how the network runs; of None the GPU if there is one.
        out: JSON file to write.

    Returns:
        what is written: network, data, and a dict of figures in percent for each probe.

    Raises:
        UserError: for what is not there or does not fit together.
    """
    g2sd_mm.register_all()
    if token is not None and token not in TOKENS:
        raise UserError(f'--token {token!r} is none of {", ".join(TOKENS)}')
    positive = {
        'k': k, 'size': size, 'temperature': temperature, 'train-images': train_images,
        'val-images': val_images,
    }
    for name, number in positive.items():
        if number is not None and not number > 0:
            raise UserError(f'{"-" if name == "k" else "--"}{name} {number} is not above 0')
    if not 0 < crop_share <= 1:
        raise UserError(f'--crop-share {crop_share} is not above 0 and at most 1')
    if out and Path(out).is_dir():  # said before the work, not behind it
        raise UserError(f'--out {out} is a folder: give the path of a JSON file')
    device = usable_device(device)
    images = find_images(data, options if config is None else None)
    wanted = _wanted(probes, images.dense)
    encoder = find_encoder(weights, timm, config, options, block, norm, heads)
    if device == 'cpu':
        use_threads(sum(parameter.numel() for parameter in encoder.network.parameters()))
    folder, started = Path(cache) if cache else None, time.perf_counter()
    size = size or 224
    parts = {'train': images.train.first(train_images), 'val': images.val.first(val_images)}
    found = {
        name: extract(encoder, part, size, crop_share, device, folder, images.dense, dtype)
        for name, part in parts.items()
    }
    seconds = time.perf_counter() - started
    train, val = found['train'], found['val']
    results: dict[str, Any] = {}
    if images.dense:
        for name, part in found.items():
            _check_masks(part.labels, len(images.classes), f'{data}, {name}')
        assert train.patches is not None and val.patches is not None
        results[DENSE] = measures.dense_probe(
            train.patches.to(device), train.labels.to(device),
            val.patches.to(device), val.labels.to(device), len(images.classes),
        )  # fmt: skip
    else:
        token = token or ('mean' if train.cls is None else 'cls')
        for name in wanted:
            results[name] = _asked(
                name, train, val, token, device, k, temperature, centred, len(images.classes)
            )
    answer = {
        'network': _described(encoder, weights),
        'data': {
            'path': data, 'classes': len(images.classes), 'size': size, 'crop_share': crop_share,
            'train_images': len(parts['train'].files), 'val_images': len(parts['val'].files),
        },
        'token': None if images.dense else token,
        'centred': centred,
        'dtype': dtype,
        'features_cached': train.cached and val.cached,
        'seconds_of_features': round(seconds, 2),
        'probes': results,
        # as an evaluator's figures, for suites
        'metrics': {f'{n}/{key}': v for n, one in results.items() for key, v in one.items()
                    if isinstance(v, float)},
    }  # fmt: skip
    if out:
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        Path(out).write_text(json.dumps(answer, indent=2) + '\n')
    return answer


def _wanted(probes: Sequence[str] | None, dense: bool) -> tuple[str, ...]:
    known = (DENSE,) if dense else PROBES
    unknown = [name for name in probes or () if name not in known]
    if unknown:
        raise UserError(
            f'--probes {unknown[0]}: for {"masks" if dense else "classes"} there are '
            f'{", ".join(known)}'
        )
    return tuple(probes or known)


def _check_masks(masks: Tensor, classes: int, name: str) -> None:
    labelled = masks[masks != IGNORED]
    if not len(labelled):
        raise DataError(f'{name}: every pixel of the masks is {IGNORED}, which is of no class')
    if (highest := int(labelled.max())) >= classes:
        raise DataError(f'{name}: masks have the class {highest}, and there are 0 to {classes - 1}')


def _asked(
    name: str, train: Extracted, val: Extracted, token: str, device: str, k: int,
    temperature: float, centred: str | None, classes: int,
) -> dict[str, Any]:
    given = [train.token(token), train.labels, val.token(token), val.labels]
    x, labels, queries, query_labels = (tensor.to(device) for tensor in given)
    if name == 'knn':
        return measures.k_nearest(
            x, labels, queries, query_labels, k, temperature, centred, classes
        )
    if name == 'linear':
        return measures.linear_probe(x, labels, queries, query_labels, classes=classes)
    if name == 'few-shot':
        return measures.few_shot(x, labels, queries, query_labels, classes=classes)
    return measures.retrieval(x, labels, queries, query_labels, centred=centred)


def _described(encoder: Encoder, weights: str) -> dict[str, Any]:
    return {
        'weights': weights, 'name': encoder.name, 'sha256': encoder.digest, 'block': encoder.block,
        'normed': encoder.normed, 'channels': encoder.channels, 'mean': encoder.mean,
        'std': encoder.std, 'notes': list(encoder.notes),
    }  # fmt: skip


def table(answer: dict[str, Any]) -> str:
    """The figures, a line each."""
    lines = [f'{answer["network"]["name"]}  ({answer["data"]["path"]}, '
             f'{answer["data"]["train_images"]} + {answer["data"]["val_images"]} images of '
             f'{answer["data"]["size"]} px, token {answer["token"]})']  # fmt: skip
    for name, found in answer['probes'].items():
        shots = found.get('shots')
        if shots is not None:
            lines += [
                f'{name:<10} {number:>2} a class  top1 {value["top1"]:6.2f} +- {value["std"]:.2f}'
                for number, value in shots.items()
            ] or [f'{name:<10} too few training images in a class']
            continue
        figures = {
            key: value for key, value in found.items()
            if isinstance(value, float) and key not in ('temperature', 'strength')
        }  # fmt: skip
        lines.append(f'{name:<10} ' + '  '.join(f'{k} {v:6.2f}' for k, v in figures.items()))
    return '\n'.join(lines)
