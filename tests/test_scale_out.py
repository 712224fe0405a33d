"""Several machines, through the scripts that people start: two "nodes" on this one, and Slurm."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from g2sd_mm.checkpoints import read_weights
from g2sd_mm.config.load import load_config

from .helpers import imagenet
from .helpers.toys import ROOT, free_port
from .test_distributed import BATCH, check_equal, options, runs  # noqa: F401

STAGE = 'g2sd_vits_generic'
pytestmark = pytest.mark.slow

#: Stands in for Slurm's: one process a task, all of them here; the first that fails ends the rest.
SRUN = """#!/usr/bin/env bash
printf '%s\\n' "$*" >> "$SRUN_LOG"
while true; do
  case "$1" in
    --ntasks) tasks=$2; shift 2 ;;
    --*=*) shift ;;
    --*) shift 2 ;;
    *) break ;;
  esac
done
pids=()
for ((i = 0; i < tasks; i++)); do
  SLURM_PROCID=$i SLURM_LOCALID=$i SLURM_NTASKS=$tasks SLURM_NODELIST='node[1-2]' "$@" &
  pids+=($!)
done
for pid in "${pids[@]}"; do
  wait -n || { kill "${pids[@]}" 2> /dev/null; exit 1; }
done
"""
SCONTROL = '#!/usr/bin/env bash\necho localhost\necho other\n'


def write_config(path: Path, runs: Path, world: int, *hooks: dict[str, Any]) -> str:  # noqa: F811
    """Stage 1 for two epochs; whole batches of the same images on any number of processes."""
    cfg = load_config(imagenet.path(STAGE), options(STAGE, runs, BATCH // world), str(runs))
    cfg.custom_imports.imports += ['tests.helpers.loss_log', 'tests.helpers.dying']
    cfg.custom_hooks += list(hooks)
    cfg.train_cfg.max_epochs = 2
    cfg.dump(path)
    return str(path)


def environment(**variables: str) -> dict[str, str]:
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH')]))
    return {
        **os.environ, 'PYTHONPATH': path, 'PYTHON': sys.executable, 'OMP_NUM_THREADS': '1',
        'CUDA_VISIBLE_DEVICES': '', **variables,
    }


def start_nodes(config: str, work_dir: Path, *extra: str) -> list[subprocess.Popen]:
    """``tools/dist_train.sh`` of both nodes, a process each."""
    port = str(free_port())
    return [
        subprocess.Popen(
            ['bash', str(ROOT / 'tools/dist_train.sh'), config, '1', '--work-dir', str(work_dir),
             *extra],
            env=environment(NNODES='2', NODE_RANK=str(rank), PORT=port),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for rank in range(2)
    ]


def finish(nodes: list[subprocess.Popen]) -> list[str]:
    said = [node.communicate(timeout=300)[0] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], said[0][-2000:]
    return said


def one_process(tmp_path: Path, runs: Path) -> Path:  # noqa: F811
    config = write_config(tmp_path / 'one.py', runs, 1)
    subprocess.run(
        [sys.executable, str(ROOT / 'tools/train.py'), config, '--work-dir', str(tmp_path / 'one')],
        env=environment(), check=True, capture_output=True, timeout=300,
    )
    return tmp_path / 'one'


def test_a_node_dies_and_the_job_goes_on_from_its_checkpoint(runs, tmp_path):  # noqa: F811
    work_dir, note = tmp_path / 'two', tmp_path / 'note'
    # in the second of two epochs of six steps
    dying = dict(type='Dying', rank=1, step=8, note=str(note))
    config = write_config(tmp_path / 'two.py', runs, 2, dying)

    nodes = start_nodes(config, work_dir)
    said = [node.communicate(timeout=300)[0] for node in nodes]
    assert note.exists(), said
    assert all(node.returncode for node in nodes), 'the node that is left stops too'
    assert (work_dir / 'epoch_1.pth').is_file()
    assert not (work_dir / 'weights.pth').exists()

    finish(start_nodes(config, work_dir, '--resume'))
    assert torch.load(work_dir / 'epoch_2.pth', weights_only=False)['meta']['iter'] == 12
    one = read_weights(one_process(tmp_path, runs) / 'weights.pth').state
    for name, tensor in read_weights(work_dir / 'weights.pth').state.items():
        assert torch.allclose(tensor, one[name], atol=1e-4), name


def test_tasks_of_slurm_train_as_one_process(runs, tmp_path):  # noqa: F811
    tools = tmp_path / 'bin'
    tools.mkdir()
    for name, text in (('srun', SRUN), ('scontrol', SCONTROL)):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    config = write_config(tmp_path / 'two.py', runs, 2)
    done = subprocess.run(
        ['bash', str(ROOT / 'tools/slurm_train.sh'), 'gpu', 'a job', config, '--work-dir',
         str(tmp_path / 'two')],
        env=environment(
            PATH=f'{tools}:{os.environ["PATH"]}', GPUS='2', GPUS_PER_NODE='1', CPUS_PER_TASK='4',
            SRUN_ARGS='--qos=short --time=1:00', SRUN_LOG=str(tmp_path / 'srun.log'),
            MASTER_PORT=str(free_port()),
        ),
        capture_output=True, text=True, timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    asked = (tmp_path / 'srun.log').read_text()
    assert asked.startswith(
        '--partition gpu --job-name a job --gres gpu:1 --ntasks 2 --ntasks-per-node 1 '
        '--cpus-per-task 4 --kill-on-bad-exit=1 --qos=short --time=1:00 '
    )
    check_equal(one_process(tmp_path, runs), tmp_path / 'two', steps=12)


def test_a_task_of_slurm_that_fails_ends_the_job(runs, tmp_path):  # noqa: F811
    tools = tmp_path / 'bin'
    tools.mkdir()
    (tools / 'srun').write_text(SRUN)
    (tools / 'srun').chmod(0o755)
    done = subprocess.run(
        ['bash', str(ROOT / 'tools/slurm_train.sh'), 'gpu', 'job', str(tmp_path / 'no_config.py')],
        env=environment(
            PATH=f'{tools}:{os.environ["PATH"]}', GPUS='2', SRUN_LOG=str(tmp_path / 'srun.log')
        ),
        capture_output=True, text=True, timeout=300,
    )
    assert done.returncode == 1
    assert f'error: no config file {tmp_path}/no_config.py' in done.stderr
