"""Exported files compute what the students compute, for any batch."""

from __future__ import annotations

import json
import sys

import onnx
import pytest
import torch

from g2sd_mm.export import check, export_student
from g2sd_mm.export import student as exporting
from g2sd_mm.export.student import runner_of
from g2sd_mm.provenance import file_digest
from g2sd_mm.students import Student, load_student
from g2sd_mm.tasks.task import Backbone

from ..helpers.students import CLASSES, CONFIGS, student_folder
from ..helpers.toys import images, refused, words

SHALLOW = dict(_delete_=True, embed_dim=64, depth=2, num_heads=2, patch_size=8)
OPTIONS = {
    'classification': {},
    'detection': {'model.backbone.global_blocks': (1,)},
    'segmentation': {'model.backbone.out_indices': (0, 1, 1, 1)},
    # random gains of batch norms would make all depth nearly one
    'depth': {'model.backbone.out_indices': (0, 1, 1, 1), 'model.decode_head.norm_cfg': None},
}
ENDING = {'onnx': '.onnx', 'torchscript': '.ts', 'torch-export': '.pt2'}
WHOLE = {
    'classification': 'classifier', 'detection': 'pyramid', 'segmentation': 'segmentor',
    'depth': 'depth',
}  # fmt: skip


@pytest.fixture(scope='module')
def students(tmp_path_factory) -> dict[str, Student]:
    """With two blocks; detection has a windowed and a global one."""
    root = tmp_path_factory.mktemp('students')
    return {
        task: load_student(
            student_folder(root / task, task, **{'model.backbone.arch': SHALLOW, **OPTIONS[task]})
        )
        for task in CONFIGS
    }


def agree(file, to: str, network, size: int, batch: int) -> None:
    x = images(batch, size, seed=batch)
    with torch.no_grad():
        expected = network(x)
    expected = [expected] if isinstance(expected, torch.Tensor) else list(expected)
    got = runner_of(file, to)(x)
    assert len(got) == len(expected)
    for own, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(own, theirs, rtol=1e-4, atol=1e-4 * theirs.abs().max().item())
        assert theirs.std() > 0.01  # there is something to agree on


@pytest.mark.parametrize(
    ('task', 'to'),
    [
        ('classification', 'torchscript'),
        ('classification', 'torch-export'),
        ('detection', 'torchscript'),
        pytest.param('detection', 'torch-export', marks=pytest.mark.slow),
        ('segmentation', 'torchscript'),
        pytest.param('segmentation', 'torch-export', marks=pytest.mark.slow),
        ('depth', 'torchscript'),
        pytest.param('depth', 'torch-export', marks=pytest.mark.slow),
    ],
)
def test_torchs_own_formats(students, tmp_path, task, to):
    student = students[task]
    file = tmp_path / f'file{ENDING[to]}'
    exported = export_student(student, file, to)
    assert (exported.path, exported.part) == (file, WHOLE[task])
    for batch in (1, 5):
        agree(file, to, student, student.image_size, batch)


@pytest.mark.parametrize(
    'task',
    [
        'classification',
        pytest.param('detection', marks=pytest.mark.slow),
        pytest.param('segmentation', marks=pytest.mark.slow),
    ],
)
def test_an_onnx_file_computes_what_the_student_does(students, tmp_path, task):
    student = students[task]
    exported = export_student(student, tmp_path / 'file.onnx', part=WHOLE[task])
    assert exported.difference <= 1e-4
    for batch in (1, 5):
        agree(exported.path, 'onnx', student, student.image_size, batch)
    model = onnx.load(exported.path)
    onnx.checker.check_model(model)
    assert [o.version for o in model.opset_import if not o.domain] == [18]
    (images_in,) = model.graph.input
    dims = images_in.type.tensor_type.shape.dim
    assert images_in.name == 'images'
    assert dims[0].dim_param  # free
    assert [d.dim_value for d in dims[1:]] == [3, student.image_size, student.image_size]


@pytest.mark.slow
def test_onnx_of_another_operator_set_part_and_size(students, tmp_path):
    student = students['classification']
    file = tmp_path / 'deep' / 'file.onnx'
    exported = export_student(student, file, part='backbone', opset=20, size=64)
    assert [o.version for o in onnx.load(file).opset_import if not o.domain] == [20]
    assert (exported.part, exported.left_out) == ('backbone', None)
    agree(file, 'onnx', Backbone(student.model), 64, 2)


@pytest.mark.parametrize('size', [96, 160])
@pytest.mark.parametrize('task', ['detection', 'segmentation'])
def test_the_backbone_of_other_tasks_and_sizes(students, tmp_path, task, size):
    student = students[task]
    export_student(student, tmp_path / 'file.ts', 'torchscript', 'backbone', size=size)
    agree(tmp_path / 'file.ts', 'torchscript', Backbone(student.model), size, 1)


def test_relative_positions_are_one_constant(students, tmp_path):
    """Their index is larger than a small network; every block looks up in the same."""
    student = students['segmentation']
    export_student(student, tmp_path / 'file.pt2', 'torch-export', 'backbone')
    program = torch.export.load(tmp_path / 'file.pt2')
    tokens = 1 + (student.image_size // 8) ** 2
    large = [t for t in program.constants.values() if t.numel() == tokens**2]
    assert len(large) == 1


# The description ----------------------------------------------------------------------------------


def test_the_file_is_described_beside_it(students, tmp_path):
    student = students['classification']
    exported = export_student(student, tmp_path / 'weights.ts', 'torchscript')
    assert exported.sidecar == tmp_path / 'weights.ts.json'  # weights.json is the weights' own
    content = json.loads(exported.sidecar.read_text())
    assert content['file'] == {
        'file': 'weights.ts',
        'sha256': file_digest(tmp_path / 'weights.ts'),
        'kind': 'torchscript',
        'part': 'classifier',
    }
    assert content['input']['shape'] == ['batch', 3, 56, 56]
    assert content['input']['mean'] == list(student.mean)
    assert content['outputs'] == [{'name': 'logits', 'shape': ['batch', 10]}]
    assert content['classes'] == list(CLASSES[:10])
    assert content['origin'] == student.origin
    assert content['check']['difference'] == {'logits': exported.difference}


def test_what_is_left_out_is_said(students, tmp_path):
    exported = export_student(students['detection'], tmp_path / 'file.ts', 'torchscript')
    assert 'the heads that find boxes and masks' in exported.left_out
    assert json.loads(exported.sidecar.read_text())['left_out'] == exported.left_out


# What cannot be exported --------------------------------------------------------------------------


def test_a_whole_detector_is_for_onnx_alone(students, tmp_path):
    with refused("no part 'detector' to export (as ONNX only), but pyramid and backbone"):
        export_student(students['detection'], tmp_path / 'file.ts', 'torchscript', 'detector')
    with refused("no part 'heads' to export, but detector and raw and pyramid and backbone"):
        export_student(students['detection'], tmp_path / 'file.onnx', part='heads')


@pytest.mark.parametrize('opset', [17, 99])
def test_an_operator_set_that_cannot_be_written_is_refused(students, tmp_path, opset):
    with refused(f'opset {opset} cannot be written: choose one of 18 to '):
        export_student(students['classification'], tmp_path / 'file.onnx', opset=opset)
    assert list(tmp_path.iterdir()) == []


def test_other_endings_and_formats_are_refused(students, tmp_path):
    with refused('a onnx file ends in .onnx, not as weights.pth does'):
        export_student(students['classification'], tmp_path / 'weights.pth')
    with refused("unknown format 'tflite': known are onnx, torchscript, torch-export"):
        export_student(students['classification'], tmp_path / 'file.tflite', 'tflite')


def test_a_size_that_does_not_divide_into_patches_is_refused(students, tmp_path):
    with refused('images of 57x57 px do not fit this student', 'into patches of 8 px'):
        export_student(students['classification'], tmp_path / 'file.ts', 'torchscript', size=57)


@pytest.mark.parametrize('package', ['onnx', 'onnxscript', 'onnxruntime'])
def test_missing_packages_are_named(students, tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with refused(f'ONNX needs {package}, which is not installed: pip install "g2sd_mm[export]"'):
        if package == 'onnxruntime':
            runner_of(tmp_path / 'file.onnx', 'onnx')
        else:
            export_student(students['classification'], tmp_path / 'file.onnx')


# The check ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('wrong', 'message'),
    [
        (lambda out: [out[0] * 1.001], 'output logits differs by 1.0e-03 of its largest value'),
        (lambda out: [out[0] * torch.nan], 'output logits differs by nan'),
        (lambda out: [out[0][:, 1:]], 'has the shape [1, 9], expected [1, 10]'),
    ],
)
def test_a_file_that_computes_something_else_takes_no_place(
    students, tmp_path, monkeypatch, wrong, message
):
    (tmp_path / 'file.ts').write_text('an earlier one')
    right = exporting._RUNNERS['torchscript']
    monkeypatch.setitem(
        exporting._RUNNERS, 'torchscript', lambda path: lambda x: wrong(right(path)(x))
    )
    with pytest.raises(check.ExportError, match=words(message, 'the file is wrong')):
        export_student(students['classification'], tmp_path / 'file.ts', 'torchscript')
    assert [path.read_text() for path in tmp_path.iterdir()] == ['an earlier one']


def test_an_export_that_is_stopped_leaves_the_earlier_file(students, tmp_path, monkeypatch):
    def stopped(*args):
        raise KeyboardInterrupt

    (tmp_path / 'file.ts').write_text('an earlier one')
    monkeypatch.setattr(exporting, 'compare', stopped)
    with pytest.raises(KeyboardInterrupt):
        export_student(students['classification'], tmp_path / 'file.ts', 'torchscript')
    assert [path.read_text() for path in tmp_path.iterdir()] == ['an earlier one']


def test_a_student_that_sees_bgr_says_so(tmp_path):
    student = load_student(student_folder(tmp_path, **{'data_preprocessor.to_rgb': False}))
    exported = export_student(student, tmp_path / 'x.ts', 'torchscript')
    described = json.loads(exported.sidecar.read_text())
    assert described['input']['channels'] == 'BGR'
    assert described['input']['test_pipeline'] == student.network['test_pipeline']
