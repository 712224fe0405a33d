"""Configs read folders of tools by ``--data-root`` with the labels that were written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from g2sd_mm.config.load import load_config
from g2sd_mm.data_layouts import Choices
from g2sd_mm.runs.data import prepare_data
from g2sd_mm.runs.own_data import own_data_options

from ..helpers import exports
from ..helpers.exports import CLASSES, scenes
from ..test_data_layouts.test_exports import MASKS, OBJECTS, written

LOADERS = {'train': 'train_dataloader', 'val': 'val_dataloader'}


def built(config: str, root: Path, choices: Choices | None = None) -> dict:
    """Split -> the data set that a run would build, without its pipeline."""
    from mmengine.registry import DATASETS, init_default_scope

    cfg = load_config(config, own_data_options(config, str(root), choices))
    prepare_data(cfg, tuple(LOADERS.values()))
    init_default_scope(cfg.default_scope)
    made = {}
    for split, loader in LOADERS.items():
        dataset = cfg[loader].dataset
        dataset = dataset.get('dataset', dataset)
        made[split] = DATASETS.build({**dataset, 'pipeline': [], 'filter_cfg': None})
    return made


@pytest.mark.parametrize('config', ['mini/vitb_maskrcnn.py', 'coco/vitb_maskrcnn.py'])
@pytest.mark.parametrize('kind', OBJECTS)
def test_detectors_get_the_objects(tmp_path, kind, config):
    made = scenes()
    root = OBJECTS[kind](tmp_path / 'fruit', made)
    found = {}
    for split, data in built(f'configs/{config}', root).items():
        names = data.metainfo['classes']
        assert tuple(names) == CLASSES
        for i in range(len(data)):
            info = data.get_data_info(i)
            boxes = [
                (names[o['bbox_label']], o['bbox'][0], o['bbox'][1],
                 o['bbox'][2] - o['bbox'][0], o['bbox'][3] - o['bbox'][1])
                for o in info['instances']
            ]  # fmt: skip
            found[split, Path(info['img_path']).stem] = sorted(boxes)
    expected = written(made)
    assert found.keys() == expected.keys()
    for key, entries in expected.items():
        assert [e[0] for e in found[key]] == [e[0] for e in entries]
        assert np.allclose([e[1:] for e in found[key]], [e[1:] for e in entries]) or not entries


@pytest.mark.parametrize('config', ['mini/vitb_upernet.py', 'ade20k/vitb_upernet.py'])
@pytest.mark.parametrize('kind', MASKS)
def test_segmentors_get_the_masks(tmp_path, kind, config):
    made = scenes()
    root = exports.masks(tmp_path / 'fruit', made, kind)
    for split, data in built(f'configs/{config}', root).items():
        assert len(data.metainfo['classes']) == 3 and not data.reduce_zero_label
        for i in range(len(data)):
            info = data.get_data_info(i)
            mask = np.asarray(Image.open(info['seg_map_path']))  # as mmseg opens it
            name = Path(info['img_path']).stem.removesuffix('_leftImg8bit')
            (scene,) = (s for s in made if (s.split, s.name) == (split, name))
            assert Image.open(info['img_path']).size == scene.size
            if kind != 'plain_colours':
                assert (mask == scene.mask()).all()


@pytest.mark.parametrize('config', ['mini/vits_scratch_cls.py', 'imagenet/vitb_cls.py'])
def test_classifiers_get_the_classes_of_a_list(tmp_path, config):
    labels = {f'p{i:02d}': 'cat' if i % 3 else 'dog' for i in range(12)}
    root = exports.class_list(tmp_path / 'pets', labels)
    found = {}
    for data in built(f'configs/{config}', root, Choices(val_share=0.25)).values():
        for i in range(len(data)):
            info = data.get_data_info(i)
            name = Path(info['img_path']).stem.rpartition('__')[2]
            found[name] = data.metainfo['classes'][info['gt_label']]
    assert found == labels
