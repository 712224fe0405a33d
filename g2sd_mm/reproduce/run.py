"""Run a suite's steps and keep what each gave."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..checkpoints.write import write_text
from ..errors import UserError
from .environment import describe_environment
from .jobs import run_graph
from .suites import Row, Step, Suite

Say = Callable[[str], None]
Result = dict[str, Any]
Key = tuple[int, str]  # seed, step


def run_suite(
    suite: Suite,
    rows: Sequence[Row],
    seeds: Sequence[int],
    folder: Path,
    jobs: int = 1,
    say: Say = print,
    command: str = '',
) -> dict[str, Any]:
    """Train what the rows need for each seed and write ``results.json``.

    A step that finished before with the same configuration is not run again. A step that fails is
    recorded with its error, and so is what needs it; the others go on.

    Args:
        suite, rows, seeds: what to run.
        folder: gets ``seed<N>/<step>/`` and ``results.json``, rewritten whenever a run ends.
        jobs: runs at once.
        say: told one line for each run that ends.
        command: what a person typed for this; kept with the results.

    Returns:
        the content of ``results.json``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    steps = list(suite.steps_of(rows))
    _import_libraries(steps)
    graph = {
        (seed, step.name): [(seed, need) for need in step.needs] for seed in seeds for step in steps
    }

    def work(key: Key, finished: Mapping[Key, Result]) -> Result:
        return run_step(suite.step(key[1]), key[0], folder / f'seed{key[0]}', finished)

    finished: dict[Key, Result] = {}
    # asked in a process of its own: it may start the GPU, which no process forked later could use
    ((_, environment),) = run_graph({'': ()}, lambda *_: describe_environment(), jobs=1)
    results = {
        'suite': suite.name,
        'command': command,
        'jobs': jobs,
        'environment': environment,
        'rows': [],
    }
    for key, result in run_graph(graph, work, jobs):
        finished[key] = result
        say(f'[{len(finished)}/{len(graph)}] seed {key[0]} {key[1]}: {_outcome(result)}')
        results['rows'] = [
            _row(suite, row, seed, finished)
            for seed in seeds
            for row in rows
            if (seed, row.step) in finished
        ]
        write_text(folder / 'results.json', json.dumps(results, indent=2))
    return results


def run_step(step: Step, seed: int, runs: Path, finished: Mapping[Key, Result]) -> Result:
    """Result of one step: from disk if it is there, else by training; or what went wrong."""
    broken = [need for need in step.needs if 'error' in finished[seed, need]]
    if broken:
        error = finished[seed, broken[0]]['error']
        return {'error': f'needs {broken[0]}, which failed: {error}'}
    place = runs / step.name / 'result.json'
    try:
        digest = _digest(step, seed, [finished[seed, n]['digest'] for n in step.needs])
        if place.is_file():
            known = json.loads(place.read_text())
            if known.get('digest') == digest and Path(known['checkpoint']).is_file():
                return {**known, 'reused': True}
        result = _train(step, seed, runs)
    except (Exception, SystemExit) as error:  # a broken row must not take the others with it
        return {'error': ' '.join(str(error).split()) or type(error).__name__}
    result['digest'] = digest
    write_text(place, json.dumps(result, indent=2))
    return result


def _outcome(result: Result) -> str:
    if 'error' in result:
        return f'failed: {result["error"]}'
    metrics = '  '.join(f'{name} {value:.4g}' for name, value in result['metrics'].items())
    when = 'done before' if result.get('reused') else f'{result["train_seconds"]:.0f} s'
    return f'{when}  {metrics}'


def _import_libraries(steps: Sequence[Step]) -> None:
    """Import the task libraries once, before the processes are forked."""
    import g2sd_mm

    from ..cli.config import load_config

    g2sd_mm.register_all()
    for scope in {load_config(step.config).default_scope for step in steps}:
        importlib.import_module(f'{scope}.utils').register_all_modules(init_default_scope=False)


def _train(step: Step, seed: int, runs: Path) -> Result:
    from ..cli.train import train
    from ..engine.hooks.access import bare_model
    from .measure import gflops, parameters_in_millions

    started = time.perf_counter()
    # the terminal shows one line a step; each run's curve is in its vis_data folder
    options = {'log_level': 'ERROR', **step.options}
    with contextlib.redirect_stdout(io.StringIO()):  # tables that evaluators print
        runner = train(step.config, options, seed=seed, runs=str(runs))
    seconds = time.perf_counter() - started
    model = bare_model(runner)
    result = {
        'config': step.config,
        'checkpoint': str(runs / step.name / 'weights.pth'),
        'train_seconds': round(seconds, 1),
        'images_seen': runner.max_iters * runner.train_dataloader.batch_size,
        'dataset': _dataset_name(runner.cfg),
        'metrics': _metrics(runner),
    }
    deployed = getattr(model, 'student', model)
    if hasattr(deployed, 'backbone'):
        size = deployed.backbone.grid_size[0] * deployed.backbone.patch_embed.patch_size
        result['params_m'] = round(parameters_in_millions(deployed), 4)
        result['gflops'] = round(gflops(deployed, size), 4)
    return result


_METRICS = {
    'accuracy/top1': 'top1',
    'accuracy/top5': 'top5',
    'coco/bbox_mAP': 'bbox_mAP',
    'coco/segm_mAP': 'segm_mAP',
    'mIoU': 'mIoU',
    'mAcc': 'mAcc',
}


def _metrics(runner: Any) -> dict[str, float]:
    """The last validation's figures (the run ends with one), or the last training loss."""
    scalars = runner.message_hub.log_scalars
    found = {
        name: float(scalars[f'val/{key}'].current())
        for key, name in _METRICS.items()
        if f'val/{key}' in scalars
    }
    return found or {'loss': float(scalars['train/loss'].mean(20))}


def _dataset_name(cfg: Any) -> str:
    dataset = cfg.train_dataloader.dataset
    return Path(dataset.get('dataset', dataset).data_root).parent.name


def _digest(step: Step, seed: int, needs: list[str]) -> str:
    """Fingerprint of what a step was told: configuration, seed, and the same of what it loads.

    The code is not in it: after a change that moves results, start in a new folder.
    """
    from ..cli.config import load_config

    # paths as the config has them: a results folder may be moved
    cfg = load_config(step.config, step.options)
    content = json.dumps([cfg.to_dict(), seed, needs], sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _row(suite: Suite, row: Row, seed: int, finished: Mapping[Key, Result]) -> dict[str, Any]:
    """A line of ``results.json``; compute is of the row's own step and with what it needs."""
    result = finished[seed, row.step]
    line: dict[str, Any] = {
        'task': row.task,
        'method': row.method,
        'student': row.step.split('_')[0] if row.method == 'teacher' else 'vits',
        'seed': seed,
        'config': suite.step(row.step).config,
    }
    if 'error' in result:
        return {**line, 'error': result['error']}
    chain = [finished[seed, name] for name in suite.chain(row.step)]
    keys = ('dataset', 'metrics', 'params_m', 'gflops', 'train_seconds', 'checkpoint')
    return {
        **line,
        **{key: result.get(key) for key in keys},
        'images_seen': result['images_seen'],
        'total_seconds': round(sum(step['train_seconds'] for step in chain), 1),
    }


def plan(suite: Suite, rows: Sequence[Row], seeds: Sequence[int], folder: Path) -> list[str]:
    """The commands that :func:`run_suite` amounts to, for ``--dry-run``."""
    return [
        f'python tools/train.py {step.config} --seed {seed} --runs {folder / f"seed{seed}"}'
        for seed in seeds
        for step in suite.steps_of(rows)
    ]


def read_results(path: Path) -> dict[str, Any]:
    """A ``results.json``.

    Raises:
        UserError: if it is not there or not one.
    """
    try:
        results = json.loads(path.read_text())
        results['rows'], results['suite']
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f'{path} is not a results.json: {error}') from error
    return results
