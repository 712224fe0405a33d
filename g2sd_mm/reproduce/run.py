"""Run a suite's steps and keep what each gave."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..checkpoints.write import write_text
from ..lock import alone
from ..progress import Bars
from ..provenance import git_commit
from ..wording import one_line
from .commands import Launcher, evaluation_file
from .data import OwnData
from .digests import Key, all_digests, row_digests
from .environment import describe_environment
from .interrupted import begin
from .jobs import longest_chains_first, run_graph
from .launch import launch, launch_test
from .record import HOW, Record
from .suites import Row, Step, Suite
from .watch import Watch
from .work import train_root

Say = Callable[[str], None]
Result = dict[str, Any]


def run_suite(
    suite: Suite,
    rows: Sequence[Row],
    seeds: Sequence[int],
    folder: Path,
    jobs: int = 1,
    say: Say = print,
    command: str = '',
    launcher: Launcher | None = None,
    resume: bool = False,
    data: OwnData | None = None,
    bars: Bars | None = None,
) -> dict[str, Any]:
    """Train what the rows need for each seed and write ``results.json``.

    A step that finished before with the same configuration is not run again, nor is a row that the
    suite's record has; one that was interrupted goes on from its newest checkpoint, and one that
    another process runs in the same folder is waited for. A step that fails is recorded with its
    error, and so is what needs it; the others go on.

    Args:
        suite, rows, seeds: what to run.
        folder: gets ``seed<N>/<step>/`` and ``results.json``, rewritten whenever a run ends.
        jobs: runs at once.
        say: told one line for each run that ends.
        command: what a person typed for this; kept with the results.
        launcher: starts the commands of a launched suite.
        resume: go on too from checkpoints of steps that were begun by hand.
        data: what the suite is run on, where it is not its own.
        bars: that show how far the runs are.

    Returns:
        the content of ``results.json``: these rows, and what the record has besides.

    Raises:
        UserError: if the record has rows on other data of the same name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    record = _record(suite, data)
    every = sorted({*seeds, *(record.seeds() if record else ())})
    digests = all_digests(suite, every, data, launcher)
    of_rows = row_digests(suite, digests) if record else {}
    known = record.find(of_rows) if record else {}
    wanted = [(seed, row) for seed in seeds for row in rows if (seed, row) not in known]
    graph = _graph(suite, wanted)
    if not suite.launched:
        _import_libraries(list(suite.steps_of([row for _, row in wanted])))

    def work(key: Key, finished: Mapping[Key, Result]) -> Result:
        seed, name = key
        step, runs = suite.step(name), folder / f'seed{seed}'
        result = run_step(step, seed, runs, finished, digests[key], launcher, resume)
        if 'error' not in result:
            ends = [row for s, row in wanted if (s, row.step) == key]
            result['tests'] = dict(_tests(step, ends, runs, launcher))
        return result

    finished: dict[Key, Result] = {}
    # asked in a process of its own: it may start the GPU, which no process forked later could use
    ((_, environment),) = run_graph({'': ()}, lambda *_: describe_environment(), jobs=1)
    results: dict[str, Any] = {
        'suite': suite.name,
        **({'data': data.name, 'fingerprints': data.fingerprints} if data else {}),
        **_said(suite),
        'command': command,
        'jobs': jobs,
        'environment': environment,
        'rows': list(known.values()),
    }
    made: dict[tuple[int, Row], Result] = {}
    if data and not (folder / 'results.json').exists():
        # whose the folder is, if the suite is stopped before a run has ended
        write_text(folder / 'results.json', json.dumps(results, indent=2))
    watch = Watch(suite, folder, bars, data)
    for key, result in run_graph(graph, work, jobs, watch):
        finished[key] = result
        watch.ended(key)
        say(f'[{len(finished)}/{len(graph)}] seed {key[0]} {key[1]}: {_outcome(result)}')
        made = {
            (seed, row): _line(suite, row, seed, finished)
            for seed, row in wanted
            if (seed, row.step) in finished
        }
        if record and suite.keeps:
            for (seed, row), line in made.items():
                if row.step == key[1] and seed == key[0] and 'error' not in line:
                    steps = suite.chain(row.step)
                    record.add(results, line, of_rows[seed, row], folder / f'seed{seed}', steps)
        results['rows'] = _in_order(suite, {**known, **made})
        write_text(folder / 'results.json', json.dumps(results, indent=2))
    if record:
        # meanwhile, other processes may have finished rows, also of other seeds
        new = {*record.seeds()} - {*every}
        of_rows |= row_digests(suite, all_digests(suite, new, data, launcher))
        results['rows'] = _in_order(suite, {**record.find(of_rows), **made})
        state = _state(suite, record, of_rows, results['rows'])
        if wanted and not suite.keeps:
            state['made'].append({**{key: results[key] for key in HOW}, 'rows': len(wanted)})
        results |= state
    write_text(folder / 'results.json', json.dumps(results, indent=2))
    if record and suite.keeps:
        record.write(results)
    return results


def _in_order(suite: Suite, lines: Mapping[tuple[int, Row], Result]) -> list[Result]:
    """Lines of (seed, row): seed by seed, each in the order of the suite's rows."""
    seeds = sorted({seed for seed, _ in lines})
    return [lines[seed, row] for seed in seeds for row in suite.rows if (seed, row) in lines]


def _said(suite: Suite) -> dict[str, str]:
    """What the suite has to say to a reader of its results."""
    told = {'note': suite.note, 'recipe': suite.recipe, 'tested': suite.tested}
    return {name: text for name, text in told.items() if text}


def _state(
    suite: Suite, record: Record, digests: Mapping[tuple[int, Row], str], rows: Sequence[Result]
) -> dict[str, Any]:
    """How a record's rows were made, which are ``missing``, and which files are ``left_out``."""
    there = {_names(row) for row in rows}
    wanted = [_names({**vars(row), 'seed': seed}) for seed in suite.seeds for row in suite.rows]
    return {
        'made': record.made(digests),
        'missing': [' '.join(names) for names in wanted if names not in there],
        'left_out': record.left_out(digests),
    }


def _names(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Task, method, ablation and seed of a row, in words."""
    table, setting = row.get('table', 'main'), row.get('setting', '')
    of_table = () if table == 'main' else (table, setting)
    return (row['task'], row['method'], *of_table, f'seed {row["seed"]}')


def _record(suite: Suite, data: OwnData | None) -> Record | None:
    if suite.record is None:
        return None
    if data is None:
        return Record(Path(suite.record))
    record = Record(Path(suite.record), data.name, data.fingerprints)
    record.refuse_other_data()
    return record


def _graph(suite: Suite, wanted: Sequence[tuple[int, Row]]) -> dict[Key, Sequence[Key]]:
    """Every step that the rows need -> the steps that it needs; one seed after the other."""
    graph: dict[Key, Sequence[Key]] = {}
    for seed in dict.fromkeys(seed for seed, _ in wanted):
        steps = suite.steps_of([row for s, row in wanted if s == seed])
        needs = {(seed, step.name): [(seed, need) for need in step.needs] for step in steps}
        graph |= longest_chains_first(needs)
    return graph


def run_step(
    step: Step,
    seed: int,
    runs: Path,
    finished: Mapping[Key, Result],
    digest: str,
    launcher: Launcher | None = None,
    resume: bool = False,
) -> Result:
    """Result of one step: from disk if it is there, else by training; or what went wrong."""
    broken = [need for need in step.needs if 'error' in finished[seed, need]]
    if broken:
        error = finished[seed, broken[0]]['error']
        return {'error': f'needs {broken[0]}, which failed: {error}'}
    try:
        runs.mkdir(parents=True, exist_ok=True)
        # two suites may need the step at once: the second one waits, and finds it done
        with alone(runs / f'.{step.name}.lock'):
            return _reuse_or_train(step, seed, runs, digest, launcher, resume)
    except (Exception, SystemExit) as error:  # a broken row must not take the others with it
        return {'error': one_line(error)}


def _reuse_or_train(
    step: Step, seed: int, runs: Path, digest: str, launcher: Launcher | None, resume: bool
) -> Result:
    place = runs / step.name / 'result.json'
    if place.is_file():
        known = json.loads(place.read_text())
        # of a suite's folder that was copied or moved: its own file, not the first one's
        own = place.with_name(Path(known['checkpoint']).name)
        if known.get('digest') == digest and own.is_file():
            return {**known, 'checkpoint': str(own), 'reused': True}
    spent = begin(runs / step.name, digest, resume)
    goes_on = spent is not None
    if launcher:
        result = launch(step, seed, runs, launcher, goes_on)
    else:
        result = _train(step, seed, runs, goes_on)
    result['train_seconds'] = round(result['train_seconds'] + (spent or 0.0), 1)
    result |= {'digest': digest, 'commit': git_commit()}
    write_text(place, json.dumps(result, indent=2))
    return result


def _tests(
    step: Step, rows: Sequence[Row], runs: Path, launcher: Launcher | None
) -> Iterator[tuple[str, Result]]:
    """Test data -> ``metrics`` or ``error``, of the rows that end in a step; each tested once."""
    for row in {row.data: row for row in rows}.values():
        if launcher:
            yield row.data, launch_test(step, row, runs, launcher)
        elif row.data:
            yield row.data, _test(step, row, runs)


def _outcome(result: Result) -> str:
    if 'error' in result:
        return f'failed: {result["error"]}'
    tested = [test.get('metrics', {}) for test in result.get('tests', {}).values()]
    metrics = '  '.join(
        f'{name} {value:.4g}'
        for some in (tested if any(tested) else [result['metrics']])
        for name, value in some.items()
    )
    when = 'done before' if result.get('reused') else f'{result["train_seconds"]:.0f} s'
    return f'{when}  {metrics}'.rstrip()


def _import_libraries(steps: Sequence[Step]) -> None:
    """Import the task libraries once, before the processes are forked."""
    import g2sd_mm

    from ..configuration import load_config

    g2sd_mm.register_all()
    for scope in {load_config(step.config).default_scope for step in steps}:
        importlib.import_module(f'{scope}.utils').register_all_modules(init_default_scope=False)


def _train(step: Step, seed: int, runs: Path, resume: bool = False) -> Result:
    from ..cli.train import train
    from ..engine.hooks.access import bare_model
    from .measure import measure_model

    started = time.perf_counter()
    # the terminal shows one line a step; each run's curve is in its vis_data folder
    options = {'log_level': 'ERROR', **step.options}
    with contextlib.redirect_stdout(io.StringIO()):  # tables that evaluators print
        runner = train(
            step.config,
            options,
            work_dir=str(runs / step.name),
            resume='auto' if resume else None,
            seed=seed,
            runs=str(runs),
        )
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
    return {**result, **(measure_model(deployed) if hasattr(deployed, 'backbone') else {})}


def _test(step: Step, row: Row, runs: Path) -> Result:
    from ..cli.test import evaluate
    from .measure import agreed_metrics

    folder = runs / step.name
    options = {'log_level': 'ERROR', **step.options}
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # tables that evaluators print
            metrics = evaluate(
                step.config,
                str(folder / 'weights.pth'),
                options,
                work_dir=str(folder / 'test'),
                out=str(evaluation_file(row, runs)),
                runs=str(runs),
                data=row.data,
            )
    except (Exception, SystemExit) as error:  # a broken row must not take the others with it
        return {'error': one_line(error)}
    return {'metrics': agreed_metrics(metrics)}


def _metrics(runner: Any) -> dict[str, float]:
    """The last validation's figures (the run ends with one), or the last training loss."""
    from .measure import agreed_metrics

    scalars = runner.message_hub.log_scalars
    last = {
        name.removeprefix('val/'): float(values.current())
        for name, values in scalars.items()
        if name.startswith('val/')
    }
    return agreed_metrics(last) or {'loss': float(scalars['train/loss'].mean(20))}


def _dataset_name(cfg: Any) -> str:
    root = Path(train_root(cfg))
    return root.parent.name if root.name.startswith('train') else root.name


def _line(suite: Suite, row: Row, seed: int, finished: Mapping[Key, Result]) -> dict[str, Any]:
    """A line of ``results.json``; compute is of the row's own step and with what it needs."""
    result = finished[seed, row.step]
    line: dict[str, Any] = {
        'task': row.task,
        'method': row.method,
        'student': row.student,
        **{key: getattr(row, key) for key in ('setting', 'data', 'metric') if getattr(row, key)},
        **({'table': row.table} if row.table != 'main' else {}),
        'seed': seed,
        'config': suite.step(row.step).config,
    }
    test = result.get('tests', {}).get(row.data, {})
    metrics = test.get('metrics') or result.get('metrics', {})
    error = result.get('error') or test.get('error')
    if not error and row.judged_by not in metrics:
        error = (
            f'its evaluation gave no {row.judged_by}: nothing was predicted, or data are missing'
        )
    if error:
        return {**line, 'error': error}
    chain = [finished[seed, name] for name in suite.chain(row.step)]
    keys = (
        'dataset', 'params_m', 'gflops', 'train_seconds', 'checkpoint', 'images_seen', 'commit',
    )  # fmt: skip
    return {
        **line,
        **{key: result.get(key) for key in keys},
        'metrics': metrics,
        'total_seconds': round(sum(step['train_seconds'] for step in chain), 1),
    }


def merge_rows(folder: Path) -> None:
    """Write a record folder's ``results.json`` from its rows, of which each says how it was made.

    Rows of configurations that the suite no longer has are left out, and named. Rows on other data
    than Shapes stay as they are: whether they count is not to be told without the data.
    """
    from .catalogue import SUITES

    record = Record(folder)
    files = list(record.files().values())
    if not files:
        return
    made = files[-1]
    suite = SUITES[made['suite']]
    digests = row_digests(suite, all_digests(suite, record.seeds()))
    rows = _in_order(suite, record.find(digests))
    kept = {key: made[key] for key in ('suite', *HOW)}
    state = _state(suite, record, digests, rows)
    record.write({**kept, **_said(suite), **state, 'rows': rows})
