"""``tools/test.py``: evaluate a checkpoint of any kind that fits the config's student."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from .guard import run_command
from .options import add_common_options, export_local_rank, parse_options

EXAMPLES = """examples:
  python tools/test.py configs/shapes/g2sd_vits_cls.py work_dirs/g2sd_vits_cls/weights.pth
  python tools/test.py configs/imagenet/vitb_cls.py mae_finetuned_vit_base.pth --out results.json
  python tools/test.py configs/imagenet/vits_deploy.py work_dirs/g2sd_vits_cls/weights.pth \\
      --data configs/robustness/imagenet_a.py
"""

_TRAINING_ONLY = (
    'train_dataloader',
    'train_cfg',
    'optim_wrapper',
    'param_scheduler',
    'val_dataloader',
    'val_evaluator',
    'val_cfg',
    'custom_hooks',
)


def parser() -> argparse.ArgumentParser:
    """The command line of ``test``."""
    p = argparse.ArgumentParser(
        prog='test.py',
        description='Evaluate weights on the test data of a config. For a distilled config, the '
        'student is evaluated; no teacher is needed.',
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument('config', help='config file')
    p.add_argument('checkpoint', help="weights.pth, a run's checkpoint, or a published file")
    p.add_argument('--work-dir', help='where the log goes (work_dirs/<config name>)')
    p.add_argument('--out', help='write the metrics to this JSON file')
    p.add_argument('--show-dir', help='draw predictions into this folder')
    p.add_argument('--data', metavar='CONFIG', help='use the test data of this config instead')
    p.add_argument('--tta', action='store_true', help="use the config's test-time augmentation")
    add_common_options(p)
    return p


def evaluate(
    config: str,
    checkpoint: str,
    options: dict[str, Any] | None = None,
    work_dir: str | None = None,
    out: str | None = None,
    show_dir: str | None = None,
    tta: bool = False,
    launcher: str = 'none',
    runs: str = 'work_dirs',
    data: str | None = None,
) -> dict[str, float]:
    """Evaluate weights in this process; the function behind the command.

    Args are the command's; ``data`` is a config whose test data and metric replace the config's.

    Returns:
        metrics by name, as the evaluator calls them.

    Raises:
        UserError: if the config has nothing to test.
        CheckpointError: if the file does not fit the student exactly.
    """
    from mmengine.dist import is_main_process
    from mmengine.runner import Runner

    import g2sd_mm

    from ..errors import UserError
    from ..students.build import fill_student
    from . import config as fit
    from .processes import start_processes

    g2sd_mm.register_all()
    cfg = fit.load_config(config, options, runs)
    if data:
        fit.use_test_data(cfg, data)
    if not cfg.get('test_dataloader'):
        raise UserError(f'{config} has no test data: it is a pre-training config')
    cfg.work_dir = work_dir or fit.default_work_dir(config, runs)
    fit.name_run(cfg, config)
    fit.prepare_data(cfg, ('test_dataloader',))
    for key in _TRAINING_ONLY:
        cfg[key] = None
    for key in ('auto_scale_lr', 'model_wrapper_cfg'):
        cfg.pop(key, None)
    cfg.model.backbone.init_cfg = None  # everything comes from the checkpoint
    if show_dir:
        cfg.custom_hooks = [dict(type='DrawPredictionsHook', folder=show_dir)]
    if tta:
        fit.use_test_time_augmentation(cfg)
    start_processes(cfg, launcher)
    runner = Runner.from_cfg(cfg)
    model = runner.model
    while hasattr(model, 'module'):  # inside of DDP, inside of test-time augmentation
        model = model.module
    fill_student(model, checkpoint, config)
    metrics = {name: float(value) for name, value in runner.test().items()}
    if out and is_main_process():
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        Path(out).write_text(
            json.dumps({'config': config, 'checkpoint': checkpoint, 'metrics': metrics}, indent=2)
        )
    return metrics


def main() -> None:
    """Entry point of ``tools/test.py``."""
    args = vars(namespace := parser().parse_args())
    export_local_rank(namespace)
    args.pop('local_rank')

    def command() -> None:
        from ..wording import printable

        metrics = evaluate(options=parse_options(args.pop('cfg_options')), **args)
        said = '  '.join(f'{name} {value:.4f}' for name, value in metrics.items())
        print(printable(said))

    run_command(command)
