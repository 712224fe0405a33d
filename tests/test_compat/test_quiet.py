"""What is silenced, and that nothing else is."""

import json
import subprocess
import sys
import textwrap
import types
import warnings

import pytest

from g2sd_mm.compat.quiet import print_no_noise, silence_known_warnings


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
    module = types.ModuleType('library')
    print_no_noise(module)
    module.print('before', 'and', end=' ')
    module.print('Could not import OneDL. Skipping OneDL datasets.')
    module.print('after')
    module.print()
    print('Could not import OneDL, says somebody else')
    assert capsys.readouterr().out == (
        'before and after\n\nCould not import OneDL, says somebody else\n'
    )


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
        ('mmdet', 'import warnings; warnings.warn("DeprecationWarning: `num_anchors` is ...")'),
        ('torch', 'import torch; torch.meshgrid(torch.ones(2), torch.ones(2))'),
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
        'import mmdet.utils, mmpretrain.utils, mmseg.utils\n'
        'for library in (mmdet, mmpretrain, mmseg):\n'
        '    library.utils.register_all_modules(False)\n'
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
