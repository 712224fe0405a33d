"""The command from files to JSON, plots and pictures; what it refuses, and why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

import g2sd_mm
from g2sd_mm import distill_config
from g2sd_mm.bench.analysis.samples import square_samples
from g2sd_mm.cli import analyze
from g2sd_mm.cli.analyze import NAMES, parser
from g2sd_mm.errors import UserError
from g2sd_mm.students.load import agree_on_test_data

from ..helpers import toys
from ..helpers.students import student_folder

CLASSES = 10


@pytest.fixture(scope='module')
def suite(tmp_path_factory) -> Path:
    """A suite's folder after a run of teacher, student and stage 1, all with random weights."""
    folder = tmp_path_factory.mktemp('suite')
    data = toys.image_folder(folder / 'images', classes=CLASSES, each=2, size=64)
    for label in range(CLASSES):  # the names that the students' JSON files have
        (data / f'class_{label}').rename(data / f'thing {label}')
    runs = folder / 'seed0'
    rows = []
    for method, run in (('teacher', 'vitb_cls'), ('g2sd', 'g2sd_vits_cls')):
        student_folder(runs / run)
        checkpoint = f'moved/seed0/{run}/weights.pth'
        rows.append(dict(
            task='cls', method=method, seed=0, config=f'configs/{run}.py', checkpoint=checkpoint,
            params_m=0.2, gflops=None, train_seconds=1.0, total_seconds=1.0,
            metrics={'top1': 80.0},
        ))  # fmt: skip
    cfg = toys.config('shapes/vits_deploy.py')
    cfg.pop('shapes', None)
    cfg.test_dataloader.dataset.data_root = str(data)
    cfg.dump(runs / 'vitb_cls' / 'vitb_cls.py')
    _stage1(runs)
    (folder / 'results.json').write_text(json.dumps({'suite': 'toy', 'rows': rows}))
    return folder


def _stage1(runs: Path) -> None:
    cfg = toys.config('shapes/g2sd_vits_generic.py')
    for run in ('vitb_mae', 'g2sd_vits_generic'):
        (runs / run).mkdir()
    teacher = cfg.distillation.teacher
    size = {key: teacher[key] for key in ('arch', 'decoder', 'img_size')}
    file = toys.save(runs / 'vitb_mae' / 'weights.pth', toys.autoencoder(size))
    model = toys.distiller(**cfg.model, teacher={**teacher, 'checkpoint': file})
    toys.save(runs / 'g2sd_vits_generic' / 'epoch_15.pth', model)
    (runs / 'g2sd_vits_generic' / 'last_checkpoint').write_text('epoch_15.pth')
    teacher.checkpoint = 'moved/seed0/vitb_mae/weights.pth'
    written = distill_config(cfg)  # a run writes down what it was built from
    written.dump(runs / 'g2sd_vits_generic' / 'g2sd_vits_generic.py')


def run(*arguments: object) -> None:
    analyze._run(parser().parse_args([str(argument) for argument in arguments]))


def test_everything_of_a_suite_is_analysed(suite, monkeypatch, capsys):
    from g2sd_mm.bench.analysis import corruption

    # two of the corruptions: the others take no other way
    monkeypatch.setattr(corruption, 'KINDS', ('gaussian_noise', 'contrast'))
    monkeypatch.setattr(corruption, 'SEVERITIES', (1, 3))
    run('--run', suite, '--images', 8, '--pictures', 2)
    folder = suite / 'analysis'
    for name in NAMES:
        result = json.loads((folder / f'{name}.json').read_text())
        assert result['analysis'] == name and result['seconds'] >= 0 and result['images'] == 8
        assert 'tools/analyze.py' in result['command'] and result['environment']['packages']
        assert (folder / f'{name}.svg').is_file() == (name != 'reconstruction')
    pictures = {path.parent.name for path in folder.glob('reconstruction/*/*.png')}
    assert pictures == {'input', 'masked', 'student', 'teacher'}
    assert len(list((folder / 'reconstruction' / 'student').iterdir())) == 2
    told = capsys.readouterr().out
    assert [line.split(' (')[0] for line in told.splitlines() if ' s): ' in line] == list(NAMES)
    assert 'agrees with the teacher on' in told and 'a grey guess' in told


def test_what_the_inputs_do_not_allow_is_left_out_unless_it_is_asked_for(
    suite, tmp_path, monkeypatch, capsys
):
    from g2sd_mm.bench.analysis import corruption

    monkeypatch.setattr(corruption, '_LEAST_SIDE', 500)
    monkeypatch.setattr(analyze.Subjects, 'possible', lambda self: ['corruption', 'cka'])
    run('--run', suite, '--images', 4, '--out-dir', tmp_path)
    assert 'corruption is left out: ' in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ['cka.json', 'cka.svg']
    with pytest.raises(UserError, match='500 px'):
        run('corruption', '--run', suite, '--images', 4, '--out-dir', tmp_path)


def test_networks_are_given_by_config_and_checkpoint_too(suite, tmp_path):
    config = suite / 'seed0' / 'vitb_cls' / 'vitb_cls.py'
    run('agreement', 'cka', '--images', 4, '--out-dir', tmp_path,
        '--teacher', config, suite / 'seed0/vitb_cls/weights.pth',
        '--student', config, suite / 'seed0/g2sd_vits_cls/weights.pth',
        '--student', config, suite / 'seed0/vitb_cls/weights.pth')
    found = json.loads((tmp_path / 'agreement.json').read_text())
    assert list(found['agreement']) == ['g2sd_vits_cls', 'vitb_cls']
    assert found['agreement']['vitb_cls']['same'] == 100  # the teacher once more
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        'agreement.json', 'agreement.svg', 'cka.json', 'cka.svg'
    ]


def test_accuracy_is_that_of_the_test_tool(suite, tmp_path):
    from g2sd_mm.runs.test import evaluate

    config = suite / 'seed0' / 'vitb_cls' / 'vitb_cls.py'
    weights = suite / 'seed0' / 'g2sd_vits_cls' / 'weights.pth'
    run('agreement', '--run', suite, '--out-dir', tmp_path)
    found = json.loads((tmp_path / 'agreement.json').read_text())
    metrics = evaluate(str(config), str(weights), work_dir=str(tmp_path / 'work'))
    accuracy = found['calibration']['g2sd']['accuracy']
    assert accuracy == pytest.approx(metrics['accuracy/top1'], abs=1e-4)


def test_students_of_a_run_are_chosen(suite, tmp_path):
    with pytest.raises(UserError, match=toys.words('--students vitt: ', 'has trained')):
        run('cka', '--run', suite, '--students', 'vitt', '--out-dir', tmp_path)


def test_small_networks_are_asked_on_one_thread(suite, tmp_path, monkeypatch):
    from g2sd_mm.bench.analysis import agreement

    compare, seen = agreement.compare_answers, []

    def counted(*args):
        seen.append(torch.get_num_threads())
        return compare(*args)

    monkeypatch.setattr(agreement, 'compare_answers', counted)
    for said in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS'):
        monkeypatch.delenv(said, raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    run('agreement', '--run', suite, '--images', 4, '--out-dir', tmp_path)
    torch.set_num_threads(before)
    assert seen == [1]


def test_a_reconstruction_needs_no_classifier(suite, tmp_path):
    stage1 = suite / 'seed0' / 'g2sd_vits_generic'
    cfg = toys.config('shapes/g2sd_vits_generic.py')
    cfg.pop('shapes')
    cfg.train_dataloader.dataset.dataset.data_root = str(suite / 'images')
    cfg.dump(tmp_path / 'stage1.py')
    for pictures in (5, 3):  # those of before are not among the new ones
        run('--generic', tmp_path / 'stage1.py', stage1 / 'epoch_15.pth', '--pictures', pictures,
            '--out-dir', tmp_path / 'out', '--cfg-options',
            f'distillation.teacher.checkpoint={suite / "seed0/vitb_mae/weights.pth"}')
        drawn = list((tmp_path / 'out' / 'reconstruction' / 'student').iterdir())
        assert len(drawn) == pictures
    result = json.loads((tmp_path / 'out' / 'reconstruction.json').read_text())
    assert result['mask_ratio'] == 0.75 and result['images'] == 20 and result['pictures'] == 3
    assert set(result['losses']) == {'student', 'teacher', 'nothing'}


def test_networks_are_named_by_what_tells_them_apart(tmp_path):
    def named(*files):
        args = ['--teacher', 'c', 't', '--out-dir', 'x']
        for file in files:
            args += ['--student', 'c', str(tmp_path / file)]
        return [name for name, _ in analyze._named(parser().parse_args(args))]

    runs = [f'seed{i}/g2sd/weights.pth' for i in range(3)]
    assert named(*runs) == ['teacher', 'seed0/g2sd', 'seed1/g2sd', 'seed2/g2sd']
    assert named('a/weights.pth', 'a/best_weights.pth') == ['teacher', 'weights', 'best_weights']
    assert named('x/teacher/weights.pth') == ['teacher', 'x/teacher']
    with pytest.raises(UserError, match=r'a\.pth is given twice'):
        named('a.pth', 'a.pth')


def test_networks_that_see_other_channels_are_not_compared(tmp_path):
    cfg = toys.config('shapes/vits_deploy.py')
    students = {}
    for turned in (True, False):
        folder = student_folder(
            tmp_path / str(turned), 'segmentation', **{'model.data_preprocessor.bgr_to_rgb': turned}
        )
        students[str(turned)] = g2sd_mm.load_student(folder)
    with pytest.raises(UserError, match=toys.words('True sees RGB', 'False BGR')):
        agree_on_test_data(students, cfg, 'x')
    cfg.test_dataloader.dataset.data_root = str(
        toys.image_folder(tmp_path / 'images', classes=1, each=2, size=64)
    )
    images = [square_samples(cfg, 2, 32, order).images for order in ('RGB', 'BGR')]
    assert torch.equal(images[0], images[1].flip(1)) and images[0].float().std() > 1


def test_detectors_are_compared_but_not_asked_for_classes(tmp_path):
    folder = student_folder(tmp_path / 'det', 'detection')
    student = g2sd_mm.load_student(folder)
    args = parser().parse_args(['--run', 'x', '--out-dir', 'y'])
    subjects = analyze.Subjects(args, {'teacher': student, 'g2sd': student}, None, None)
    assert subjects.possible() == ['cka', 'attention']
    with pytest.raises(UserError, match='occlusion is about classifiers'):
        subjects.result('occlusion', tmp_path, None)
    student.model.backbone = nn.Identity()  # as of a stock config
    with pytest.raises(UserError, match='teacher has a Identity'):
        subjects.result('cka', tmp_path, None)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--out-dir', 'x'], 'nothing to analyse: give --run DIR, or --teacher and --student'),
        (['cka', '--run', 'x', '--images', '3'], '--images 3 is too few'),
        (['--run', 'x', '--pictures', '-1'], '--pictures -1 is too few'),
        (['saliency', '--run', 'x'], "no analysis 'saliency': there are agreement, occlusion, "),
        (['--teacher', 'a', 'b'], '--out-dir is missing'),
        (['--teacher', 'a', 'b', '--out-dir', 'x'], 'a student is compared with a teacher'),
        (['--run', 'x', '--cfg-options', 'a=1'], '--run finds networks and configs by itself'),
        (['--students', 'vits', '--out-dir', 'x'], '--students is for --run: give each network'),
        (['--run', 'no/such'], 'no/such/results.json'),
    ],
)
def test_a_persons_mistakes_are_told(arguments, message):
    with pytest.raises(UserError, match=toys.words(message)):
        run(*arguments)


def test_a_reconstruction_without_stage_one_is_refused(suite, tmp_path):
    config = suite / 'seed0' / 'vitb_cls' / 'vitb_cls.py'
    weights = suite / 'seed0' / 'vitb_cls' / 'weights.pth'
    with pytest.raises(UserError, match=toys.words('stage-1 run (epoch_N.pth', '--generic')):
        run('reconstruction', '--out-dir', tmp_path, '--teacher', config, weights,
            '--student', config, weights)


def test_nothing_is_trained_or_changed(suite):
    """Analyses leave weights as they were: two runs give the same figures."""
    figures = []
    for _ in range(2):
        run('occlusion', '--run', suite, '--images', 4)
        result = json.loads((suite / 'analysis' / 'occlusion.json').read_text())
        figures.append(result['orders'])
    assert figures[0] == figures[1]
    assert torch.is_grad_enabled()
