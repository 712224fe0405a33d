"""What a result was made with."""

from __future__ import annotations

import os
import platform
from typing import Any

import torch

from ...compat.guards import installed
from ...provenance import git_commit

_PACKAGES = (
    'g2sd_mm',
    'torch',
    'torchvision',
    'timm',
    'numpy',
    'onedl-mmengine',
    'onedl-mmcv',
    'onedl-mmpretrain',
    'onedl-mmdetection',
    'onedl-mmsegmentation',
)


def describe_environment() -> dict[str, Any]:
    """Machine, packages and commit, in plain values for JSON."""
    cuda = torch.cuda.is_available()
    return {
        'python': platform.python_version(),
        'system': platform.system(),
        'cpu': _cpu_model(),
        'cores': os.cpu_count(),
        'gpu': torch.cuda.get_device_name() if cuda else None,
        'commit': git_commit(),
        'packages': {name: installed(name) for name in _PACKAGES},
    }


def _cpu_model() -> str:
    try:
        with open('/proc/cpuinfo') as file:
            for line in file:
                if line.startswith('model name'):
                    return line.split(':', 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
