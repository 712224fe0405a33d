"""ImageNet-A, -R, -Sketch and -C: labels, restricted predictions, corruption errors."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, METRICS

from g2sd_mm.datasets.robustness import CorruptionError, ImageNetVariant, SubsetAccuracy
from g2sd_mm.errors import UserError
from g2sd_mm.published import content
from g2sd_mm.runs.test import evaluate

from ..helpers import imagenet
from ..helpers.toys import ROOT, arch, classifier, image_folder, run_tool, save, words

SMALL = {**arch(16), 'patch_size': 32}
NAMES = ('imagenet_a', 'imagenet_r', 'imagenet_sketch', 'imagenet_c')


@pytest.fixture
def numbering(tmp_path) -> Path:
    for name in ('n01', 'n02', 'n03', 'n04'):
        (tmp_path / 'val' / name).mkdir(parents=True)
    return tmp_path / 'val'


def add(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('')


def read(root: Path, numbering: Path) -> ImageNetVariant:
    return ImageNetVariant(numbering=str(numbering), data_root=str(root), pipeline=[])


def test_classes_keep_imagenets_numbers(numbering, tmp_path):
    for place in ('n04/a.jpg', 'n02/b.JPEG', 'n02/deep/n04/c.png'):
        add(tmp_path / 'a' / place)
    data = read(tmp_path / 'a', numbering)
    labels = {Path(s['img_path']).name: s['gt_label'] for s in data.load_data_list()}
    assert labels == {'a.jpg': 3, 'b.JPEG': 1, 'c.png': 3}
    assert data.metainfo['present'] == (1, 3)
    assert data.metainfo['classes'] == ('n01', 'n02', 'n03', 'n04')


def test_what_is_wrong_with_the_folders_is_said(numbering, tmp_path):
    with pytest.raises(UserError, match='no images below'):
        read(tmp_path / 'empty', numbering)
    add(tmp_path / 'r' / 'n77' / 'a.jpg')
    with pytest.raises(UserError, match=words('n77/a.jpg', 'no class folder')):
        read(tmp_path / 'r', numbering)
    with pytest.raises(UserError, match=words('no folder', 'elsewhere', 'numbers')):
        read(tmp_path / 'r', tmp_path / 'elsewhere')


def scores(label: int, *values: float, path: str = '') -> dict:
    return dict(
        gt_label=torch.tensor([label]), pred_score=torch.tensor(values), img_path=path
    )


def test_predictions_count_among_the_classes_that_are_there():
    metric = SubsetAccuracy(topk=(1,))
    metric.dataset_meta = dict(present=(1, 3))
    # the absent class 0 would win both
    metric.process(None, [scores(1, 0.6, 0.3, 0.0, 0.1), scores(1, 0.6, 0.1, 0.0, 0.3)])
    assert metric.evaluate(2)['accuracy/top1'] == 50


def corrupted(corruption: str, severity: int, right: bool) -> dict:
    values = (0.9, 0.1) if right else (0.1, 0.9)
    return scores(0, *values, path=f'/data/noise/{corruption}/{severity}/n01/image.JPEG')


def test_corruption_errors_are_means_over_severities():
    metric = CorruptionError(relative_to={'fog': 50.0, 'snow': 25.0})
    metric.process(None, [corrupted('fog', 1, True), corrupted('fog', 1, True),
                          corrupted('fog', 2, False), corrupted('snow', 1, True)])
    found = metric.evaluate(4)
    assert found['imagenet_c/error_fog'] == 50  # not the mean over images
    assert found['imagenet_c/error_snow'] == 0
    assert found['imagenet_c/top1'] == 75
    assert found['imagenet_c/mCE'] == pytest.approx((100 + 0) / 2)


def test_without_all_corruptions_there_is_no_mce():
    metric = CorruptionError()
    metric.process(None, [corrupted('fog', 1, True), corrupted('speckle_noise', 1, False)])
    found = metric.evaluate(2)
    assert 'imagenet_c/mCE' not in found
    assert found['imagenet_c/top1'] == 100  # speckle noise is not among the fifteen
    assert found['imagenet_c/error_speckle_noise'] == 100


def test_alexnet_scores_a_hundred():
    errors = content()['alexnet_corruption_errors']['values']
    metric = CorruptionError()
    results = [(name, '1', i < round(1e6 * e / 100 / 100)) for name, e in errors.items()
               for i in range(10**4)]
    assert metric.compute_metrics(results)['mCE'] == pytest.approx(100, abs=0.01)


@pytest.mark.parametrize('name', NAMES)
def test_configs_name_registered_parts(name):
    cfg = Config.fromfile(ROOT / f'configs/robustness/{name}.py')
    assert DATASETS.get(cfg.test_dataloader.dataset.type) is ImageNetVariant
    metric = METRICS.build(cfg.test_evaluator)
    assert isinstance(metric, CorruptionError) == (name == 'imagenet_c')
    # ImageNet-C is stored at the size that it is tested at
    steps = [step.type for step in cfg.test_dataloader.dataset.pipeline]
    assert ('ResizeEdge' in steps) == (name != 'imagenet_c')


@pytest.mark.parametrize('name', ['imagenet_r', 'imagenet_c'])
def test_a_classifier_is_tested_on_them(name, tmp_path, monkeypatch):
    root = tmp_path / name.replace('_', '-')
    if name == 'imagenet_c':
        for corruption in content()['alexnet_corruption_errors']['values']:
            image_folder(root / 'group' / corruption / '1', classes=6, each=1, size=224)
    else:
        image_folder(root, classes=2, each=2)
    image_folder(tmp_path / 'imagenet' / 'val', classes=6, each=1)
    monkeypatch.setenv('G2SD_DATA', str(tmp_path))
    model = classifier(arch=SMALL, classes=6, img_size=224)
    weights = save(tmp_path / 'weights.pth', model)
    options = {
        'num_classes': 6, 'log_level': 'ERROR', 'model.backbone.arch': {**SMALL, '_delete_': True},
        'model.head.in_channels': 16,
    }
    metrics = evaluate(
        imagenet.path('g2sd_vitt_cls_nosd'), weights, options, work_dir=str(tmp_path / 'work'),
        data=str(ROOT / f'configs/robustness/{name}.py'),
    )
    wanted = 'imagenet_c/mCE' if name == 'imagenet_c' else 'accuracy/top1'
    assert 0 <= metrics[wanted] < 200


def test_a_config_without_test_data_is_refused(tmp_path):
    done = run_tool(
        'test.py', imagenet.path('vitb_cls'), 'w.pth', '--data',
        imagenet.path('vitb_mae'), cwd=tmp_path,
    )
    assert done.returncode == 2
    assert 'vitb_mae.py has no test data' in done.stderr
