"""Lists that are cut short, and errors in one line."""

from __future__ import annotations

import pytest

from g2sd_mm.wording import first_line, one_line, some


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
