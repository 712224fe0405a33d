"""What figures that need processes of their own have in common."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

from .stages import ROOT


def environment(**variables: str) -> dict[str, str]:
    """The environment in which a process finds this checkout, wherever it is started."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH')]))
    return {**os.environ, 'PYTHONPATH': path, **variables}


def require_success(code: int, errors: str, what: str) -> None:
    """Nothing, if a process ended well.

    Raises:
        RuntimeError: if not, with the end of what it said.
    """
    if code:
        raise RuntimeError(f'{what} failed: {" ".join(errors.split())[-500:]}')


def in_ranks(module: str, arguments: list[str], world: int, what: str) -> list[str]:
    """The last lines that the processes of a group say, by rank; on CPUs, a thread each.

    Args:
        module: run by each, which joins the group over gloo.
        arguments: of its command line.
        world: how many.
        what: they are, for the error.

    Raises:
        RuntimeError: if one fails, with the end of what it said.
    """
    common = environment(
        OMP_NUM_THREADS='1', CUDA_VISIBLE_DEVICES='', WORLD_SIZE=str(world),
        MASTER_ADDR='127.0.0.1', MASTER_PORT=_free_port(),
    )  # fmt: skip
    processes = [
        subprocess.Popen(
            [sys.executable, '-m', module, *arguments],
            env={**common, 'RANK': str(rank), 'LOCAL_RANK': str(rank)},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(world)
    ]  # fmt: skip
    said = [process.communicate() for process in processes]
    for process, (_, errors) in zip(processes, said, strict=True):
        require_success(process.returncode, errors, what)
    return [out.strip().splitlines()[-1] for out, _ in said]


def _free_port() -> str:
    with socket.socket() as found:
        found.bind(('127.0.0.1', 0))
        return str(found.getsockname()[1])
