"""Digests are those of sha256sum, and the commit is this checkout's."""

from __future__ import annotations

import hashlib
import json
import subprocess

import pytest

from g2sd_mm import provenance
from g2sd_mm.provenance import READING, cache_key, digest_if_there, file_digest, git_commit

from .helpers.toys import ROOT

ABC = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'  # FIPS 180-2, appendix B


def test_digests_are_sha256(tmp_path):
    path = tmp_path / 'file'
    path.write_bytes(b'abc')
    assert file_digest(path) == digest_if_there(str(path)) == ABC
    path.write_bytes(bytes(3 << 20))
    done = subprocess.run(['sha256sum', path], capture_output=True, text=True, check=True)
    assert file_digest(path) == done.stdout.split()[0]


@pytest.mark.parametrize('path', [None, '/no/file', 'https://host/weights.pth'])
def test_what_is_no_file_has_no_digest(path):
    assert digest_if_there(path) is None


def test_the_commit_is_the_checkouts_wherever_one_stands(tmp_path, monkeypatch):
    head = subprocess.run(
        ['git', 'rev-parse', '--short', 'HEAD'], cwd=ROOT, capture_output=True, text=True
    )
    if head.returncode:
        pytest.skip('the tests do not run from a checkout')
    monkeypatch.chdir(tmp_path)
    assert git_commit() in (head.stdout.strip(), head.stdout.strip() + '+changes')


def test_an_installed_package_has_no_commit(tmp_path, monkeypatch):
    subprocess.run(['git', 'init', '-q', tmp_path], check=True)
    monkeypatch.setattr(provenance, '_PACKAGE', tmp_path)  # a repository that knows no such file
    assert git_commit() is None


def test_a_key_stands_for_values_and_not_for_their_order():
    content = {'seed': 0, 'data': {'root': 'a', 'num_workers': 2}, 'steps': (1, 2)}
    turned = {'steps': [1, 2], 'data': {'num_workers': 2, 'root': 'a'}, 'seed': 0}
    assert cache_key(content) == cache_key(turned)
    # as the digests that results have on record were made
    text = json.dumps(turned, sort_keys=True, default=str)
    assert cache_key(content) == hashlib.sha256(text.encode()).hexdigest()[:16]
    assert cache_key(content) != cache_key({**content, 'seed': 1})


def test_what_changes_no_result_is_in_no_key():
    def key(workers, root='a'):
        return cache_key([{'data': {'root': root, 'num_workers': workers}}], ignore=READING)

    assert key(0) == key(8) != key(8, root='b')
