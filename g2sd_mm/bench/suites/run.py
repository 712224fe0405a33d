"""Run a suite's steps and keep what each gave."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...checkpoints.record import licences_beside
from ...lock import file_lock
from ...progress import Bars
from ...provenance import git_commit
from ...threads import cores, said_by
from ...unexpected import account_of
from ...whole_files import write_text
from ..results import COMPARED, describe_environment, read_results, ways
from .commands import HERE, Launcher
from .data import OwnData
from .digests import Key, all_digests, row_digests
from .finished_runs import RESULT, earlier_lines, run_result
from .jobs import RunProgress, longest_chains_first, run_graph
from .launch import begin, end_all, launch, launch_test
from .plan import with_given_files
from .record import HOW, Record
from .suites import Row, Step, Suite
from .uses import described

Say = Callable[[str], None]
Result = dict[str, Any]
Lines = dict[tuple[int, Row], Result]  # of results.json, by seed and row


@dataclass
class SuiteRun:
    """One run of a suite: :meth:`plan` what is left to do, :meth:`run` it, :meth:`collect` rows.

    Attributes:
        suite, rows, seeds: what to run.
        folder: gets ``seed<N>/<step>/`` and ``results.json``, rewritten whenever a run ends.
        jobs: runs at once.
        say: told one line for each run that ends.
        command: what a person typed for this; kept with the results.
        launcher: starts the commands of the steps.
        resume: go on too from checkpoints of steps that were begun by hand.
        data: what the suite is run on, where it is not its own.
        bars: that show how far the runs are.
    """

    suite: Suite
    rows: Sequence[Row]
    seeds: Sequence[int]
    folder: Path
    jobs: int = 1
    say: Say = print
    command: str = ''
    launcher: Launcher = HERE
    resume: bool = False
    data: OwnData | None = None
    bars: Bars | None = None

    def plan(self) -> dict[Key, Sequence[Key]]:
        """Every step that is left to run -> the steps that it needs; one seed after the other.

        Raises:
            UserError: if the record has rows on other data of the same name.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self.record = _record(self.suite, self.data)
        self._before, earlier = ({}, {}) if self.record else self._there()
        others = self.record.seeds() if self.record else (seed for seed, _ in earlier)
        self._every = sorted({*self.seeds, *others})
        self.digests = all_digests(self.suite, self._every, self.data, self.launcher)
        self._of_rows = row_digests(self.suite, self.digests)
        self.known = self._known(earlier)
        self.wanted = [
            (seed, row) for seed in self.seeds for row in self.rows if (seed, row) not in self.known
        ]
        self._passed = {*earlier} - {*self.known}
        self.finished: dict[Key, Result] = {}
        return _graph(self.suite, self.wanted)

    def _there(self) -> tuple[dict[str, Any], Lines]:
        return earlier_lines(self.suite, self.folder, self.data.name if self.data else None)

    def _known(self, earlier: Lines) -> Lines:
        """Lines that need no run: of the record, else of an earlier call that this one leaves."""
        if self.record:
            return self.record.find(self._of_rows)
        return {
            (seed, row): line for (seed, row), line in earlier.items()
            if not (seed in self.seeds and row in self.rows)
            and ('error' in line or self._is_made(seed, row))
        }

    def _is_made(self, seed: int, row: Row) -> bool:
        """Whether all that a row needs is in this folder as it would be made now."""
        steps, runs = self.suite.chain(row.step), self.folder / f'seed{seed}'
        return all(run_result(runs / s).get('digest') == self.digests[seed, s] for s in steps)

    def _gone(self) -> list[str]:
        """Names of rows that earlier calls left in the folder, and that count no more."""
        stay = {_name({**vars(row), 'seed': seed}) for seed, row in (*self.known, *self.wanted)}
        there = [*self._before.get('left_out', ()), *map(_name, self._before.get('rows', ()))]
        return [name for name in dict.fromkeys(there) if name not in stay]

    def run(self) -> dict[str, Any]:
        """Run everything; returns the content of ``results.json``.

        A step that finished before with the same configuration is not run again, nor is a row that
        the suite's record has; one that was interrupted goes on from its newest checkpoint, and one
        that another process runs in the same folder is waited for. A step that fails is recorded
        with its error, and so is what needs it; the others go on.
        """
        graph = self.plan()
        self._needed = {need for needs in graph.values() for need in needs}
        data = self.data
        results: dict[str, Any] = {
            'suite': self.suite.name,
            **({'data': data.name, 'fingerprints': data.fingerprints} if data else {}),
            **_said(self.suite, 'note', 'recipe', 'tested', 'methods'),
            'command': self.command,
            'jobs': self.jobs,
            'environment': describe_environment(),
            'rows': list(self.known.values()),
        }
        if self.known and not self.record:
            calls = [*ways(self._before), results]
            results['made'] = [{key: way[key] for key in HOW if key in way} for way in calls]
        if gone := self._gone():
            results['left_out'] = gone
        if data and not (self.folder / 'results.json').exists():
            # whose the folder is, if the suite is stopped before a run has ended
            self._write(results, {})
        watch = RunProgress(self.folder, self.bars)
        made: Lines = {}
        try:
            for key, result in run_graph(graph, self._work, self.jobs, watch):
                self.finished[key] = result
                watch.ended(key)
                place = f'[{len(self.finished)}/{len(graph)}]'
                self.say(f'{place} seed {key[0]} {key[1]}: {_outcome(result)}')
                made = self._made()
                self._keep(results, key, made)
                self._write(results, made)
        finally:
            end_all()
        return self.collect(results, made)

    def collect(self, results: dict[str, Any], made: Lines) -> dict[str, Any]:
        """Write ``results.json`` with these rows and what the record has besides."""
        self._write(results, made)
        if self.record:
            # meanwhile, other processes may have finished rows, also of other seeds
            new = {*self.record.seeds()} - {*self._every}
            of_rows = self._of_rows | row_digests(
                self.suite, all_digests(self.suite, new, self.data, self.launcher)
            )
            results['rows'] = _in_order(self.suite, {**self.record.find(of_rows), **made})
            state = _state(self.suite, self.record, of_rows, results['rows'])
            if self.wanted and not self.suite.keeps:
                how = {key: results[key] for key in HOW}
                state['made'].append({**how, 'rows': len(self.wanted)})
            results |= state
        known = (self.record.folder if self.record else self.folder) / 'results.json'
        results |= _compared(self.suite, results['rows'], known, self.data)
        write_text(self.folder / 'results.json', json.dumps(results, indent=2))
        if self.record and self.suite.keeps:
            self.record.write(results)
        return results

    def _write(self, results: dict[str, Any], made: Lines) -> None:
        """``results.json``, with the rows that other processes have put there meanwhile."""
        with file_lock(self.folder / '.results.lock'):
            there = {} if self.record else self._there()[1]
            mine = {*self.wanted, *self._passed}
            others = {key: line for key, line in there.items() if key not in mine}
            results['rows'] = _in_order(self.suite, {**self.known, **others, **made})
            write_text(self.folder / 'results.json', json.dumps(results, indent=2))

    def _work(self, key: Key, finished: Mapping[Key, Result]) -> Result:
        """A step and the evaluations of the rows that end in it."""
        seed, name = key
        step, runs = self.suite.step(name), self.folder / f'seed{seed}'
        for need in step.needs:
            if error := finished[seed, need].get('error'):
                return {'error': f'needs {need}, which failed: {error}'}
        try:
            runs.mkdir(parents=True, exist_ok=True)
            # two suites may need the step at once: the second one waits, and finds it done
            told = f'seed {seed} {name}: another process runs it, and is waited for'
            with file_lock(runs / f'.{name}.lock', told=lambda: self.say(told)):
                result = self._reuse_or_train(step, runs, key)
        except (Exception, SystemExit) as error:  # a broken row must not take the others with it
            return {'error': account_of(error).line}
        ends = [row for s, row in self.wanted if (s, row.step) == key]
        return {**result, 'tests': dict(self._tests(step, ends, runs, key))}

    def _reuse_or_train(self, step: Step, runs: Path, key: Key) -> Result:
        run, digest = runs / step.name, self.digests[key]
        known = run_result(run)
        if known.get('digest') == digest:
            # of a suite's folder that was copied or moved: its own file, not the first one's
            own = run / Path(known['checkpoint']).name
            if own.is_file():
                return {**known, 'checkpoint': str(own), 'reused': True}
        spent = begin(run, digest, self.resume)
        result = launch(
            step, key[0], runs, self.launcher, spent is not None, **self._room(key)
        )
        result['train_seconds'] = round(result['train_seconds'] + (spent or 0.0), 1)
        result |= {'digest': digest, 'commit': git_commit()}
        write_text(run / RESULT, json.dumps(result, indent=2))
        return result

    def _room(self, key: Key) -> dict[str, Any]:
        """What a run on this machine's own cores gets of them."""
        if self.launcher is not HERE:
            return {}
        # alone, a run knows better how many pay
        shared = self.jobs > 1 and not said_by()
        threads = max(1, cores() // self.jobs) if shared else None
        # a run that nothing waits for makes way for one that something does
        return {'threads': threads, 'nice': 0 if key in self._needed else 5, 'single': True}

    def _tests(
        self, step: Step, rows: Sequence[Row], runs: Path, key: Key
    ) -> Iterator[tuple[str, Result]]:
        """Test data -> ``metrics`` or ``error``; each tested once.

        On this machine's cores the last validation counts, where rows have no other test data.
        """
        for row in {row.data: row for row in rows}.values():
            if row.data or step.file or self.launcher is not HERE:
                digest, room = self._of_rows[key[0], row], self._room(key)
                yield row.data, launch_test(step, row, runs, self.launcher, digest, **room)

    def _made(self) -> Lines:
        return {
            (seed, row): _line(self.suite, row, seed, self.finished)
            for seed, row in self.wanted
            if (seed, row.step) in self.finished
        }

    def _keep(self, results: dict[str, Any], key: Key, made: Lines) -> None:
        """Rows that a step ends go into the suite's record."""
        if not self.record or not self.suite.keeps:
            return
        for (seed, row), line in made.items():
            if (seed, row.step) == key and 'error' not in line:
                steps, runs = self.suite.chain(row.step), self.folder / f'seed{seed}'
                self.record.add(results, line, self._of_rows[seed, row], runs, steps)


def run_suite(
    suite: Suite, rows: Sequence[Row], seeds: Sequence[int], folder: Path, **how: Any
) -> dict[str, Any]:
    """Train what the rows need for each seed; see :class:`SuiteRun`, whose attributes ``how`` has.

    Returns:
        the content of ``results.json``: these rows, and what the record has besides.

    Raises:
        UserError: if the record has rows on other data of the same name.
    """
    return SuiteRun(suite, rows, seeds, folder, **how).run()


def _graph(suite: Suite, wanted: Sequence[tuple[int, Row]]) -> dict[Key, Sequence[Key]]:
    graph: dict[Key, Sequence[Key]] = {}
    for seed in dict.fromkeys(seed for seed, _ in wanted):
        steps = suite.steps_of([row for s, row in wanted if s == seed])
        needs = {(seed, step.name): [(seed, need) for need in step.needs] for step in steps}
        graph |= longest_chains_first(needs)
    return graph


def _record(suite: Suite, data: OwnData | None) -> Record | None:
    if suite.record is None:
        return None
    of_data = (data.name, data.fingerprints) if data else ()
    record = Record(Path(suite.record), *of_data)
    record.refuse_others(suite.name)
    return record


def _in_order(suite: Suite, lines: Mapping[tuple[int, Row], Result]) -> list[Result]:
    """Lines of (seed, row): seed by seed, each in the order of the suite's rows."""
    seeds = sorted({seed for seed, _ in lines})
    return [lines[seed, row] for seed in seeds for row in suite.rows if (seed, row) in lines]


def _said(suite: Suite, *names: str) -> dict[str, Any]:
    """What the suite has to say to a reader of its results."""
    return {name: said for name in names if (said := getattr(suite, name))}


def _compared(
    suite: Suite, rows: Sequence[Result], known: Path, data: OwnData | None = None
) -> dict[str, Any]:
    """``uses`` of the rows of a comparison with the main ones; nothing without such rows.

    ``known`` is a ``results.json`` that may have them from before.
    """
    compared = [row for row in rows if row.get('table', 'main') in ('main', *COMPARED)]
    if not any(row.get('table') in COMPARED for row in rows):
        return {}
    before = read_results(known).get('uses', []) if known.is_file() else []
    return {'uses': described(suite, compared, data, before)}


def _state(
    suite: Suite, record: Record, digests: Mapping[tuple[int, Row], str], rows: Sequence[Result]
) -> dict[str, Any]:
    """How a record's rows were made, which are ``missing``, and which files are ``left_out``."""
    there = {_name(row) for row in rows}
    usual = suite.usual_rows
    wanted = [_name({**vars(row), 'seed': seed}) for seed in suite.seeds for row in usual]
    return {
        'made': record.made(digests),
        'missing': [name for name in wanted if name not in there],
        'left_out': record.left_out(digests),
    }


def _name(row: Mapping[str, Any]) -> str:
    """Task, method, ablation and seed of a row, in words."""
    table, setting = row.get('table', 'main'), row.get('setting', '')
    of_table = () if table == 'main' else (table, setting)
    return ' '.join([row['task'], row['method'], *of_table, f'seed {row["seed"]}'])


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
    when = 'given' if result.get('given') else when
    return f'{when}  {metrics}'.rstrip()


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
        error = f'its evaluation gave no {row.judged_by}: data are missing'
    if error:
        return {**line, 'error': error}
    chain = [finished[seed, name] for name in suite.chain(row.step)]
    made = 'dataset', 'params_m', 'gflops', 'train_seconds', 'checkpoint', 'images_seen', 'commit'
    licences = licences_beside(result.get('checkpoint'))
    return {
        **line,
        **{key: result.get(key) for key in made},
        **({'licences': licences} if licences else {}),
        'metrics': metrics,
        'total_seconds': round(sum(step['train_seconds'] for step in chain), 1),
    }


def merge_rows(folder: Path) -> None:
    """Write a record folder's ``results.json`` from its rows, of which each says how it was made.

    Rows of configurations that the suite no longer has are left out, and named. Rows on other data
    than Shapes stay as they are: whether they count is not to be told without the data.
    """
    from .catalogue import suite_of

    record = Record(folder)
    files = record.files()
    if not files:
        return
    *_, (file, made) = files.items()
    suite = with_given_files(suite_of(made['suite'], file))
    digests = row_digests(suite, all_digests(suite, record.seeds()))
    rows = _in_order(suite, record.find(digests))
    kept = {key: made[key] for key in ('suite', *HOW)} | _said(suite, 'note', 'recipe', 'tested')
    state = _state(suite, record, digests, rows)
    compared = _compared(suite, rows, folder / 'results.json')
    record.write({**kept, **state, **compared, 'rows': rows})
