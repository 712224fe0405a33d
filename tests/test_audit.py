"""What the look-up of vulnerabilities says of what it was told."""

from __future__ import annotations

import importlib.util
import subprocess

import pytest

from .helpers.toys import ROOT


@pytest.fixture(scope='module')
def audit():
    spec = importlib.util.spec_from_file_location('audit', ROOT / '.ci' / 'audit.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


FINE = dict(name='torch', version='2.0', vulns=[])
BAD = dict(
    name='pillow', version='9.0.0',
    vulns=[dict(id='A-1', fix_versions=['9.0.1']), dict(id='A-2', fix_versions=[])],
)  # fmt: skip
UNKNOWN = dict(name='addict', skip_reason='Dependency not found')


def test_packages_without_a_vulnerability(audit):
    assert audit.judge({'dependencies': [FINE]}) == (0, 'audit: 1 packages looked up, 0 vulnerable')


def test_vulnerable_packages_fail_and_are_named(audit):
    code, text = audit.judge({'dependencies': [FINE, BAD, UNKNOWN]})
    assert code == 1
    assert text.splitlines() == [
        'audit: 2 packages looked up, 1 vulnerable',
        '  pillow 9.0.0: A-1, mended in 9.0.1',
        '  pillow 9.0.0: A-2, mended in no release yet',
        '  not looked up: addict',
    ]


def test_packages_that_nobody_knows_are_not_taken_for_good_ones(audit):
    code, text = audit.judge({'dependencies': [UNKNOWN, UNKNOWN]})
    assert code == 0
    assert text.startswith('AUDIT SKIPPED: ')
    assert 'none of 2 packages' in text


@pytest.mark.parametrize(
    'error',
    [
        OSError('no route to host'),
        subprocess.CalledProcessError(1, 'pip', stderr='a\nno route to host\n'),
        ValueError('no route to host'),
    ],
)
def test_without_a_network_it_is_skipped_in_one_line(audit, monkeypatch, error):
    def fail() -> None:
        raise error

    monkeypatch.setattr(audit, '_look_up', fail)
    code, text = audit.audit()
    assert code == 0
    assert text == (
        'AUDIT SKIPPED: the advisories cannot be reached (no route to host); nothing was checked'
    )
