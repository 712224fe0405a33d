"""What is silenced, and that nothing else is."""

import json
import logging
import subprocess
import sys
import textwrap
import warnings

import pytest

from g2sd_mm.compat.quiet import quiet_imports, silence_known_warnings

NOISE = 'Could not import OneDL. Skipping OneDL datasets.'


@pytest.fixture(autouse=True)
def restore_filters():
    with warnings.catch_warnings():
        warnings.simplefilter('default')
        yield


def warnings_of(action):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        silence_known_warnings()
        action()
    return [str(warning.message) for warning in caught]


def run_as(module, code):
    """Run code as if it were the code of ``module``."""
    exec(compile(code, f'{module}.py', 'exec'), {'__name__': module})


# Lines on stdout ----------------------------------------------------------------------------------


def test_noisy_lines_go_and_others_stay(capsys):
    with quiet_imports():
        print('before')
        print(NOISE)
        print('af', end='')
        print('ter')
        print('no line end', end='')
    print(', outside')
    assert capsys.readouterr().out == 'before\nafter\nno line end, outside\n'


def test_output_and_error_survive_an_exception(capsys):
    with pytest.raises(RuntimeError, match='broken'), quiet_imports():
        print('unfinished', end='')
        raise RuntimeError('broken')
    assert capsys.readouterr().out == 'unfinished'


def test_stdout_is_given_back():
    before = sys.stdout
    with quiet_imports():
        assert sys.stdout is not before
        assert sys.stdout.encoding == before.encoding
    assert sys.stdout is before


def test_a_logger_made_inside_works_outside(capsys):
    with quiet_imports():
        handler = logging.StreamHandler(sys.stdout)
    handler.terminator = ''
    handler.emit(logging.makeLogRecord({'msg': '10 %\r'}))
    assert capsys.readouterr().out == '10 %\r'


# Warnings -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('module', 'code'),
    [
        ('mmdet.datasets', 'import warnings; warnings.warn("old", DeprecationWarning)'),
        ('mmseg', 'import warnings; warnings.warn("old", DeprecationWarning)'),
        ('/env/site-packages/mmpretrain/models/x', r'"\d"'),
        (
            'anything',
            'import warnings; warnings.warn("faster_coco_eval is not installed, metrics ...")',
        ),
        (
            'mmengine.model',
            'import warnings; warnings.warn("`broadcast_buffers` is deprecated.", FutureWarning)',
        ),
    ],
)
def test_known_warnings_go(module, code):
    assert warnings_of(lambda: run_as(module, code)) == []


@pytest.mark.parametrize(
    ('module', 'code'),
    [
        ('mmdet.datasets', 'import warnings; warnings.warn("look here")'),
        ('mmdetector', 'import warnings; warnings.warn("look here", DeprecationWarning)'),
        ('user.mmdet_plugin', 'import warnings; warnings.warn("look here", DeprecationWarning)'),
        ('mmengine.model', 'import warnings; warnings.warn("look here", FutureWarning)'),
    ],
)
def test_other_warnings_stay(module, code):
    assert warnings_of(lambda: run_as(module, code)) == ['look here']


def test_broken_escapes_elsewhere_stay():
    assert len(warnings_of(lambda: run_as('/home/user/script', r'"\d"'))) == 1


@pytest.mark.slow
def test_importing_all_three_libraries_prints_nothing():
    script = (
        'from g2sd_mm.compat import prepare; prepare()\n'
        'from g2sd_mm.compat.quiet import quiet_imports\n'
        'with quiet_imports():\n'
        '    import mmdet.utils, mmpretrain.utils, mmseg.utils\n'
        '    for library in (mmdet, mmpretrain, mmseg):\n'
        '        library.utils.register_all_modules(False)\n'
        'print("only this")'
    )
    run = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, check=True)
    assert (run.stdout, run.stderr) == ('only this\n', '')


# pycocotools --------------------------------------------------------------------------------------


def test_pycocotools_reads_and_evaluates_without_a_word_but_prints_its_table(tmp_path):
    square = dict(id=1, image_id=1, category_id=1, iscrowd=0, bbox=[1, 1, 5, 5], area=25)
    truth = dict(
        images=[dict(id=1, width=9, height=9)], categories=[dict(id=1)], annotations=[square]
    )
    (tmp_path / 'truth.json').write_text(json.dumps(truth))
    code = """
        import g2sd_mm, sys
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
        truth = COCO(sys.argv[1])
        found = truth.loadRes([dict(image_id=1, category_id=1, bbox=[1, 1, 5, 5], score=0.9)])
        scores = COCOeval(truth, found, 'bbox')
        scores.evaluate()
        scores.accumulate()
        scores.summarize()
    """
    command = [sys.executable, '-c', textwrap.dedent(code), str(tmp_path / 'truth.json')]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 12
    assert all('@[ IoU=' in line for line in lines)
