"""The page that shows teacher, student and twin: over HTTP, and in a browser without a window."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import pytest

from g2sd_mm.cli.serve import main
from g2sd_mm.errors import UserError
from g2sd_mm.runs.serve import answer, serve
from g2sd_mm.students import load_student

from ..helpers.odd_images import encoded, huge_png
from ..helpers.students import CONFIGS, student_folder
from ..helpers.toys import ROOT

pytest.importorskip('starlette', reason='the extra "serve" is not installed')
pytest.importorskip('uvicorn', reason='the extra "serve" is not installed')

LIMIT = 0.5  # MB
_NAMES = ('chromium', 'chromium-browser', 'google-chrome')
BROWSER = next(filter(None, map(shutil.which, _NAMES)), None)


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp('students')
    return {task: student_folder(root / task, task) for task in CONFIGS}


@pytest.fixture(scope='module')
def page(folders):
    """The command as a person starts it, at a port that is free; gives its address."""
    folder = str(folders['classification'])
    process = subprocess.Popen(
        [sys.executable, str(ROOT / 'tools/serve.py'), folder, '--teacher', folder,
         '--twin', folder, '--port', '0', '--max-mb', str(LIMIT)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    address = process.stdout.readline().strip()
    assert address.startswith('http://127.0.0.1:'), process.stderr.read()
    yield address
    process.send_signal(signal.SIGINT)
    process.wait(30)


def post(address: str, content: bytes, **headers: str) -> tuple[int, dict]:
    request = urllib.request.Request(f'{address}/predict', content, headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            text = error.read().decode()
        return error.code, json.loads(text) if text.startswith('{') else {'error': text}


# Over HTTP ----------------------------------------------------------------------------------------


def test_networks_answer_in_order(page, folders):
    code, content = post(page, encoded())
    assert code == 200
    assert [shown['name'] for shown in content['results']] == ['teacher', 'student', 'twin']
    scores = load_student(folders['classification']).predict(encoded())['scores']
    for shown in content['results']:
        assert [name for name, _ in shown['rows']] == list(scores)
        assert shown['picture'].startswith('data:image/jpeg;base64,')


@pytest.mark.parametrize(
    ('content', 'code'),
    [
        (b'no picture', 415),
        (b'', 415),
        (encoded()[:500], 415),
        (bytes(int(LIMIT * 2**20) + 1), 413),
        (bytes(int(20 * LIMIT * 2**20)), 413),
        (huge_png(8000), 413),
        (huge_png(60000), 413),
    ],
)
def test_wrong_and_too_large_files_are_refused(page, content, code):
    try:
        found, said = post(page, content)
    except (ConnectionError, urllib.error.URLError):
        assert len(content) > 8 * LIMIT * 2**20  # cut off
    else:
        assert found == code and said['error'].count('\n') == 0
        assert 'OpenCV' not in said['error']
    assert post(page, encoded())[0] == 200


def test_a_form_is_told_from_a_picture(page):
    code, said = post(page, encoded(), **{'Content-Type': 'multipart/form-data; boundary=x'})
    assert code == 415 and '--data-binary' in said['error']


def test_an_upload_that_is_broken_off_is_no_error_of_the_server():
    from starlette.requests import Request

    from g2sd_mm.runs.serve import application

    async def receive():
        return {'type': 'http.disconnect'}

    route = application({}).routes[-1]
    request = Request({'type': 'http', 'method': 'POST', 'headers': []}, receive)
    assert asyncio.run(route.endpoint(request)).status_code == 400


def test_requests_for_another_host_are_refused(page):
    assert post(page, encoded(), Host='evil.example')[0] == 400


@pytest.mark.parametrize('task', CONFIGS)
def test_each_task_has_rows_and_a_picture(folders, task):
    (shown,) = answer({'student': load_student(folders[task])}, encoded())
    assert shown['rows'] and all(len(row) == 2 for row in shown['rows'])


def test_a_picture_that_the_network_cannot_take_is_the_persons(folders):
    _, narrow = cv2.imencode('.png', np.zeros((3, 2000, 3), np.uint8))
    with pytest.raises(UserError, match='cannot be predicted') as caught:
        answer({'student': load_student(folders['segmentation'])}, narrow.tobytes())
    assert '.cpp' not in str(caught.value)


@pytest.mark.parametrize('most', ['nan', 'inf', '-1', '0'])
def test_a_limit_that_is_none_is_told(folders, monkeypatch, capsys, most):
    folder = str(folders['classification'])
    monkeypatch.setattr(sys, 'argv', ['serve.py', folder, '--port', '99999', '--max-mb', most])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2 and '--max-mb' in capsys.readouterr().err


def test_what_cannot_be_served_is_told(folders, page):
    students = {name: load_student(folders[name]) for name in ('classification', 'depth')}
    with pytest.raises(UserError, match='for one task'):
        serve(students)
    one = {'student': students['depth']}
    with pytest.raises(UserError, match='nothing can listen'):
        serve(one, port=int(page.rpartition(':')[2]))
    with pytest.raises(UserError, match='nothing can listen'):
        serve(one, port=99999)
    with pytest.raises(UserError, match='threshold'):
        serve(one, port=int(page.rpartition(':')[2]), threshold=30)


# In a browser -------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def chromium():
    api = pytest.importorskip('playwright.sync_api', reason='playwright is not installed')
    if BROWSER is None:
        pytest.skip('no Chromium on this machine (Debian: apt-get install chromium)')
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=BROWSER,
            args=['--no-sandbox', '--disable-gpu', '--disable-background-networking',
                  '--disable-component-update', '--disable-sync', '--no-first-run'],
        )  # fmt: skip
        yield browser
        browser.close()


@pytest.fixture
def tab(chromium, page):
    opened = chromium.new_page()
    opened.set_default_timeout(30_000)
    errors: list[str] = []
    opened.on('pageerror', lambda error: errors.append(str(error)))
    opened.goto(page)
    yield opened
    opened.close()
    assert not errors


def choose(tab, name: str, content: bytes) -> None:
    file = {'name': name, 'mimeType': 'image/jpeg', 'buffer': content}
    tab.set_input_files('#file', file)


def test_a_picture_is_answered_side_by_side(tab, tmp_path):
    choose(tab, 'photo.jpg', encoded())
    tab.wait_for_selector('section:nth-of-type(3) img')
    assert tab.locator('section h2').all_inner_texts() == ['teacher', 'student', 'twin']
    assert tab.locator('section:first-of-type tr').count() == 5
    assert tab.inner_text('#said') == 'photo.jpg'
    lefts = [tab.locator('section').nth(i).bounding_box()['x'] for i in range(3)]
    assert lefts == sorted(lefts) and lefts[0] < lefts[2]
    drawn = 'document.querySelector("section img").naturalWidth'
    tab.wait_for_function(f'{drawn} > 0')  # the page may show it
    tab.screenshot(path=str(tmp_path / 'page.png'))
    assert Path(tmp_path / 'page.png').stat().st_size > 0


def test_a_dropped_picture_is_answered(tab):
    tab.evaluate(
        """bytes => {
            const moved = new DataTransfer();
            moved.items.add(new File([new Uint8Array(bytes)], 'dropped.jpg'));
            document.getElementById('drop').dispatchEvent(
                new DragEvent('drop', {dataTransfer: moved, cancelable: true}));
        }""",
        list(encoded()),
    )
    tab.wait_for_selector('section:nth-of-type(3) img')
    assert tab.inner_text('#said') == 'dropped.jpg'


def test_a_wrong_file_is_said_and_the_next_is_answered(tab):
    choose(tab, 'notes.jpg', b'no picture')
    tab.wait_for_selector('#said.wrong')
    assert 'notes.jpg: what these bytes hold is not an image' in tab.inner_text('#said')
    assert tab.locator('section').count() == 0
    choose(tab, 'photo.jpg', encoded())
    tab.wait_for_selector('section img')
    assert tab.locator('#said.wrong').count() == 0


def test_a_too_large_file_is_said(tab):
    choose(tab, 'large.jpg', bytes(int(LIMIT * 2**20) + 1))
    tab.wait_for_selector('#said.wrong')
    assert 'large.jpg is larger than 0.5' in tab.inner_text('#said')
    code = tab.evaluate(  # and the server does not rely on the page
        """async size => {
            const body = new Uint8Array(size);
            return (await fetch('predict', {method: 'POST', body})).status;
        }""",
        int(LIMIT * 2**20) + 1,
    )
    assert code == 413
