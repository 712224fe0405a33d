"""Each guard against the environment that it is for; imports happen in processes of their own."""

import subprocess
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import pytest
import torch

from g2sd_mm.compat import guards
from g2sd_mm.compat.import_hooks import after_import, import_without

from ..helpers.toys import run_python

PREPARE = 'from g2sd_mm.compat import prepare; prepare()'


@pytest.fixture
def python(tmp_path, monkeypatch):
    """Run Python with ``tmp_path`` first on its path; returns the finished process."""
    monkeypatch.syspath_prepend(tmp_path)

    def run(script):
        command = f'import sys; sys.path[:] = {sys.path!r}\n{script}'
        return subprocess.run([sys.executable, '-c', command], capture_output=True, text=True)

    return run


def add_distribution(folder, name, version):
    info = folder / f'{name.replace("-", "_")}-{version}.dist-info'
    info.mkdir()
    (info / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n')


def last_line(process):
    return process.stderr.strip().splitlines()[-1]


def test_prepare_is_quick_silent_and_imports_no_framework(python):
    run = python(
        f'import time; start = time.perf_counter(); {PREPARE}; {PREPARE}\n'
        'spent = time.perf_counter() - start\n'
        'heavy = {"torch", "mmcv", "mmengine", "mmdet", "mmseg", "mmpretrain"} & set(sys.modules)\n'
        'print(spent < 2, sorted(heavy))'
    )
    assert (run.stdout, run.stderr, run.returncode) == ('True []\n', '', 0)


# Upstream beside onedl ----------------------------------------------------------------------------


def test_upstream_beside_onedl_stops_the_first_import_with_the_cure(python, tmp_path):
    add_distribution(tmp_path, 'mmcv', '2.1.0')
    add_distribution(tmp_path, 'mmsegmentation', '1.2.2')
    add_distribution(tmp_path, 'onedl-mmcv', '9.9.1')
    add_distribution(tmp_path, 'onedl-mmsegmentation', '9.9.2')
    run = python(PREPARE)
    assert run.returncode != 0
    message = last_line(run)
    assert message.startswith('ImportError: both mmcv and onedl-mmcv, mmsegmentation and onedl-')
    assert 'overwrite each other' in message
    assert 'pip uninstall -y mmcv mmsegmentation && ' in message
    assert message.endswith(
        'pip install --force-reinstall --no-deps onedl-mmcv==9.9.1 onedl-mmsegmentation==9.9.2'
    )


@pytest.mark.parametrize('upstream', sorted(guards._TWINS))
def test_every_twin_is_known(monkeypatch, upstream):
    installed = {upstream: '1.0', guards._TWINS[upstream]: '2.0'}
    monkeypatch.setattr(guards, 'installed', installed.get)
    with pytest.raises(ImportError, match=f'{guards._TWINS[upstream]}==2.0$'):
        guards.check_no_upstream_twins()


def test_one_family_alone_is_fine(monkeypatch):
    for installed in ({'mmcv': '2.1.0', 'mmdet': '3.3.0'}, {'onedl-mmcv': '2.3.6'}, {}):
        monkeypatch.setattr(guards, 'installed', installed.get)
        guards.check_no_upstream_twins()


# OpenCV -------------------------------------------------------------------------------------------

# absent, and there but hidden behind an empty file
LIBGL = 'libGL.so.1: cannot open shared object file: No such file or directory'
EMPTY_LIBGL = '/lib/x86_64-linux-gnu/libGL.so.1: file too short'


def add_cv2(folder, code, notes=None):
    (folder / 'cv2').mkdir()
    (folder / 'cv2' / '__init__.py').write_text(code)
    if notes:
        (folder / 'cv2' / 'version.py').write_text(notes)


@pytest.mark.parametrize('message', [LIBGL, EMPTY_LIBGL])
def test_opencv_without_libgl_stops_the_first_import_with_the_cure(python, tmp_path, message):
    add_cv2(tmp_path, f'raise ImportError({message!r})', notes='headless = False')
    add_distribution(tmp_path, 'opencv-python-headless', '4.12.0.88')
    run = python(PREPARE)
    assert run.returncode != 0
    library = message.partition(':')[0]
    assert last_line(run).startswith(
        f'ImportError: OpenCV cannot be imported: {library} is not usable on this machine; run: '
    )
    assert last_line(run).endswith(
        'pip install --force-reinstall --no-deps opencv-python-headless==4.12.0.88'
    )


def test_opencv_cure_takes_the_version_that_is_installed(monkeypatch):
    monkeypatch.setattr(guards, 'installed', {'opencv-python': '5.0.0.93'}.get)
    assert guards._opencv_cure('x').endswith('opencv-python-headless==5.0.0.93')
    monkeypatch.setattr(guards, 'installed', {}.get)
    assert guards._opencv_cure('x').endswith('opencv-python-headless')


def test_opencv_uninstalled_half_way(monkeypatch):
    monkeypatch.delitem(sys.modules, 'cv2', raising=False)
    monkeypatch.setattr(guards, 'find_spec', lambda name: None if name == 'cv2' else object())
    with pytest.raises(ImportError, match=r'the package cv2 is missing; run: .*headless'):
        guards.check_opencv()


def test_a_python_without_the_packages_is_told_of_its_environment(monkeypatch):
    monkeypatch.delitem(sys.modules, 'cv2', raising=False)
    monkeypatch.setattr(guards, 'find_spec', lambda name: None)
    with pytest.raises(ImportError, match=r'\.venv/bin/activate.*install -e \.$') as told:
        guards.check_opencv()
    assert 'opencv' not in str(told.value)  # one package of many: installing it would mend nothing


def test_other_opencv_errors_pass_unchanged(python, tmp_path):
    add_cv2(tmp_path, 'raise ImportError("numpy is too old")')
    assert last_line(python(PREPARE)) == 'ImportError: numpy is too old'


def test_headless_opencv_is_believed_without_an_import(python, tmp_path):
    add_cv2(tmp_path, 'raise AssertionError("imported")', notes='headless = True\n')
    assert python(PREPARE).returncode == 0


# distutils ----------------------------------------------------------------------------------------


@pytest.fixture
def no_distutils(monkeypatch):
    monkeypatch.setattr(guards, 'find_spec', lambda name: None)


def test_distutils_comes_from_setuptools(monkeypatch, no_distutils):
    called = []
    shim = SimpleNamespace(add_shim=lambda: called.append(True))
    monkeypatch.setitem(sys.modules, '_distutils_hack', shim)
    guards.provide_distutils()
    assert called


def test_distutils_found_nowhere_names_setuptools(monkeypatch, no_distutils):
    monkeypatch.setitem(sys.modules, '_distutils_hack', None)
    with pytest.raises(ImportError, match=r'mmengine needs distutils.*pip install setuptools$'):
        guards.provide_distutils()


def test_distutils_in_place_is_left_alone(monkeypatch):
    monkeypatch.setattr(guards, 'find_spec', lambda name: object())
    monkeypatch.setitem(sys.modules, '_distutils_hack', None)
    guards.provide_distutils()


# after_import -------------------------------------------------------------------------------------


@pytest.fixture
def sample(tmp_path, monkeypatch):
    """Name of an importable module, another one in each test: registrations stay."""
    name = f'sample_of_{tmp_path.name}'
    (tmp_path / f'{name}.py').write_text('value = 1\ndef read():\n    return value\n')
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    sys.modules.pop(name, None)


def change_value(module):
    module.value = 2


def test_callback_waits_for_the_import(sample):
    after_import(sample, change_value)
    assert sample not in sys.modules
    module = __import__(sample)
    assert module.read() == 2
    # Tracebacks and inspect ask the loader for the source.
    assert 'value = 1' in module.__loader__.get_source(sample)


def test_callback_runs_at_once_for_a_loaded_module(sample):
    module = __import__(sample)
    after_import(sample, change_value)
    assert module.read() == 2


def double_value(module):
    module.value *= 2


def test_all_callbacks_of_a_module_are_called_in_their_order(sample):
    for callback in (change_value, double_value, double_value):
        after_import(sample, callback)
    assert __import__(sample).read() == 4  # each once


def test_a_loaded_module_is_changed_once(sample):
    module = __import__(sample)
    for _ in range(2):
        after_import(sample, double_value)
    assert module.read() == 2


def test_a_loader_shared_by_modules_calls_back_for_the_watched_one_only(monkeypatch):
    class Shared:
        """Finds and loads any module of one family by itself, as pytest's import hook does."""

        def find_spec(self, fullname, path, target=None):
            return ModuleSpec(fullname, self) if fullname.startswith('shared_') else None

        def create_module(self, spec):
            return None

        def exec_module(self, module):
            module.value = 1

    monkeypatch.setattr(sys, 'meta_path', [*sys.meta_path, Shared()])
    after_import('shared_watched', change_value)
    assert __import__('shared_watched').value == 2
    assert __import__('shared_other').value == 1


def test_watching_a_module_that_does_not_exist_changes_nothing():
    after_import('no_such_module_to_watch', change_value)
    with pytest.raises(ModuleNotFoundError):
        __import__('no_such_module_to_watch')


# import_without -----------------------------------------------------------------------------------


@pytest.fixture
def curious(tmp_path, monkeypatch):
    """Names of a module that imports another one where it can, and of that one."""
    name, other = f'curious_of_{tmp_path.name}', f'other_of_{tmp_path.name}'
    (tmp_path / f'{name}.py').write_text(
        f'try:\n    import {other}\nexcept ModuleNotFoundError:\n    {other} = None\n'
    )
    (tmp_path / f'{other}.py').write_text('')
    monkeypatch.syspath_prepend(tmp_path)
    yield name, other
    sys.modules.pop(name, None)
    sys.modules.pop(other, None)


def test_a_module_is_kept_from_importing_another_one(curious):
    name, other = curious
    import_without(name, other)
    assert getattr(__import__(name), other) is None
    assert other not in sys.modules
    assert __import__(other) is sys.modules[other]  # later it is found as ever


def test_what_is_loaded_already_is_found(curious):
    name, other = curious
    loaded = __import__(other)
    import_without(name, other)
    assert getattr(__import__(name), other) is loaded


def test_a_module_that_breaks_leaves_nothing_hidden(curious, tmp_path):
    name, other = curious
    (tmp_path / f'{name}.py').write_text(f'import {other}\n')
    import_without(name, other)
    with pytest.raises(ModuleNotFoundError, match=other):
        __import__(name)
    assert other not in sys.modules


# What happens to the libraries --------------------------------------------------------------------


@pytest.mark.parametrize(('release', 'expected'), [('4.57.1', True), ('5.17.0', False)])
def test_transformers_5_switches_multimodal_off(monkeypatch, release, expected):
    monkeypatch.setattr(guards, 'installed', {'transformers': release}.get)
    dependency = SimpleNamespace(WITH_MULTIMODAL=True)
    guards.switch_off_multimodal(dependency)
    assert dependency.WITH_MULTIMODAL is expected


def test_in_a_new_process_no_library_loads_transformers_and_the_metric_has_all_its_changes(
    python, tmp_path
):
    (tmp_path / 'transformers.py').touch()
    libraries = 'mmpretrain.models, mmdet.models, mmdet.datasets, mmseg.models'
    # one change names the classes of figures, another one fills in what annotations lack
    done = python(
        f'{PREPARE}; import {libraries}; assert "transformers" not in sys.modules; '
        'import g2sd_mm; g2sd_mm.register_all(); '
        'from mmdet.evaluation.metrics import coco_metric as m; '
        'print(m.COCO.__module__, m.COCOeval.__mro__[1].__module__)'
    )
    modules = 'g2sd_mm.compat.coco_files g2sd_mm.compat.class_names\n'
    assert done.stdout.endswith(modules), done.stdout + done.stderr


def test_no_transformers_needs_no_switch(monkeypatch):
    monkeypatch.setattr(guards, 'installed', {}.get)
    dependency = SimpleNamespace(WITH_MULTIMODAL=False)
    guards.switch_off_multimodal(dependency)
    assert dependency.WITH_MULTIMODAL is False


def test_transformers_guard_waits_for_mmpretrain(python, tmp_path):
    """A library that breaks like the real one: with the flag set it cannot be imported."""
    package = tmp_path / 'mmpretrain' / 'utils'
    package.mkdir(parents=True)
    (tmp_path / 'mmpretrain' / '__init__.py').write_text(
        'from .utils.dependency import WITH_MULTIMODAL\nassert not WITH_MULTIMODAL\n'
    )
    (package / '__init__.py').write_text('')
    (package / 'dependency.py').write_text('WITH_MULTIMODAL = True\n')
    add_distribution(tmp_path, 'transformers', '5.17.0')
    run = python(f'{PREPARE}; import mmpretrain; print("imported")')
    assert run.stdout == 'imported\n', run.stderr


def test_configs_are_written_in_their_own_order():
    pytest.importorskip('mmengine')
    from mmengine.config import Config

    cfg = Config(dict(z=dict(b=1, a=2), y={'b.x': 1, 'a.x': 2}))
    written = Config.fromstring(cfg.pretty_text, '.py')
    assert list(written) == ['z', 'y']
    assert (list(written.z), list(written.y)) == (['b', 'a'], ['b.x', 'a.x'])


def test_configs_of_mmseg_are_found_and_nothing_is_ever_installed(monkeypatch):
    pytest.importorskip('mmengine')
    from mmengine.hub import get_config

    def no_process(*args, **kwargs):
        raise AssertionError(f'started {args}')

    monkeypatch.setattr(subprocess, 'check_call', no_process)
    assert get_config('mmseg::upernet/upernet_r50_4xb2-40k_cityscapes-512x1024.py').model
    with pytest.raises(ImportError, match=r'^mmocr is not installed, and nothing is installed at'):
        get_config('mmocr::textdet/dbnet.py')


def test_mmengine_reads_checkpoints_with_our_reader():
    checkpoint = pytest.importorskip('mmengine.runner.checkpoint')
    assert isinstance(checkpoint, ModuleType)
    assert checkpoint._safe_torch_load.__module__ == 'g2sd_mm.compat.safe_load'


@pytest.mark.slow
@pytest.mark.parametrize('library', ['mmpretrain', 'mmdet', 'mmseg'])
def test_a_task_library_does_not_import_the_other_two(python, library):
    run = python(
        f'{PREPARE}\nfrom {library}.utils import register_all_modules\n'
        'register_all_modules(init_default_scope=False)\n'
        'print("loaded:", sorted({"mmdet", "mmseg", "mmpretrain"} & set(sys.modules)))'
    )
    assert run.stdout.splitlines()[-1] == f"loaded: ['{library}']", run.stderr[-2000:]


@pytest.mark.slow
@pytest.mark.parametrize('order', ['mmpretrain mmdet mmseg', 'mmseg mmdet mmpretrain'])
def test_all_three_libraries_work_in_one_process(python, order):
    run = python(
        f'{PREPARE}\nimport importlib\n'
        f'for library in {order.split()!r}:\n'
        '    importlib.import_module(library + ".models")\n'
        'from mmengine.registry import MODELS\n'
        'for name in ("mmpretrain.ImageClassifier", "mmdet.MaskRCNN", "mmseg.EncoderDecoder"):\n'
        '    assert MODELS.get(name), name\n'
        'print("done")'
    )
    assert run.stdout.splitlines()[-1] == 'done', run.stderr[-2000:]


@pytest.mark.slow
def test_a_config_that_names_two_libraries_gets_the_parts_of_both(python, tmp_path):
    """mmseg's MaskFormer head is made of mmdet's."""
    config = tmp_path / 'maskformer.py'
    config.write_text(
        "default_scope = 'mmseg'\nmodel = dict(decode_head=dict(type='mmdet.DiceLoss'))\n"
    )
    run = python(
        f'{PREPARE}\nfrom g2sd_mm.config.load import load_config\n'
        f'load_config({str(config)!r})\n'
        'from mmseg.models.decode_heads import MaskFormerHead\n'
        'print([base.__module__.split(".")[0] for base in MaskFormerHead.__bases__])'
    )
    assert run.stdout.splitlines()[-1] == "['mmdet']", run.stderr[-2000:]


def test_ssd_predicts():
    from mmdet.models.dense_heads import SSDHead
    from mmengine.config import ConfigDict

    anchors = dict(type='AnchorGenerator', strides=[16], ratios=[1.0], scales=[1])
    head = SSDHead(num_classes=2, in_channels=(8,), anchor_generator=anchors,
                   test_cfg=ConfigDict(nms=dict(type='nms', iou_threshold=0.5), score_thr=0.0,
                                       max_per_img=5))  # fmt: skip
    meta = dict(img_shape=(64, 64), scale_factor=(1.0, 1.0))
    (found,) = head.predict_by_feat(*head((torch.rand(1, 8, 4, 4),)), batch_img_metas=[meta])
    assert len(found.bboxes) == 5


@pytest.mark.parametrize('order', ['mmseg.models, mmdet.models', 'mmdet, mmseg.models'])
def test_heads_of_mmseg_are_made_of_mmdets_whatever_is_loaded_before(order):
    made = run_python('-c', f"""
import g2sd_mm, {order}
from mmseg.registry import MODELS
for name in ('Mask2FormerHead', 'MaskFormerHead'):
    print(*(kind.__module__.partition('.')[0] for kind in MODELS.get(name).__mro__[:2]))
""")  # fmt: skip
    assert made.stdout.split() == ['mmseg', 'mmdet'] * 2, made.stderr
