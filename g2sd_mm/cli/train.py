"""``tools/train.py``: train any config of this project, both stages of every task."""

from __future__ import annotations

import argparse
from typing import Any

from ..preemption import ending_at_once
from .exit_codes import run_command
from .options import add_run_options, command_parser, take_choices

EXAMPLES = """examples:
  python tools/train.py configs/shapes/g2sd_vits_generic.py
  python tools/train.py configs/imagenet/g2sd_vits_cls.py --amp \\
      --cfg-options distillation.teacher.checkpoint=mae_finetuned_vit_base.pth
  python tools/train.py configs/shapes/g2sd_vits_generic.py --resume
  python tools/train.py configs/mini/vitb_maskrcnn.py --data-root my_yolo --val-share 0.2

SIGTERM and SIGUSR1 end a run after the current step, with a checkpoint and exit code 0.
"""


def parser() -> argparse.ArgumentParser:
    """The command line of ``train``."""
    p = command_parser(
        'Train a config: MAE pre-training, stage 1, stage 2 or plain fine-tuning.',
        EXAMPLES,
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
    p.add_argument('--mlflow', action='store_true', help='also log scalars for MLflow')
    p.add_argument('--wandb', action='store_true', help='also log scalars for Weights & Biases')
    add_run_options(p)
    return p


def _run(replay: str | None, **args: Any) -> None:
    with ending_at_once():  # while libraries are loaded too
        choices = take_choices(args)

        from ..runs.processes import leaving_processes
        from ..runs.replay import replay as replay_step
        from ..runs.train import train

        if replay:
            print(replay_step(args['config'], replay, args['options'], args['runs']))
        else:
            with leaving_processes():
                train(choices=choices, **args)


def main() -> None:
    """Entry point of ``tools/train.py``."""
    run_command(_run, parser().parse_args())
