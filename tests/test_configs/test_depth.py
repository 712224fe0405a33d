"""Depth from data to a deployed student, at toy size: every command on the same two runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import onnxruntime
import pytest
import torch
from mmengine.hooks import CheckpointHook

from g2sd_mm.bench.logs import read_scalars
from g2sd_mm.bench.reports.page import show
from g2sd_mm.bench.reports.pictures import prediction_grids
from g2sd_mm.bench.suites.pictures import draw_pictures
from g2sd_mm.bench.suites.suites import Row, Step, Suite
from g2sd_mm.cli.browse_data import browse
from g2sd_mm.cli.check_data import check_data
from g2sd_mm.cli.exit_codes import run_command
from g2sd_mm.config.load import load_config
from g2sd_mm.engine.hooks.access import bare_model
from g2sd_mm.export import export_student
from g2sd_mm.runs.predict import infer
from g2sd_mm.runs.test import evaluate
from g2sd_mm.runs.train import train
from g2sd_mm.students import load_student
from g2sd_mm.students.extract import extract_student

from ..helpers import small_depth
from ..helpers.small_configs import shrink, two_steps
from ..helpers.toys import ROOT


def config_file(name: str, folder: Path, data: Path, **teacher: str) -> str:
    """A config at toy size as a file, from random weights."""
    cfg = load_config(str(ROOT / 'configs' / f'{name}.py'))
    cfg.model.backbone.init_cfg = None
    cfg = two_steps(small_depth.on_small_data(shrink(cfg), data))
    cfg.default_hooks.checkpoint.interval = cfg.default_hooks.logger.interval = 1
    if teacher:
        cfg.distillation.teacher.update(teacher)
    file = folder / f'{Path(name).stem}.py'
    cfg.dump(str(file))
    return str(file)


pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def runs(tmp_path_factory) -> SimpleNamespace:
    """Data, a teacher of two steps, and a student distilled from it for two steps."""
    folder = tmp_path_factory.mktemp('depth')
    data = small_depth.write_data(folder / 'data')
    teacher = config_file('shapes/vitb_depth', folder, data)
    train(teacher, work_dir=str(folder / 'vitb_depth'))
    weights = str(folder / 'vitb_depth' / 'weights.pth')
    student = config_file('shapes/g2sd_vits_depth', folder, data, checkpoint=weights)
    runner = train(student, work_dir=str(folder / 'student'))
    return SimpleNamespace(
        folder=folder, data=data, teacher=teacher, student=student, runner=runner,
        work_dir=folder / 'student', weights=str(folder / 'student' / 'weights.pth'),
        image=str(data / 'images/val/scene0.jpg'),
    )  # fmt: skip


def test_both_runs_train_and_are_judged_by_the_least_error(runs):
    logged = [entry for entry in read_scalars(runs.work_dir) if 'loss' in entry]
    assert len(logged) == 2
    for step in logged:
        for name in ('loss_silog', 'loss_log_depth', 'loss_tokens'):
            (value,) = (v for key, v in step.items() if key.endswith(name))
            assert np.isfinite(value) and value > 0
    record = json.loads((runs.work_dir / 'weights.json').read_text())
    assert record['network']['task'] == 'depth'
    assert record['network']['classes'] == []
    assert 'abs_rel' in record['origin']['metrics']
    assert list(runs.work_dir.glob('best_abs_rel_iter_*.pth'))
    (hook,) = (h for h in runs.runner.hooks if isinstance(h, CheckpointHook))
    assert hook.rules == ['less']


def test_a_run_that_stopped_goes_on_to_the_same_weights(runs, tmp_path):
    half = str(runs.work_dir / 'iter_1.pth')
    resumed = train(runs.student, work_dir=str(tmp_path), resume=half)
    assert resumed.iter == 2
    whole = bare_model(runs.runner).state_dict()
    for name, tensor in bare_model(resumed).state_dict().items():
        torch.testing.assert_close(tensor, whole[name], rtol=0, atol=0)


def test_evaluation_agrees_with_numpy_on_predictions_that_infer_writes(runs, tmp_path):
    metrics = evaluate(runs.student, runs.weights, work_dir=str(tmp_path / 'test'))
    images = sorted(map(str, (runs.data / 'images/val').glob('*.jpg')))
    predictions = infer(runs.student, runs.weights, images, str(tmp_path / 'out'))
    found = []
    for path, prediction in zip(images, predictions, strict=True):
        array, picture = (tmp_path / 'out' / name for name in prediction['depth_files'])
        metres = np.load(array)
        assert metres.shape == (small_depth.SIDE,) * 2 and metres.dtype == np.float32
        millimetres = cv2.imread(str(picture), cv2.IMREAD_UNCHANGED)
        assert millimetres.dtype == np.uint16
        np.testing.assert_allclose(millimetres / 1000, metres, atol=0.0005)
        assert prediction['depth']['nearest'] == pytest.approx(metres.min(), abs=1e-3)
        truth = path.replace('images', 'depth').replace('.jpg', '.png')
        found.append(by_numpy(metres, cv2.imread(truth, cv2.IMREAD_UNCHANGED) / 1000))
        assert (tmp_path / 'out' / f'{array.stem.removesuffix("_depth")}.jpg').is_file()
    for name in found[0]:
        mean = float(np.mean([figures[name] for figures in found]))
        assert metrics[name] == pytest.approx(mean, abs=1e-6), name


def by_numpy(predicted: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """The figures of one image, in float64."""
    known = (truth > 0.1) & (truth < 12)
    p, t = predicted[known].astype(np.float64), truth[known].astype(np.float64)
    ratio, d = np.maximum(p / t, t / p), np.log(p) - np.log(t)
    return {
        'abs_rel': np.mean(np.abs(p - t) / t),
        'rmse': np.sqrt(np.mean((p - t) ** 2)),
        'd1': np.mean(ratio < 1.25),
        'd2': np.mean(ratio < 1.25**2),
        'd3': np.mean(ratio < 1.25**3),
        'silog': np.sqrt(np.mean(d**2) - 0.5 * np.mean(d) ** 2),
        'log10': np.mean(np.abs(np.log10(p) - np.log10(t))),
    }


def test_a_student_is_extracted_loaded_and_exported(runs, tmp_path):
    extract_student(runs.work_dir / 'iter_2.pth', tmp_path / 'student.pth')
    student = load_student(tmp_path / 'student.pth')
    whole = load_student(runs.work_dir)
    assert student.task == 'depth' and student.classes == ()
    assert student.predict(runs.image) == whole.predict(runs.image)
    exported = export_student(student, tmp_path / 'student.onnx')
    assert exported.part == 'depth'
    session = onnxruntime.InferenceSession(str(exported.path))
    assert [output.name for output in session.get_outputs()] == ['depth']
    images = torch.randn(3, 3, small_depth.SIDE, small_depth.SIDE)
    (metres,) = session.run(None, {'images': images.numpy()})
    assert metres.shape == (3, 1, small_depth.SIDE, small_depth.SIDE)
    with torch.no_grad():
        np.testing.assert_allclose(metres, student(images).numpy(), rtol=1e-4)


def test_data_are_checked_and_shown(runs, tmp_path):
    report = check_data([runs.student], workers=0)
    assert report.harmful == 0 and (report.images, report.masks) == (8, 8)
    assert check_data([str(runs.data)], workers=0).harmful == 0
    written = browse(runs.student, str(tmp_path), number=2)
    assert len(written) == 2
    assert cv2.imread(str(written[0])).shape[1] > cv2.imread(str(written[0])).shape[0]  # the bar


def test_pictures_of_a_test(runs, tmp_path):
    evaluate(runs.student, runs.weights, work_dir=str(tmp_path), show_dir=str(tmp_path / 'show'))
    assert len(list((tmp_path / 'show').glob('*.jpg'))) == 4


def test_a_report_has_the_maps_of_truth_and_student_side_by_side(runs, tmp_path):
    step = Step(runs.student, label=runs.work_dir.name)
    suite = Suite('toy', (step,), (Row('depth', 'g2sd', step.name, network='vits'),))
    draw_pictures(suite, suite.rows, runs.folder, tmp_path, say=pytest.fail)
    columns = {
        column: sorted((tmp_path / 'depth' / column).iterdir())
        for column in ('input', 'truth', 'g2sd')
    }
    pictures = {name: [p for p in ps if p.suffix != '.json'] for name, ps in columns.items()}
    assert {name: len(ps) for name, ps in pictures.items()} == dict(input=4, truth=4, g2sd=4)
    shapes = {cv2.imread(str(p)).shape for ps in pictures.values() for p in ps}
    assert len(shapes) == 1
    page = show(prediction_grids(tmp_path))
    assert page.count('<img') == 12 and 'Depth' in page


def test_arrays_in_metres_of_ones_own(runs, tmp_path):
    data = small_depth.write_data(tmp_path / 'data', '.npy')
    cfg = load_config(str(ROOT / 'configs/nyu/custom_depth_vits_depth.py'))
    cfg.model.backbone.init_cfg = None
    cfg = two_steps(small_depth.on_small_data(shrink(cfg), data))
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        dataset = loader.dataset.get('dataset', loader.dataset)
        dataset.depth_suffix = '.npy'
        (step,) = (s for s in dataset.pipeline if s.type == 'LoadDepthAnnotations')
        step.scale = 1.0
    cfg.dump(str(tmp_path / 'mine.py'))
    assert check_data([str(tmp_path / 'mine.py')], workers=0).harmful == 0
    assert check_data([str(data)], workers=0).masks == 8
    runner = train(str(tmp_path / 'mine.py'), work_dir=str(tmp_path / 'run'))
    assert runner.iter == 2
    assert (tmp_path / 'run' / 'weights.pth').is_file()


def test_maps_in_another_unit_stop_a_run_before_its_first_step(runs, tmp_path, capsys):
    text = Path(runs.student).read_text()
    assert 'scale=0.001' in text
    (tmp_path / 'student.py').write_text(text.replace('scale=0.001', 'scale=1.0'))
    for command in (
        lambda: train(str(tmp_path / 'student.py'), work_dir=str(tmp_path / 'run')),
        lambda: evaluate(str(tmp_path / 'student.py'), runs.weights, work_dir=str(tmp_path / 'a')),
    ):
        with pytest.raises(SystemExit) as caught:
            run_command(command)
        line = capsys.readouterr().err.strip().splitlines()[-1]
        assert caught.value.code == 2
        assert str(runs.data / 'depth/val/scene') in line and 'scale=0.001 would make it' in line
    assert not list((tmp_path / 'run').glob('iter_*.pth'))


def test_a_damaged_map_in_training_is_replaced_counted_and_named(runs, tmp_path):
    shutil.copytree(runs.data, tmp_path / 'data')
    bad = tmp_path / 'data/depth/train/scene0.png'
    cv2.imwrite(str(bad), np.zeros((small_depth.SIDE,) * 2, np.uint8))
    file = config_file('shapes/g2sd_vits_depth_nosd', tmp_path, tmp_path / 'data')
    runner = train(file, {'log_level': 'WARNING'}, work_dir=str(tmp_path / 'run'))
    assert runner.iter == 2
    logs = ''.join(path.read_text() for path in (tmp_path / 'run').rglob('*.log'))
    (line,) = (line for line in logs.splitlines() if 'sample skipped' in line)
    assert str(bad) in line and '8 bits' in line and '16-bit PNG' in line
