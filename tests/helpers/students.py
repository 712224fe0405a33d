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
from g2sd_mm.config.boxes_alone import leave_mask_head_out
from g2sd_mm.students import Student

from .pictures import picture
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


def boxes_alone(folder: Path, **options: Any) -> Path:
    """A random Faster R-CNN of the demo, as data without masks make it; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    cfg = config(CONFIGS['detection'], **options)
    leave_mask_head_out(cfg)
    known = {'network': describe_network(cfg, CLASSES[:10]), 'origin': describe_origin(cfg)}
    state = random_model(known['network']).state_dict()
    write_weights(folder / 'weights.pth', state, {})
    write_sidecar(folder / 'weights.pth', known, sum(tensor.numel() for tensor in state.values()))
    return folder


def varied(student: Student, side: int = 128) -> Student:
    """A random detector whose regions are of several classes, more and less surely; in place."""
    layer = student.model.roi_head.bbox_head.fc_cls
    inputs: list[torch.Tensor] = []
    hook = layer.register_forward_hook(lambda _, given, out: inputs.append(given[0]))
    student.predict(picture(side, side))
    hook.remove()
    (features,) = inputs
    with torch.no_grad():  # logits that differ by what is special of a region
        layer.weight.mul_(2 / ((features - features.mean(0)) @ layer.weight.T).std())
        layer.bias.copy_(-layer.weight @ features.mean(0))
    return student
