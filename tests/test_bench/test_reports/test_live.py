"""The page on runs that are under way, and the report of runs that were started by hand."""

from __future__ import annotations

import json
import re
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from g2sd_mm.bench.reports.by_hand import report_of_runs
from g2sd_mm.bench.reports.live import live_page, runs_below, serve
from g2sd_mm.errors import UserError
from g2sd_mm.provenance import file_digest

from ...helpers.students import student_folder
from ...helpers.toys import words


def run(folder: Path, age: float = 1.0, **state) -> Path:
    """A work dir as a run leaves it after some updates and a validation."""
    log = folder / '20260101_000000' / 'vis_data' / 'scalars.json'
    log.parent.mkdir(parents=True)
    lines = [{'loss': 2.0 / step, 'iter': step, 'step': step} for step in (1, 2, 3)]
    log.write_text('\n'.join(map(json.dumps, [*lines, {'accuracy/top1': 42.5, 'step': 1}])) + '\n')
    progress = {'step': 30, 'steps': 100, 'loss': 0.6667, 'images_per_second': 65.0,
                'data_wait': 0.02, 'seconds_left': 70.0, 'memory': 1_500_000_000,
                'time': time.time() - age, **state}  # fmt: skip
    (folder / 'progress.json').write_text(json.dumps(progress))
    return folder


def test_the_page_has_curves_speed_memory_and_time_left(tmp_path):
    folder = run(tmp_path / 'vitb_cls')
    (folder / 'last_predictions').mkdir()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folder / 'last_predictions' / 'a_1.jpg')
    page = live_page(tmp_path, 5)
    for part in ('under way: 30/100', '65', '2%', '1.50 GB', '1 min 10 s', '42.50', '<svg',
                 'data:image/jpeg', 'content="5"'):  # fmt: skip
        assert part in page, part
    assert 'http-equiv' not in live_page(tmp_path, 0)


def test_runs_are_found_wherever_a_suite_has_them_the_newest_first(tmp_path):
    run(tmp_path / 'seed0' / 'vitb_mae', age=50.0)
    run(tmp_path / 'vitb_cls', age=5.0)
    assert [place.name for place, _ in runs_below(tmp_path)] == ['vitb_cls', 'vitb_mae']
    assert [place.name for place, _ in runs_below(tmp_path / 'vitb_cls')] == ['vitb_cls']
    (tmp_path / 'vitb_cls' / 'progress.json').write_text('{"half": ')
    assert [place.name for place, _ in runs_below(tmp_path)] == ['vitb_mae']


def test_runs_that_ended_are_said_to_have(tmp_path):
    run(tmp_path / 'a', step=100)
    run(tmp_path / 'b', age=1000.0)
    page = live_page(tmp_path)
    assert 'finished: 100/100' in page and 'nothing heard for 16 min' in page
    assert '0 under way' in page
    assert 'no run has begun' in live_page(tmp_path / 'a' / '20260101_000000')


def test_it_is_served_on_this_machine_alone(tmp_path):
    run(tmp_path / 'vitb_cls')
    server = serve(tmp_path, 0)
    assert server.server_address[0] == '127.0.0.1'
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    address = f'http://127.0.0.1:{server.server_port}'
    try:
        assert b'vitb_cls' in urllib.request.urlopen(f'{address}/', timeout=60).read()
        for path, host in (('/../secret', '127.0.0.1'), ('/', 'evil.example')):
            request = urllib.request.Request(f'{address}{path}', headers={'Host': host})
            with pytest.raises(urllib.error.HTTPError, match='404'):
                urllib.request.urlopen(request, timeout=60)
        with pytest.raises(UserError, match=words(f'--port {server.server_port}')):
            serve(tmp_path, server.server_port)
        with pytest.raises(UserError, match=words('--port 99999')):
            serve(tmp_path, 99999)
    finally:
        server.shutdown()
        server.server_close()


def test_runs_by_hand_have_the_same_report(tmp_path):
    for name in ('vitb_cls', 'g2sd_vits_cls', 'g2sd_vits_cls_nosd', 'my_idea'):
        folder = student_folder(tmp_path / name)
        record = json.loads((folder / 'weights.json').read_text())
        record['origin'] |= {'config': f'configs/shapes/{name}.py', 'seed': 0,
                             'metrics': {'accuracy/top1': 80.0},
                             'dataset': {'data_root': '/data/fruit/train'}}  # fmt: skip
        (folder / 'weights.json').write_text(json.dumps(record))
    for day, first in (('20260101', 10), ('20260102', 20)):  # it was interrupted for a night
        log = tmp_path / 'my_idea' / f'{day}_120000' / 'vis_data' / 'scalars.json'
        log.parent.mkdir(parents=True)
        lines = [{'loss': 1.0, 'iter': first + 10 * i, 'time': 2.0} for i in range(2)]
        log.write_text('\n'.join(map(json.dumps, [*lines, {'time': 9.0, 'step': 1}])))
    page = report_of_runs(tmp_path)
    assert 'g2sd keeps 100.0 % of its teacher' in page and 'on fruit' in page
    assert '<td>my_idea</td>' in page and '<td>g2sd_nosd</td>' in page
    # which runs they needed nobody wrote down
    assert page.count('<td>60 s</td><td></td>') == 1
    assert page.count('<td></td><td></td></tr>') == 3  # nor what a run without a log took


def test_without_a_finished_run_it_says_so(tmp_path):
    with pytest.raises(UserError, match=words(str(tmp_path), 'weights.json')):
        report_of_runs(tmp_path)


def test_runs_that_differ_by_their_folders_alone_are_all_told(tmp_path):
    for place, seed, top1 in (('a', 0, 80.0), ('b', 1, 60.0), ('c', 0, 80.0)):
        folder = student_folder(tmp_path / place)
        if seed:  # other weights; the third are a copy of the first
            torch.save(torch.load(folder / 'weights.pth') | {'seed': seed}, folder / 'weights.pth')
        record = json.loads((folder / 'weights.json').read_text())
        record['weights']['sha256'] = file_digest(folder / 'weights.pth')
        record['origin'] |= {'config': 'configs/shapes/g2sd_vits_cls.py', 'seed': 0,
                             'metrics': {'accuracy/top1': top1}}  # fmt: skip
        (folder / 'weights.json').write_text(json.dumps(record))
    page = report_of_runs(tmp_path)
    assert '<td>g2sd (b)</td>' in page and '60.0' in page and '80.0' in page
    assert '(c)' not in page


def test_runs_of_one_method_are_seeds_of_one_row_if_nothing_else_differs(tmp_path):
    for place, seed, lr, top1 in (('a', 0, 1, 80.0), ('b/x', 1, 2, 20.0), ('c/x', 1, 1, 60.0),
                                  ('d/x', 2, 2, 10.0), ('e/x', 2, 2, 1.0)):  # fmt: skip
        folder = student_folder(tmp_path / place)
        torch.save(torch.load(folder / 'weights.pth') | {'p': place}, folder / 'weights.pth')
        record = json.loads((folder / 'weights.json').read_text())
        record['weights']['sha256'] = file_digest(folder / 'weights.pth')
        record['origin'] |= {'config': 'configs/shapes/g2sd_vits_cls.py', 'seed': seed,
                             'metrics': {'accuracy/top1': top1}}  # fmt: skip
        (folder / 'weights.json').write_text(json.dumps(record))
        (folder / 'g2sd_vits_cls.py').write_text(
            f"optim_wrapper = dict(lr={lr})\nrandomness = dict(seed={seed})\nload_from = "
            f"'work_dirs/seed{seed}/vitb/weights.pth'\n"
        )
    page = ' '.join(re.sub('<[^>]+>', ' ', report_of_runs(tmp_path)).split())
    for row in ('g2sd top1 70.00', 'g2sd (b/x) top1 15.00', 'g2sd (e/x) top1 1.00'):
        assert row in page, page[-3000:]
