"""``tools/train.py``: train any config of this project, both stages of every task."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from .guard import run_command
from .options import add_common_options, export_local_rank, parse_options

if TYPE_CHECKING:
    from mmengine.runner import Runner

EXAMPLES = """examples:
  python tools/train.py configs/shapes/g2sd_vits_generic.py
  python tools/train.py configs/imagenet/g2sd_vits_cls.py --amp \\
      --cfg-options distillation.teacher.checkpoint=mae_finetuned_vit_base.pth
  python tools/train.py configs/shapes/g2sd_vits_generic.py --resume

SIGTERM and SIGUSR1 end a run after the current step, with a checkpoint and exit code 0.
"""


def parser() -> argparse.ArgumentParser:
    """The command line of ``train``."""
    p = argparse.ArgumentParser(
        prog='train.py',
        description='Train a config: MAE pre-training, stage 1, stage 2 or plain fine-tuning.',
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument('config', help='config file')
    p.add_argument('--work-dir', help='where logs and checkpoints go (work_dirs/<config name>)')
    p.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='PATH',
        help='resume from the newest checkpoint in the work dir (without one, start a new run), or '
        'from PATH',
    )
    p.add_argument(
        '--runs',
        default='work_dirs',
        metavar='DIR',
        help='folder of the runs whose weights the config names (work_dirs); also the parent of '
        "this run's work dir",
    )
    p.add_argument(
        '--amp',
        action='store_true',
        help='mixed precision, for the teacher too: bfloat16 if the GPU has it, else float16',
    )
    p.add_argument(
        '--compile',
        action=argparse.BooleanOptionalAction,
        dest='compiled',
        help='use torch.compile for the transformer blocks (yes with a GPU, else no)',
    )
    p.add_argument('--seed', type=int, help='seed of all random numbers (that of the config: 0)')
    p.add_argument('--deterministic', action='store_true', help='use deterministic kernels')
    p.add_argument(
        '--replay',
        metavar='BUNDLE',
        help='do not train: repeat the step with a non-finite loss or gradient saved in BUNDLE',
    )
    p.add_argument(
        '--auto-scale-lr', action='store_true', help='scale the learning rate to the batch size'
    )
    p.add_argument('--tensorboard', action='store_true', help='also log scalars for TensorBoard')
    add_common_options(p)
    return p


def train(
    config: str,
    options: dict[str, Any] | None = None,
    work_dir: str | None = None,
    resume: str | None = None,
    launcher: str = 'none',
    seed: int | None = None,
    amp: bool = False,
    deterministic: bool = False,
    auto_scale_lr: bool = False,
    runs: str = 'work_dirs',
    tensorboard: bool = False,
    compiled: bool | None = None,
) -> Runner:
    """Train a config in this process; the function behind the command.

    Args are the command's; ``runs`` is the folder in which configs find each other's weights, and
    ``compiled=None`` leaves compiling to whether there is a GPU.

    Returns:
        the finished runner.

    Raises:
        UserError, CheckpointError: with one line that says what to do, before the first step; the
            latter for any file of weights that does not fit its place in the config.
        RunError: with the cause in one line, if the machine ends the run (a full disk, too little
            memory, a lost process), or a number that is not finite.
        Preempted: when a signal asked the run to end, and it has saved.
    """
    import g2sd_mm

    from ..data_checks.before_training import check_training_data
    from ..engine.preemption import listening
    from . import config as fit
    from .failures import explained
    from .processes import build_runner, start_processes
    from .reliable import check_work_dir, find_start, make_reliable
    from .scalars import log_throughput, use_tensorboard
    from .verify import verify_named_files

    g2sd_mm.register_all()
    cfg = fit.load_config(config, options, runs)
    cfg.work_dir = work_dir or fit.default_work_dir(config, runs)
    fit.name_run(cfg, config)
    if amp:
        fit.use_mixed_precision(cfg)
    fit.prepare_data(cfg, ('train_dataloader', 'val_dataloader'))
    if seed is not None:
        cfg.randomness.seed = seed
    if deterministic:
        # without it the first matrix product on a GPU refuses
        os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')
        cfg.randomness.deterministic = True
    if auto_scale_lr:
        cfg.auto_scale_lr.enable = True
    make_reliable(cfg)
    find_start(cfg, resume)
    log_throughput(cfg)
    if tensorboard:
        use_tensorboard(cfg)
    verify_named_files(cfg, config)
    check_work_dir(cfg.work_dir)
    check_training_data(cfg)
    fit.use_strict_loading(cfg)
    fit.use_compilation(cfg, compiled)
    with listening(), explained(cfg):
        start_processes(cfg, launcher)
        runner = build_runner(g2sd_mm.distill_config(cfg))
        runner.train()
    return runner


def main() -> None:
    """Entry point of ``tools/train.py``."""
    args = vars(namespace := parser().parse_args())
    export_local_rank(namespace)
    args.pop('local_rank')

    options, bundle = args.pop('cfg_options'), args.pop('replay')

    def command() -> None:
        if bundle:
            from .replay import replay

            replay(args['config'], bundle, parse_options(options), args['runs'])
        else:
            train(options=parse_options(options), **args)

    run_command(command)
