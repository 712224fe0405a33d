"""Students of all tasks with random weights, as a run leaves them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS
from torch import nn

from g2sd_mm.agreement.weights import numbers_of_classes
from g2sd_mm.checkpoints.record import describe_network, describe_origin, restore, write_sidecar
from g2sd_mm.checkpoints.write import write_weights

from .toys import config

#: The demo's configs: 0.2 million parameters in the backbone, images of 56, 128, 64 and 128 px.
CONFIGS = {
    'classification': 'shapes/vits_deploy.py',
    'detection': 'shapes/g2sd_vits_maskrcnn_nosd.py',
    'segmentation': 'shapes/g2sd_vits_upernet_nosd.py',
    'depth': 'shapes/g2sd_vits_depth_nosd.py',
}
CLASSES = tuple(f'thing {i}' for i in range(11))


def record(task: str = 'classification', **options: Any) -> dict[str, Any]:
    """What a run of the task's demo config says of its student."""
    cfg = config(CONFIGS[task], **options)
    network = describe_network(cfg, CLASSES[: max(numbers_of_classes(cfg), default=0)])
    return {'network': network, 'origin': describe_origin(cfg, metrics={'top1': 80.0})}


def random_model(network: dict[str, Any], seed: int = 0) -> nn.Module:
    """The network of a record, with weights large enough that every part of it matters."""
    torch.manual_seed(seed)
    model = MODELS.build(ConfigDict(restore(network['model']), _scope_=network['scope']))
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.1)
    return model.eval()


def student_folder(
    folder: Path, task: str = 'classification', name: str = 'weights.pth', **options: Any
) -> Path:
    """Write weights and sidecar of a random student; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    known = record(task, **options)
    state = random_model(known['network']).state_dict()
    write_weights(folder / name, state, {})
    write_sidecar(folder / name, known, sum(tensor.numel() for tensor in state.values()))
    return folder
