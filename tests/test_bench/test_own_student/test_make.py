"""From a folder to a student; what is trained is left out here but in the slow test."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace

import onnxruntime
import pytest
import yaml

import g2sd_mm
from g2sd_mm.bench.own_student import card, make
from g2sd_mm.bench.own_student.trial import Trial
from g2sd_mm.checkpoints.record import sidecar_path
from g2sd_mm.config.load import load_config
from g2sd_mm.data_checks.findings import Finding
from g2sd_mm.data_checks.run import Report
from g2sd_mm.errors import RunError, UserError
from g2sd_mm.export import export_student
from g2sd_mm.models.mae import MaskedAutoencoder
from g2sd_mm.models.sizes import ENCODERS
from g2sd_mm.runs import work_dir

from ...helpers.students import student_folder
from ...helpers.toys import image_folder, save, words


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    image_folder(tmp_path / 'fruit' / 'train', classes=3, each=50, size=8)
    image_folder(tmp_path / 'fruit' / 'val', classes=3, each=2, size=8, seed=1)
    return 'fruit'


@pytest.fixture
def untrained(monkeypatch, tmp_path):
    """Runs take no time and leave a toy student; what they were asked is kept."""
    asked = []

    # the same on a machine with little free memory
    monkeypatch.setattr(make, 'jobs_in_memory', lambda jobs, each=0.0: jobs)

    def try_out(plan, folder, jobs, bars=None):
        names = [step.name for step in plan.steps()]
        return Trial(dict.fromkeys(names, 0.01), dict.fromkeys(names, 1.0), 10**9)

    def run_suite(suite, rows, seeds, folder, **how):
        asked.append({step.name: step.options for step in suite.steps_of(rows)})
        lines = []
        for i, row in enumerate(rows):
            run = student_folder(folder / 'seed0' / row.step)
            lines.append({
                'task': 'cls', 'method': row.method, 'student': row.student, 'seed': 0,
                'config': suite.step(row.step).config, 'checkpoint': str(run / 'weights.pth'),
                'metrics': {'top1': 80.0 + i}, 'params_m': 1.0, 'gflops': 1.0,
                'train_seconds': 1.0, 'total_seconds': 2.0, 'dataset': 'fruit',
            })  # fmt: skip
        return {'suite': suite.name, 'data': 'fruit', 'rows': lines, 'command': '', 'jobs': 1,
                'environment': {}}  # fmt: skip

    monkeypatch.setattr(make, 'try_out', try_out)
    monkeypatch.setattr(make, 'run_suite', run_suite)
    monkeypatch.setattr(make, 'draw_pictures', lambda *args: None)
    monkeypatch.setattr(make, 'render', lambda results, *folders: '<html></html>')
    monkeypatch.setattr(make, 'export_student', _refuse)
    return asked


def _refuse(*args):
    raise UserError('nothing is exported here')


def test_a_student_is_delivered_with_all_that_goes_with_it(folder, untrained, monkeypatch):
    monkeypatch.setattr(make, 'export_student', export_student)
    said = []
    made = g2sd_mm.distill(folder, epochs=5, say=said.append)
    assert made.weights == made.folder / 'student' / 'weights.pth'
    assert {file.name for file in made.files} == {'weights.pth', 'student.onnx', 'README.md'}
    assert g2sd_mm.load_student(made.weights).task == 'classification'
    onnxruntime.InferenceSession(str(made.folder / 'student' / 'student.onnx'))
    for method in ('teacher', 'plain twin', 'student'):
        assert any(line.startswith(method) and 'ms an image' in line for line in said)


@pytest.mark.parametrize(('top1', 'doubted'), [(5.0, True), (95.0, False)])
def test_a_teacher_that_learned_nothing_is_told_beside_the_student(
    folder, untrained, monkeypatch, top1, doubted
):
    whole = make.run_suite

    def run_suite(suite, rows, seeds, place, **how):
        results = whole(suite, rows, seeds, place, **how)
        (teacher,) = (row for row in results['rows'] if row['method'] == 'teacher')
        sidecar = sidecar_path(teacher['checkpoint'])
        record = json.loads(sidecar.read_text())
        record['origin'] = {**(record.get('origin') or {}), 'metrics': {'accuracy/top1': top1}}
        sidecar.write_text(json.dumps(record))
        return results

    monkeypatch.setattr(make, 'run_suite', run_suite)
    said = []
    g2sd_mm.distill(folder, epochs=5, say=said.append)
    told = [line for line in said if 'knows next to nothing' in line]
    assert bool(told) is doubted
    assert all('--teacher' in line for line in told)


def test_a_student_that_cannot_be_exported_is_not_lost(folder, untrained):
    said = []
    made = g2sd_mm.distill(folder, epochs=5, say=said.append)
    assert {file.name for file in made.files} == {'weights.pth', 'README.md'}
    assert any('nothing is exported here' in line for line in said)


def test_the_card_is_one_of_hugging_face(folder, untrained):
    made = g2sd_mm.distill(folder, epochs=5, say=lambda line: None)
    text = (made.folder / 'student' / 'README.md').read_text()
    head = yaml.safe_load(text.split('---')[1])
    assert head['pipeline_tag'] == 'image-classification'
    (result,) = head['model-index'][0]['results']
    assert result['metrics'] == [{'type': 'top1', 'value': 82.0}]
    for part in ('g2sd distill fruit --epochs 5', '82.00', '80.00', '81.00', 'weights.json'):
        assert part in text, part
    assert 'no other licence is passed on' in text


def test_the_card_names_the_licences_of_teachers(folder, untrained, monkeypatch):
    taught = {'dino': 'apache-2.0', 'hiera': 'cc-by-nc-4.0'}
    monkeypatch.setattr(card, 'licences_of', lambda origin: taught)
    made = g2sd_mm.distill(folder, epochs=5, say=lambda line: None)
    text = (made.folder / 'student' / 'README.md').read_text()
    assert 'no other licence is passed on' not in text
    assert 'dino: its licence is apache-2.0.' in text
    assert 'hiera: its licence cc-by-nc-4.0 forbids commercial use' in text


@pytest.mark.parametrize('sliced', [False, True])
def test_the_card_says_how_the_student_came_about(folder, untrained, monkeypatch, sliced):
    monkeypatch.setattr(make, 'write_card', kept := Kept(card.write_card))
    made = g2sd_mm.distill(folder, epochs=5, say=lambda line: None)
    plan, *others = kept.args
    networks = replace(plan.networks, arch=ENCODERS['demo-student' if sliced else 'tiny'])
    assert networks.sliceable == sliced
    given = replace(plan, networks=networks, wishes=replace(plan.wishes, teacher='dino.pth'))
    card.write_card(given, *others)
    text = (made.folder / 'student' / 'README.md').read_text()
    assert ('it started as a slice' in text) == sliced
    assert ('without labels it learned' in text) != sliced
    assert 'no other licence is passed on' not in text and '`dino.pth`' in text


def test_the_card_names_a_network_of_timm(folder, untrained, monkeypatch):
    monkeypatch.setattr(make, 'write_card', kept := Kept(card.write_card))
    made = g2sd_mm.distill(folder, epochs=5, say=lambda line: None)
    place = made.folder / 'student' / 'README.md'
    assert '- vision-transformer' in place.read_text() and '# A small vision' in place.read_text()
    plan, *others = kept.args
    networks = replace(plan.networks, arch=None, student='resnet18')
    card.write_card(replace(plan, networks=networks), *others)
    assert '# A small resnet18' in place.read_text()
    assert 'vision-transformer' not in place.read_text()


def test_the_card_says_of_an_error_that_less_is_better(folder, untrained, monkeypatch):
    monkeypatch.setattr(make, 'write_card', kept := Kept(card.write_card))
    made = g2sd_mm.distill(folder, epochs=5, say=lambda line: None)
    plan, student, figures, *others = kept.args
    monkeypatch.setattr(type(plan), 'task', property(lambda self: 'depth'))
    values = {'teacher': 20.0, 'g2sd': 25.0}
    figures = [
        replace(figure, metric='abs_rel', value=values[figure.method])
        for figure in figures if figure.method in values
    ]  # fmt: skip
    card.write_card(plan, student, figures, *others)
    text = (made.folder / 'student' / 'README.md').read_text()
    assert 'keeps 80.0 %' in text and 'abs_rel, less is better' in text


class Kept:
    """Calls a function, and keeps what it was given."""

    def __init__(self, function):
        self.function = function

    def __call__(self, *args):
        self.args = args
        return self.function(*args)


def test_a_dry_run_says_how_long_and_trains_nothing(folder, untrained):
    said = []
    assert g2sd_mm.distill(folder, dry_run=True, say=said.append) is None
    assert not untrained
    assert any('together about' in line for line in said)


def test_the_same_call_goes_on_with_the_same_lengths(folder, untrained, monkeypatch):
    g2sd_mm.distill(folder, time_budget='2m', say=lambda line: None)
    # a busier machine at the second start
    monkeypatch.setattr(make, 'try_out', None)
    g2sd_mm.distill(folder, time_budget='2m', say=lambda line: None)
    assert untrained[0] == untrained[1]


def test_a_second_start_runs_no_more_at_once_than_memory_admits(folder, untrained, monkeypatch):
    asked = []
    whole = make.run_suite
    monkeypatch.setattr(
        make, 'run_suite', lambda *args, **how: asked.append(how['jobs']) or whole(*args, **how)
    )
    # room for one of the trial's size
    monkeypatch.setattr(make, 'jobs_in_memory', lambda jobs, each=0.0: 1 if each else jobs)
    for _ in range(2):
        g2sd_mm.distill(folder, epochs=5, jobs=4, say=lambda line: None)
    assert asked == [1, 1]


def test_what_could_not_be_drawn_is_told_as_all_else(folder, untrained, monkeypatch):
    monkeypatch.setattr(make, 'draw_pictures', lambda *args: args[-1]('no pictures'))
    said = []
    g2sd_mm.distill(folder, epochs=5, say=said.append)
    assert 'no pictures' in said


def test_other_choices_in_the_same_folder_are_refused(folder, untrained):
    g2sd_mm.distill(folder, epochs=5, say=lambda line: None)
    with pytest.raises(UserError, match=words('epochs', '5', '--out')):
        g2sd_mm.distill(folder, epochs=6, say=lambda line: None)
    g2sd_mm.distill(folder, epochs=6, out='other', say=lambda line: None)


def test_two_at_once_in_one_folder_are_refused(folder, untrained, monkeypatch):
    monkeypatch.setattr(work_dir, 'WAIT', 0)
    out = make.Path('both')
    out.mkdir()
    with work_dir.work_dir_lock('both'), pytest.raises(UserError, match=words('both', '--out')):
        g2sd_mm.distill(folder, epochs=5, out='both', say=lambda line: None)
    assert not untrained and not (out / 'plan.json').exists()
    g2sd_mm.distill(folder, epochs=5, out='both', say=lambda line: None)


@pytest.mark.parametrize('out', ['fruit', 'fruit/small', 'link/small'])
def test_runs_among_class_folders_would_be_a_class(folder, untrained, out):
    make.Path('link').symlink_to(folder)
    with pytest.raises(UserError, match=words(f'--out {out}')):
        g2sd_mm.distill(folder, dry_run=True, out=out, say=lambda line: None)
    g2sd_mm.distill(folder, dry_run=True, out='fruit/work_dirs/a', say=lambda line: None)


def test_a_dry_run_binds_nothing(folder, untrained):
    g2sd_mm.distill(folder, epochs=5, dry_run=True, say=lambda line: None)
    g2sd_mm.distill(folder, epochs=6, say=lambda line: None)
    assert len(untrained) == 1


def test_objects_of_no_size_are_left_out(folder, untrained, monkeypatch):
    found = [Finding('degenerate-box', 'a.jpg')]
    monkeypatch.setattr(make, 'check', lambda *args: Report((), 1, 0, tuple(found), 1.0, 1))
    said = []
    g2sd_mm.distill(folder, epochs=5, say=said.append)
    assert any('1 objects of no size' in line for line in said)
    found.append(Finding('unreadable', 'b.jpg'))
    with pytest.raises(UserError, match=words('b.jpg')):
        g2sd_mm.distill(folder, epochs=5, out='other', say=lambda line: None)


def test_one_class(tmp_path, untrained):
    image_folder(tmp_path / 'own' / 'train', classes=1, each=100, size=8)
    image_folder(tmp_path / 'own' / 'val', classes=1, each=4, size=8, seed=1)
    with pytest.raises(UserError, match=words('one-class', 'own/train', 'check_data.py')):
        g2sd_mm.distill(str(tmp_path / 'own'), say=lambda line: None)


def test_teacher_and_student_stand_in_plan_and_command(folder, untrained, monkeypatch):
    said = []
    made = g2sd_mm.distill(
        folder, epochs=5, student='demo-student', task='cls', say=said.append
    )
    assert any('student demo-student' in line and 'as asked for' in line for line in said)
    text = (made.folder / 'student' / 'README.md').read_text()
    assert '--student demo-student --task cls' in text
    with pytest.raises(UserError, match=words('--teacher nowhere.pth')):
        g2sd_mm.distill(folder, teacher='nowhere.pth', out='other', say=lambda line: None)


@pytest.mark.parametrize(('option', 'value'), [('jobs', 0), ('jobs', -2), ('seed', -1)])
def test_numbers_that_are_too_small_name_their_option(folder, untrained, option, value):
    with pytest.raises(UserError, match=words(f'--{option} {value}')):
        g2sd_mm.distill(folder, say=lambda line: None, **{option: value})


def test_no_folder_for_configs_is_told_before_anything_runs(folder, untrained):
    make.Path('mine').write_text('a file')
    said = []
    with pytest.raises(UserError, match=words('mine', '--plain-config')):
        g2sd_mm.distill(folder, plain_config='mine', say=said.append)
    assert not said


def test_the_card_has_the_command_that_trains_on_such_data(folder, untrained, monkeypatch):
    found = [Finding('unreadable', 'b.jpg')]
    monkeypatch.setattr(make, 'check', lambda *args: Report((), 1, 0, tuple(found), 1.0, 1))
    made = g2sd_mm.distill(folder, epochs=5, force=True, say=lambda line: None)
    assert '--force' in (made.folder / 'student' / 'README.md').read_text()


def test_other_data_in_the_same_folder_are_refused(folder, untrained):
    g2sd_mm.distill(folder, epochs=5, say=lambda line: None)
    shutil.copy('fruit/train/class_0/image_1.png', 'fruit/train/class_1/new.png')
    with pytest.raises(UserError, match=words('other data', '--out')):
        g2sd_mm.distill(folder, epochs=5, say=lambda line: None)


def test_the_configs_are_ordinary_ones(folder, untrained):
    said = []
    g2sd_mm.distill(folder, epochs=5, dry_run=True, plain_config='mine', say=said.append)
    files = sorted(make.Path('mine').glob('*.py'))
    assert len(files) == 5
    for file in files:
        assert load_config(str(file)).train_cfg.max_epochs >= 1
        assert any(f'tools/train.py mine/{file.name}' in line for line in said)


def test_edited_configs_are_not_overwritten(folder, untrained):
    def write():
        g2sd_mm.distill(
            folder, epochs=5, dry_run=True, plain_config='mine', say=lambda line: None
        )

    write()
    write()  # the same ones
    edited = make.Path('mine/vitb_cls.py')
    edited.write_text(edited.read_text() + 'resume = True\n')
    with pytest.raises(UserError, match=words('--plain-config mine', 'vitb_cls.py')):
        write()
    assert edited.read_text().endswith('resume = True\n')


def test_what_is_known_of_a_given_teacher_is_linked_with_it(folder, untrained):
    network = MaskedAutoencoder('demo-teacher', 'dec64d2b', img_size=56)
    file = save(make.Path('mae.pth').absolute(), network.state_dict())
    sidecar_path(file).write_text('{}')
    said = []
    g2sd_mm.distill(
        folder, epochs=5, teacher=file, dry_run=True, plain_config='mine', say=said.append
    )
    (line,) = (line for line in said if 'ln -s' in line)
    subprocess.run(line, shell=True, check=True)
    linked = make.Path('work_dirs/vitb_mae/weights.pth')
    assert linked.resolve() == make.Path(file).resolve()
    assert sidecar_path(linked).is_file()


def test_harm_in_the_data_stops_it_first(folder, untrained):
    (make.Path(folder) / 'train' / 'class_0' / 'broken.png').write_bytes(b'no picture')
    with pytest.raises(UserError, match=words('broken.png', 'check_data.py fruit', '--force')):
        g2sd_mm.distill(folder, epochs=5, say=lambda line: None)
    assert not untrained
    g2sd_mm.distill(folder, epochs=5, force=True, say=lambda line: None)
    assert untrained


def test_no_room_and_no_right_to_write(folder, untrained, monkeypatch):
    make.Path('file').touch()
    with pytest.raises(UserError, match=words('file/run', '--out')):
        g2sd_mm.distill(folder, out='file/run', say=lambda line: None)
    usage = shutil.disk_usage('.')._replace(free=10**6)
    monkeypatch.setattr(make.shutil, 'disk_usage', lambda place: usage)
    with pytest.raises(UserError, match=words('1 MB left', '--out')):
        g2sd_mm.distill(folder, say=lambda line: None)


def test_a_failed_run_is_an_error(folder, untrained, monkeypatch):
    def run_suite(suite, rows, seeds, folder, **how):
        return {'rows': [{'method': 'teacher', 'error': 'out of memory'}]}

    monkeypatch.setattr(make, 'run_suite', run_suite)
    with pytest.raises(RunError, match='teacher: out of memory'):
        g2sd_mm.distill(folder, epochs=5, say=lambda line: None)


@pytest.mark.slow
def test_it_really_trains_and_goes_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    image_folder(tmp_path / 'fruit' / 'train', classes=3, each=30, size=64)
    image_folder(tmp_path / 'fruit' / 'val', classes=3, each=4, size=64, seed=1)
    made = g2sd_mm.distill('fruit', epochs=2, say=lambda line: None)
    assert [row['method'] for row in made.rows] == ['teacher', 'g2sd_nosd', 'g2sd']
    assert made.report.is_file() and (made.folder / 'student' / 'student.onnx').is_file()
    again = g2sd_mm.distill('fruit', epochs=2, say=lambda line: None)
    assert [row['checkpoint'] for row in again.rows] == [row['checkpoint'] for row in made.rows]
    assert json.loads((made.folder / 'plan.json').read_text())['wishes']['epochs'] == 2
