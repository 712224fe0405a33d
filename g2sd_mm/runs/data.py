"""Are the data of a config there, and laid out as it expects?"""

from __future__ import annotations

from pathlib import Path

from mmengine import fileio
from mmengine.config import Config, ConfigDict

from ..agreement.data import TRAINING
from ..config.load import UNFIT
from ..config.parts import all_datasets, data_folder, innermost_datasets
from ..datasets.shapes import ensure_shapes
from ..errors import UserError
from ..text import one_line

#: (library, data set that holds others) -> what it lacks for it.
_NOT_UPSTREAM = {
    ('mmseg', 'ClassBalancedDataset'): "mmseg's data sets do not say the classes of an image",
    ('mmpretrain', 'MultiImageMixDataset'): 'mmpretrain has no such data set',
}


def prepare_data(cfg: Config, loaders: tuple[str, ...]) -> None:
    """Generate the embedded data if the config uses it, then check that all data are there.

    Args:
        cfg: with ``shapes=dict(...)`` for generated data and ``data_layout`` for the message.
        loaders: names of the data loaders that will be used.

    Raises:
        UserError: naming the folder that is missing and how to lay the data out, or the number of
            training class folders if it is not the config's, or the entry that describes no data.
    """
    try:
        _prepare(cfg, loaders)
    except UserError:
        raise
    except UNFIT as error:
        entries = ', '.join(name for name in ('shapes', 'data_layout', *loaders) if cfg.get(name))
        raise UserError(
            f'the config describes no data in {entries}: {one_line(error)}'
        ) from error


def _prepare(cfg: Config, loaders: tuple[str, ...]) -> None:
    if cfg.get('shapes'):
        ensure_shapes(Path(data_folder()) / 'shapes', **cfg.shapes)
    for name in loaders:
        if cfg.get(name):
            _check_wrappers(cfg, name)
            for dataset in innermost_datasets(cfg[name].dataset):
                _check_dataset(dataset, cfg, name == TRAINING)


def _check_wrappers(cfg: Config, loader: str) -> None:
    for part in all_datasets(cfg[loader].dataset):
        lacking = _NOT_UPSTREAM.get((str(cfg.get('default_scope')), str(part.get('type'))))
        if lacking:
            raise UserError(f'{loader}: {part.type} cannot be used here, {lacking}')


def _check_dataset(dataset: ConfigDict, cfg: Config, trained: bool) -> None:
    root = str(dataset.get('data_root') or '.')
    if not fileio.isdir(root):
        layout, folder = cfg.get('data_layout', root), Path(root)
        data = Path(data_folder())
        inside = folder.relative_to(data).parts if folder.is_relative_to(data) else ()
        raise UserError(
            f'no data at {root}: lay it out as {layout}'
            + (f', or point G2SD_DATA at the folder that holds {inside[0]}' if inside else '')
        )
    if dataset.get('type') == 'CustomDataset' and dataset.get('with_label', True):
        _check_classes(root, dataset, cfg, trained)


def _check_classes(root: str, dataset: ConfigDict, cfg: Config, trained: bool) -> None:
    if dataset.get('ann_file'):
        return  # classes come from a list, not from folders
    prefix = dataset.get('data_prefix') or ''
    prefix = prefix if isinstance(prefix, str) else prefix.get('img_path', '')
    root = fileio.join_path(root, prefix) if prefix else root
    if not fileio.isdir(root):
        raise UserError(f'no data at {root}')
    if not trained:
        return  # labels follow the names of the training data, or of the weights
    found = sum(1 for _ in fileio.list_dir_or_file(root, list_file=False))
    expected = cfg.get('num_classes')
    if expected and found != expected:
        raise UserError(
            f'{root} has {found} class folders and the config num_classes={expected}: '
            f'add --cfg-options num_classes={found}'
        )
