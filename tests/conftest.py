"""Every test sees the components registered, and starts on one thread from a fixed seed."""

from __future__ import annotations

import copy
import gc
import importlib
import logging
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer
from yapf.yapflib import yapf_api

import g2sd_mm

from .helpers import toys


@pytest.fixture(scope='session', autouse=True)
def registered():
    torch.set_num_threads(1)
    g2sd_mm.register_all()
    # what the classification configs import
    importlib.import_module('g2sd_mm.models.heads')
    importlib.import_module('g2sd_mm.datasets.augmenting')
    importlib.import_module('g2sd_mm.datasets.mixing')
    gc.enable()


def pytest_configure(config):
    """A file of ``configs/`` is parsed once, and copied: it reads no variable and changes never."""
    plain, known = Config._file2dict, {}

    def remembered(filename, *args, **kwargs):
        path = Path(filename).expanduser().absolute()
        # mmengine itself says that a file is not there
        if toys.ROOT / 'configs' not in path.parents or not path.is_file():
            return plain(filename, *args, **kwargs)
        key = (path, path.stat().st_mtime_ns, args, tuple(kwargs.items()))
        if key not in known:
            known[key] = plain(filename, *args, **kwargs)
        return copy.deepcopy(known[key])

    gc.disable()  # until all tests are found, which is but making objects that stay
    patch = pytest.MonkeyPatch()
    patch.setattr(Config, '_file2dict', staticmethod(remembered))
    config.add_cleanup(patch.undo)


@pytest.fixture(scope='session', autouse=True)
def unformatted():
    """The text of a config stays as it is made: yapf would take a second for a large one."""
    with pytest.MonkeyPatch.context() as patch:
        plain = yapf_api.FormatCode
        patch.setattr(yapf_api, 'FormatCode', lambda text, **_: (text, False))
        yield plain


@pytest.fixture(scope='module', autouse=True)
def frozen():
    """What is there when a module begins is looked through no more, or each data set would cost
    half a second: mmengine collects garbage for every one of them."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope='module', autouse=True)
def no_default_scope():
    """Runs leave mmengine's default scope behind; another module's tests must not see it."""
    DefaultScope._instance_dict.clear()


@pytest.fixture(autouse=True)
def no_visualizer():
    """Nor a visualizer of one name with another test's, whose folder is gone."""
    Visualizer._instance_dict.clear()


@pytest.fixture
def logger():
    """A logger for hooks; what it was told is in ``logger.handlers[0].lines``."""
    made = logging.getLogger('hooks under test')
    made.handlers = [toys.Lines()]
    made.setLevel(logging.INFO)
    return made


@pytest.fixture(autouse=True)
def fixed_seed():
    # torch.manual_seed would format a stack for every GPU backend that is not started
    torch.default_generator.manual_seed(0)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(0)


@pytest.fixture(scope='session')
def image_data(tmp_path_factory):
    """A folder that ``G2SD_DATA`` can name: ``imagenet/{train,val}/<class>/*.{jpg,png}``."""
    data = tmp_path_factory.mktemp('data')
    toys.image_folder(data / 'imagenet' / 'train', each=8)
    toys.image_folder(data / 'imagenet' / 'val', each=4, seed=1)
    return data
