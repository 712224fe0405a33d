"""What every run gets beside its config: the one list, and the small settings on it.

:func:`prepare_training` says in order what is done to a config before its first step;
``g2sd config CONFIG --prepared`` prints the result.
"""

from __future__ import annotations

import itertools
import os
import shlex
from collections.abc import Mapping
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict

import g2sd_mm

from ..agreement.weights import say
from ..config.load import load_config
from ..config.parts import LOADERS, add_hook, innermost_datasets, named_teachers
from ..config.project import find_config
from ..data_checks.before_training import check_training_data
from ..data_layouts import Choices
from ..distill.config import configs_of_students
from ..engine.optimizers import MIXED, mixed_dtype
from ..errors import UserError
from ..threads import enough_workers
from .agreement import agree_for_training
from .data import prepare_data
from .own_data import own_data_options
from .reliable import accumulation_of, fit_rules, make_reliable
from .resume import find_start
from .verify import verify_named_files
from .work_dir import check_work_dir, refuse_other_data, work_dir_lock

_RUNS = itertools.count(1)
_TRAINING_ONLY = (
    'train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler', 'val_dataloader',
    'val_evaluator', 'val_cfg', 'custom_hooks',
)  # fmt: skip


def prepare_training(
    config: str,
    options: dict[str, Any] | None = None,
    work_dir: str | None = None,
    resume: str | None = None,
    seed: int | None = None,
    amp: bool = False,
    deterministic: bool = False,
    auto_scale_lr: bool = False,
    runs: str = 'work_dirs',
    tensorboard: bool = False,
    mlflow: bool = False,
    wandb: bool = False,
    compiled: bool | None = None,
    data_root: str | None = None,
    choices: Choices | None = None,
    hold: ExitStack | None = None,
) -> Config:
    """A config as it will be trained: loaded, fitted to this machine, checked.

    Args are those of ``tools/train.py``; ``runs`` is the folder in which configs find each other's
    weights, ``compiled=None`` leaves compiling to whether there is a GPU, and ``hold`` is given the
    lock of the work dir before anything is read there.

    Raises:
        UserError, CheckpointError: with one line that says what to do; the latter for any file of
            weights that does not fit its place in the config.
    """
    g2sd_mm.register_all()
    notes: list[str] = []
    if data_root:
        options = own_data_options(config, data_root, choices, notes) | (options or {})
    cfg = load_config(config, options, runs, notes)
    needed = 'model', 'train_dataloader', 'train_cfg', 'optim_wrapper'
    if lacking := [entry for entry in needed if not cfg.get(entry)]:
        raise UserError(
            f'{config} has no {", ".join(lacking)}: it cannot be trained; give the config of a run'
        )
    if cfg.get('students'):
        configs_of_students(cfg)  # what it refuses is moved elsewhere below
    notes += choose_work_dir(cfg, config, work_dir, runs, options)
    name_run(cfg, config)
    if amp:
        use_mixed_precision(cfg)
    notes += prepare_data(cfg, ('train_dataloader', 'val_dataloader'))
    # mmengine wants an entry for the seed; most stock configs have none at all
    cfg.randomness = {'seed': None, **(cfg.get('randomness') or {})}
    if seed is not None:
        cfg.randomness.seed = seed
    if deterministic:
        # without it the first matrix product on a GPU refuses
        os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')
        cfg.randomness.deterministic = True
    notes += scale_rate(cfg, config) if auto_scale_lr else []
    check_work_dir(cfg.work_dir)
    if hold is not None:
        hold.enter_context(work_dir_lock(cfg.work_dir))
    if not resume:
        refuse_other_data(cfg)
    make_reliable(cfg)
    notes += fit_rules(cfg)
    find_start(cfg, resume, notes)
    for hook in ('ThroughputHook', 'ConsoleHook', 'LastPredictionsHook'):
        add_hook(cfg, hook)
    fit_workers(cfg, options)
    export_weights(cfg)
    for tracker, wanted in (('tensorboard', tensorboard), ('mlflow', mlflow), ('wandb', wandb)):
        if wanted:
            use_tracker(cfg, tracker)
    verify_named_files(cfg, config)
    found, size = agree_for_training(cfg, config)
    found += check_training_data(cfg)
    add_hook(cfg, 'AgreementHook', notes=list(dict.fromkeys(found)), size=size)
    use_strict_loading(cfg)
    use_compilation(cfg, compiled)
    use_online_knn(cfg)
    return cfg


def prepare_test(
    config: str,
    options: dict[str, Any] | None = None,
    work_dir: str | None = None,
    show_dir: str | None = None,
    tta: bool = False,
    runs: str = 'work_dirs',
    data: str | None = None,
    data_root: str | None = None,
    choices: Choices | None = None,
) -> Config:
    """A config as it will be tested: without what only training needs.

    Args are those of ``tools/test.py``; ``data`` is a config whose test data and metric replace the
    config's.

    Raises:
        UserError: if the config has nothing to test, or both kinds of other data are asked for.
    """
    g2sd_mm.register_all()
    if data and data_root:
        raise UserError(
            f'--data {data} and --data-root {data_root} both name the test data: give one of them'
        )
    if data_root:
        options = own_data_options(config, data_root, choices) | (options or {})
    of_data = {k: v for k, v in (options or {}).items() if data and k.split('.')[0] in _OF_DATA}
    cfg = load_config(config, {k: v for k, v in (options or {}).items() if k not in of_data}, runs)
    if data:
        use_test_data(cfg, data, of_data)
    if not cfg.get('test_dataloader'):
        raise UserError(f'{config} has no test data: it is a pre-training config')
    choose_work_dir(cfg, config, work_dir, runs, options)
    name_run(cfg, config)
    say(prepare_data(cfg, ('test_dataloader',)))
    for key in _TRAINING_ONLY:
        cfg[key] = None
    for key in ('auto_scale_lr', 'model_wrapper_cfg'):
        cfg.pop(key, None)
    add_hook(cfg, 'ConsoleHook')
    fit_workers(cfg, options)
    if show_dir:
        add_hook(cfg, 'DrawPredictionsHook', folder=show_dir)
    if tta:
        use_test_time_augmentation(cfg)
    return cfg


def fit_workers(cfg: Config, options: Mapping[str, Any] | None = None) -> None:
    """No more reading processes than cores are free for them, in place; what is asked for stays."""
    for name in LOADERS:
        loader = cfg.get(name)
        if loader and f'{name}.num_workers' not in (options or ()) and loader.get('num_workers'):
            loader.num_workers = enough_workers(loader.num_workers)


def name_run(cfg: Config, config: str) -> None:
    """Give the run a name of its own, in place.

    mmengine's names have seconds in them, and runs of one name in one process share their log. So
    do those whose visualizers have one name: the later one's figures go to the earlier's folder.
    """
    cfg.setdefault('experiment_name', f'{Path(config).stem}_{next(_RUNS)}')
    if cfg.get('visualizer'):
        cfg.visualizer.pop('name', None)


def choose_work_dir(
    cfg: Config,
    config: str,
    asked: str | None = None,
    runs: str = 'work_dirs',
    options: Mapping[str, Any] | None = None,
) -> list[str]:
    """Set where a run goes, in place: what was asked for, or ``work_dirs/<config name>``.

    A config's own may be that of an earlier run, which nobody wants to replace: a line says of it.
    """
    own, asked = cfg.get('work_dir'), asked or (options or {}).get('work_dir')
    cfg.work_dir = asked or str(Path(runs) / Path(config).stem)
    if asked or not own or Path(own).absolute() == Path(cfg.work_dir).absolute():
        return []
    return [
        f"work_dir={own} of {config} may be an earlier run's: this run goes to {cfg.work_dir}, and "
        f'with --work-dir {shlex.quote(own)} there'
    ]


#: What another config's test data come with.
_OF_DATA = ('test_dataloader', 'test_evaluator', 'data_layout', 'shapes')


def use_test_data(cfg: Config, path: str, options: Mapping[str, Any] | None = None) -> None:
    """Take test data and metric from another config with options of its own, in place.

    Raises:
        UserError: if there is no such config, or it has no test data.
    """
    other = load_config(path, dict(options or {}))
    if not other.get('test_dataloader'):
        raise UserError(f'--data {path} has no test data')
    for key in _OF_DATA:
        cfg[key] = other.get(key)


def use_mixed_precision(cfg: Config) -> None:
    """bfloat16 autocast where the GPU has it, else float16 with a scaler; in place.

    A teacher, which autocast does not reach, runs in that precision unless the config has its own.

    Raises:
        UserError: without a GPU.
    """
    if not torch.cuda.is_available():
        raise UserError(
            '--amp needs a GPU and there is none; on a CPU with fast bfloat16 use '
            '--cfg-options optim_wrapper.type=AutocastOptimWrapper'
        )
    dtype = mixed_dtype('cuda')
    cfg.optim_wrapper.update(dict(MIXED[dtype]))
    for teacher in named_teachers(cfg).values():
        teacher.setdefault('dtype', dtype)


#: Option of ``tools/train.py``, and package that it needs -> mmengine's backend.
_BACKENDS = {
    'tensorboard': 'TensorboardVisBackend',
    'mlflow': 'MLflowVisBackend',
    'wandb': 'WandbVisBackend',
}


def use_tracker(cfg: Config, name: str) -> None:
    """Write scalars for TensorBoard, MLflow or Weights & Biases too, in place.

    They go below the work dir unless the tracker's own variables (``MLFLOW_TRACKING_URI``,
    ``WANDB_MODE``, ...) say otherwise; Weights & Biases is offline unless they do.

    Raises:
        UserError: if its package is not installed.
    """
    if find_spec(name) is None:
        raise UserError(
            f'--{name} needs the {name} package: pip install {name}. Without it the same scalars '
            'are in vis_data/scalars.json of the work dir, one JSON object a line, and '
            'tools/watch.py draws them'
        )
    settings: dict[str, Any] = {}
    if name == 'mlflow' and not os.environ.get('MLFLOW_TRACKING_URI'):
        settings['tracking_uri'] = (Path(cfg.work_dir).absolute() / 'mlruns').as_uri()
        # MLflow 3 wants to be told that files will do
        os.environ.setdefault('MLFLOW_ALLOW_FILE_STORE', 'true')
    if name == 'mlflow':
        settings['exp_name'] = Path(cfg.work_dir).name
        # a pipeline is longer than a parameter may be; the whole config is kept as a file
        settings['tracked_config_keys'] = ('train_cfg', 'randomness')
    if name == 'wandb' and not os.environ.get('WANDB_MODE'):
        mode = 'online' if os.environ.get('WANDB_API_KEY') else 'offline'
        settings['init_kwargs'] = dict(mode=mode, name=Path(cfg.work_dir).name)
    cfg.setdefault('visualizer', dict(type='Visualizer'))  # mmengine's own
    known = cfg.visualizer.get('vis_backends') or [dict(type='LocalVisBackend')]
    cfg.visualizer.vis_backends = [*known, dict(type=_BACKENDS[name], **settings)]


def use_strict_loading(cfg: Config) -> None:
    """Load ``load_from`` by our own rules, and check a resumed checkpoint by them, in place.

    mmengine would take what fits from either, and skip the rest.
    """
    strict = (hook for hook in cfg.custom_hooks if hook['type'] == 'StrictLoadingHook')
    start = next((hook.get('start') for hook in strict), None)  # of a config that a run wrote
    if cfg.get('load_from') and not cfg.get('resume'):
        start, cfg.load_from = cfg.load_from, None
    add_hook(cfg, 'StrictLoadingHook', start=start)


def use_compilation(cfg: Config, compiled: bool | None) -> None:
    """Compile transformer blocks: always, never, or (None) with a GPU; in place."""
    if compiled is not False:
        add_hook(cfg, 'CompileHook', on_cpu=bool(compiled))


def export_weights(cfg: Config) -> None:
    """Write ``weights.pth`` and what it is at the end of the run, in place; stock configs too."""
    if not any(hook['type'] == 'WeightsExportHook' for hook in cfg.custom_hooks):
        add_hook(cfg, 'WeightsExportHook')


def use_test_time_augmentation(cfg: Config) -> None:
    """Wrap the model and the pipeline in the config's test-time augmentation.

    Raises:
        UserError: if the config has none.
    """
    if not cfg.get('tta_model') or not cfg.get('tta_pipeline'):
        raise UserError('--tta needs tta_model and tta_pipeline in the config')
    for dataset in innermost_datasets(cfg.test_dataloader.dataset):
        dataset.pipeline = cfg.tta_pipeline
    if cfg.model.get('data_preprocessor'):
        cfg.pop('data_preprocessor', None)  # mmengine's wrapper would prefer it
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)


def use_online_knn(cfg: Config) -> None:
    """Look at the student's features now and then, if the config has ``online_knn``, in place.

    Raises:
        UserError: if there are no labelled images to look with.
    """
    settings = cfg.get('online_knn')
    if settings is None:
        return
    from ..probe.online import OnlineKNNHook, data_beside

    data = settings.get('data') or data_beside(cfg)
    add_hook(cfg, OnlineKNNHook.__name__, **{**settings, 'data': data})


def scale_rate(cfg: Config, path: str) -> list[str]:
    """Let mmengine scale the rate to the batch, with what is accumulated counted too; in place.

    ``auto_scale_lr.base_batch_size`` is the images of an iteration, and the rate of a recipe is
    that of its own accumulation: 2048 images, of which the recipe of pre-training accumulates two.
    mmengine compares iterations. What ``--cfg-options`` changes in ``accumulative_counts`` is
    therefore put into the base.

    Args:
        cfg: of the run, with all options.
        path: config file, whose accumulation is the recipe's.

    Returns:
        lines for the log, if there is accumulation.

    Raises:
        UserError: if the config does not say which batch its rate is for.
    """
    settings = cfg.get('auto_scale_lr') or {}
    base = settings.get('base_batch_size')
    if not base:
        raise UserError(
            f'--auto-scale-lr: {path} does not say for which batch its learning rate is; add '
            '--cfg-options auto_scale_lr.base_batch_size=N, the images of an iteration of all '
            'processes'
        )
    recipe, now = accumulation_of(Config.fromfile(find_config(path))), accumulation_of(cfg)
    scaled = base * recipe / now
    fitted = int(scaled) if scaled == int(scaled) else scaled
    cfg.auto_scale_lr = dict(settings, enable=True, base_batch_size=fitted)
    if recipe == now:
        return []
    return [
        f'--auto-scale-lr counts the images of an update: the recipe has {base} x {recipe} '
        f'accumulated, so {fitted} x {now} here'
    ]
