"""Lists that are cut short, and errors in one line."""

from __future__ import annotations

import pytest

from g2sd_mm.text import as_called, first_line, one_line, printable, some

FORGED = 'a\x1b[2J\nerror: forged\x9b\u202e\u2028\udcff'
SHOWN = 'a\\x1b[2J\\nerror: forged\\x9b\\u202e\\u2028\\udcff'


@pytest.mark.parametrize(
    ('names', 'text'),
    [('', ''), ('a', 'a'), ('abc', 'a, b, c'), ('abcd', 'a, b, c and 1 more')],
)
def test_a_long_list_says_how_much_it_leaves_out(names, text):
    assert some(list(names)) == text


def test_an_error_is_one_line():
    error = ValueError('of two\n  lines\n')
    assert (one_line(error), first_line(error)) == ('of two lines', 'of two')
    assert (one_line(ValueError()), first_line(ValueError())) == ('ValueError', '')


def test_names_stay_in_their_line_and_move_no_cursor():
    assert printable(FORGED) == SHOWN
    assert printable(SHOWN) == SHOWN
    assert printable(FORGED, '\n') == SHOWN.replace('\\n', '\n')
    assert some([FORGED]) == SHOWN
    assert one_line(ValueError('a\x1b[2J\nb')) == 'a\\x1b[2J b'
    assert first_line(ValueError('a\x1b[2J\nb')) == 'a\\x1b[2J'
    SHOWN.encode('ascii')


@pytest.mark.parametrize('text', ['größe 1.jpg', '日本語', 'क्\u200dष', '👩\u200d🔬', 'a b', ''])
def test_words_of_all_scripts_are_left_alone(text):
    assert printable(text) == text


def test_commands_are_named_as_they_are_called(monkeypatch):
    others = 'python /far/tools/train.py C, my_tools/a.py, tools/benchmark.py'
    text = f'python tools/train.py C, tools/watch.py, {others}'
    monkeypatch.setattr('sys.argv', ['tools/distill.py', 'x'])
    assert as_called(text) == text
    monkeypatch.setattr('sys.argv', ['g2sd distill', 'x'])
    assert as_called(text) == f'g2sd train C, g2sd watch, {others}'
