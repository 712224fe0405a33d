"""``export`` as people start it: files, notes, quantisation and accuracy."""

from __future__ import annotations

import json

import onnx
import pytest
import torch

from g2sd_mm.cli.export import export
from g2sd_mm.config.load import load_config
from g2sd_mm.errors import DataError, UserError
from g2sd_mm.export.formats import write_int8, write_onnx
from g2sd_mm.runs.test import evaluate

from ..helpers import toys
from ..helpers.students import student_folder

CONFIG = str(toys.ROOT / 'configs' / 'imagenet' / 'g2sd_vits_cls_nosd.py')
ARCH = dict(_delete_=True, **toys.arch())
#: Of a test set of 12 images in three classes, at 32 px.
OPTIONS = {
    'num_classes': toys.CLASSES,
    'model.backbone.arch': ARCH,
    'model.backbone.img_size': 32,
    'model.head.in_channels': 16,
    'test_dataloader.num_workers': 0,
    'test_dataloader.dataset.pipeline': [
        dict(type='LoadImageFromFile'),
        dict(type='Resize', scale=32),
        dict(type='CenterCrop', crop_size=32),
        dict(type='PackInputs'),
    ],
}


@pytest.fixture
def config(image_data, monkeypatch, tmp_path):
    """A config file of the toy classifier."""
    monkeypatch.setenv('G2SD_DATA', str(image_data))
    path = tmp_path / 'toy.py'
    load_config(CONFIG, OPTIONS).dump(str(path))
    return str(path)


def test_files_lie_beside_the_weights_with_their_accuracy(config, tmp_path, capsys):
    model = toys.classifier()
    torch.manual_seed(0)
    for parameter in model.parameters():  # after pre-training's initialisation it says one class
        torch.nn.init.normal_(parameter, std=0.5)
    weights = toys.save(tmp_path / 'weights.pth', model)
    files = export(weights, config, int8=True, test_data=config)
    assert files == [tmp_path / 'weights.onnx', tmp_path / 'weights_int8.onnx']
    expected = evaluate(config, weights, work_dir=str(tmp_path / 'work'))['accuracy/top1']
    written = json.loads((tmp_path / 'weights.onnx.json').read_text())
    top1 = written['top1']
    assert top1.pop('test_data') == config
    assert set(top1) == {'PyTorch', 'weights.onnx', 'weights_int8.onnx'}
    assert top1['PyTorch'] == top1['weights.onnx'] == pytest.approx(expected)
    assert written['int8']['file'] == 'weights_int8.onnx'
    said = capsys.readouterr().out
    assert f'top-1 {expected:.2f} %  PyTorch' in said
    assert '% of the weights in int8, those of matrix products: measure its accuracy' in said
    assert 0 < expected < 100
    nodes = {node.op_type for node in onnx.load(files[1]).graph.node}
    assert 'MatMulInteger' in nodes  # attention's own products and the convolution stay
    assert {'MatMul', 'Conv'} <= nodes


def test_a_detector_is_exported_with_a_note(tmp_path, capsys):
    folder = student_folder(tmp_path, 'detection')
    capsys.readouterr()  # what building it said
    (file,) = export(str(folder), to='torchscript', out=str(tmp_path / 'out.ts'))
    assert file.is_file()
    said = capsys.readouterr().out
    assert said.startswith(f'{file} (')
    assert 'pyramid, differs from PyTorch by' in said
    assert 'note: the heads that find boxes and masks in these maps' in said


def test_what_does_not_go_together_is_refused(tmp_path):
    folder = str(student_folder(tmp_path, 'segmentation'))
    with pytest.raises(UserError, match='cannot be had with --to torchscript'):
        export(folder, to='torchscript', int8=True)
    with pytest.raises(UserError, match='measures the top-1 accuracy of whole classifiers'):
        export(folder, to='torchscript', test_data='config.py')


def test_an_int8_file_of_an_earlier_export_is_told(tmp_path, capsys):
    folder = student_folder(tmp_path)
    small = folder / 'weights_int8.onnx'
    small.touch()
    export(str(folder))
    assert f'note: {small} is of an earlier export' in capsys.readouterr().out


def test_of_convolutions_no_weight_is_said_to_be_in_int8(tmp_path):
    convolution = torch.nn.Sequential(
        torch.nn.Conv2d(3, 30, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(),
        torch.nn.Linear(30, 3, bias=False),
    )  # fmt: skip
    write_onnx(convolution, torch.rand(2, 3, 8, 8), tmp_path / 'a.onnx', ['logits'])
    share = write_int8(tmp_path / 'a.onnx', tmp_path / 'b.onnx')
    assert 0.05 < share < 0.15  # 90 weights of 930


def test_data_that_do_not_fit_are_refused_before_a_file_is_written(config, tmp_path):
    weights = toys.save(tmp_path / 'weights.pth', toys.classifier())
    other = tmp_path / 'other.py'
    load_config(config, {'test_dataloader.dataset.data_prefix': 'nowhere'}).dump(str(other))
    with pytest.raises((UserError, DataError), match='nowhere'):
        export(weights, config, test_data=str(other))
    assert not (tmp_path / 'weights.onnx').exists()
