"""Damaged checkpoints are found out, and passed over."""

from __future__ import annotations

import os
import shutil

import pytest
import torch

from g2sd_mm.checkpoints import CheckpointError
from g2sd_mm.checkpoints.integrity import damage, newest_whole

from ..helpers.toys import words


def checkpoint(path, number: int = 0, age: int = 0) -> None:
    content = dict(
        state_dict={'a': torch.full((500,), float(number))}, optimizer={}, message_hub={}, meta={}
    )
    torch.save(content, path)
    os.utime(path, (1e9 - age, 1e9 - age))


@pytest.fixture
def run(tmp_path):
    """Three checkpoints, the newest last, and weights that are none."""
    for number in (1, 2, 3):
        checkpoint(tmp_path / f'epoch_{number}.pth', number, age=10 - number)
    torch.save({'state_dict': {'a': torch.zeros(1)}, 'meta': {}}, tmp_path / 'best_weights.pth')
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_3.pth'))
    return tmp_path


def test_a_whole_file_has_no_damage(run):
    assert damage(run / 'epoch_1.pth') == ''


def test_a_missing_file_is_damage(tmp_path):
    assert damage(tmp_path / 'no.pth') == 'it is not there'


@pytest.mark.parametrize('share', [0.0, 0.01, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_found_out(run, share):
    path = run / 'epoch_1.pth'
    os.truncate(path, int(share * path.stat().st_size))
    assert 'truncated' in damage(path)


def test_every_bit_that_matters_is_under_the_checksums(run):
    """A byte is changed all over the file: it is found out, or changes nothing that is read."""
    path = run / 'epoch_1.pth'
    whole = path.read_bytes()
    noticed = unnoticed = 0
    # every byte of the index at the end
    for place in (*range(0, len(whole), 7), *range(len(whole) - 700, len(whole))):
        bit = 1 << (place % 8)
        path.write_bytes(whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :])
        if damage(path):
            noticed += 1
        else:
            unnoticed += 1
            content = torch.load(path, weights_only=True)
            assert torch.equal(content['state_dict']['a'], torch.ones(500))
    assert noticed > unnoticed > 0  # padding and times are not covered


def test_the_named_one_is_taken(run):
    assert newest_whole(run) == (run / 'epoch_3.pth', [])


@pytest.mark.parametrize('how', ['truncate', 'remove', 'flip'])
def test_a_damaged_newest_is_passed_over_with_a_line(run, how):
    path = run / 'epoch_3.pth'
    if how == 'truncate':
        os.truncate(path, 1000)
    elif how == 'remove':
        path.unlink()
    else:
        content = bytearray(path.read_bytes())
        content[content.index(torch.tensor([3.0, 3.0]).numpy().tobytes())] ^= 1
        path.write_bytes(content)
    found, (line,) = newest_whole(run)
    assert found == run / 'epoch_2.pth'
    assert line.startswith(f'checkpoint {path} is passed over: ')


def test_several_can_be_passed_over(run):
    for number in (2, 3):
        os.truncate(run / f'epoch_{number}.pth', 100)
        os.utime(run / f'epoch_{number}.pth', (1e9 - 10 + number, 1e9 - 10 + number))
    found, lines = newest_whole(run)
    assert (found, len(lines)) == (run / 'epoch_1.pth', 2)


@pytest.mark.parametrize('said', ['', '/', '..', '\0\0', 'epoch_9.pth'])
def test_with_a_damaged_pointer_the_newest_of_the_own_folder_is_taken(run, said):
    own = run / 'own'
    own.mkdir()
    for file in run.glob('*.pth'):
        shutil.copy2(file, own)
    checkpoint(run / 'of_another_run.pth')
    (own / 'last_checkpoint').write_text(said)
    path, passed = newest_whole(own)
    assert path == own / 'epoch_3.pth'
    assert len(passed) == 1


def test_without_a_whole_one_the_reasons_are_given(tmp_path):
    checkpoint(tmp_path / 'epoch_1.pth')
    os.truncate(tmp_path / 'epoch_1.pth', 100)
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_1.pth'))
    with pytest.raises(CheckpointError, match=words('no checkpoint in', 'truncated', 'anew')):
        newest_whole(tmp_path)


def test_a_folder_that_was_moved_or_copied_is_still_good(run):
    copied = run.with_name('copied')
    shutil.copytree(run, copied)
    assert newest_whole(copied)[0] == copied / 'epoch_3.pth'
    moved = run.rename(run.with_name('moved'))
    assert newest_whole(moved)[0] == moved / 'epoch_3.pth'


def test_checkpoints_may_lie_elsewhere(run, tmp_path_factory):
    work_dir = tmp_path_factory.mktemp('work_dir')
    shutil.copy(run / 'last_checkpoint', work_dir)
    assert newest_whole(work_dir, run)[0] == run / 'epoch_3.pth'


def test_checkpoints_of_another_run_are_not_gone_on_from_unasked(run, tmp_path_factory):
    work_dir = tmp_path_factory.mktemp('work_dir')
    shutil.copy(run / 'last_checkpoint', work_dir)
    with pytest.raises(CheckpointError, match=words(f'--resume {run / "epoch_3.pth"}')):
        newest_whole(work_dir)


def test_a_new_work_dir_has_nothing(tmp_path):
    assert newest_whole(tmp_path) == (None, [])
    # of whatever run; none of this work dir names it
    checkpoint(tmp_path / 'epoch_1.pth', age=1)
    checkpoint(tmp_path / 'epoch_2.pth')
    torch.save({'state_dict': {}}, tmp_path / 'weights.pth')
    found, (line,) = newest_whole(tmp_path)
    assert found is None and f'--resume {tmp_path / "epoch_2.pth"}' in line
