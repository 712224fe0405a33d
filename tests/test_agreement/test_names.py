"""Lists of names are compared by name, and what differs is said."""

from __future__ import annotations

import pytest

from g2sd_mm.agreement.names import clean_names, comparable, difference


@pytest.mark.parametrize(
    ('first', 'second', 'at'),
    [
        (('a', 'b', 'c'), ('a', 'c', 'b'), "class 1 is 'b' and 'c'"),
        (('a', 'b'), ('a', 'b', 'c'), "class 2 is missing and 'c'"),
    ],
)
def test_both_lists_and_the_first_difference_are_named(first, second, at):
    said = difference(first, second, ('here', 'there'))
    assert f'here has {len(first)} classes ({", ".join(first)})' in said
    assert f'there has {len(second)} classes ({", ".join(second)})' in said
    assert said.endswith(f'the first difference: {at}')


def test_names_from_a_file_are_text_without_control_characters():
    assert clean_names(['cat', 'a\x1b[2Jb']) == ('cat', 'a?[2Jb')
    assert clean_names(['cat', 3]) == clean_names('cat') == clean_names(None) == ()


def test_wordnet_numbers_and_words_cannot_be_compared():
    assert comparable(('n01440764',), ('n01443537',))
    assert not comparable(('n01440764',), ('tench',))
    assert not comparable((), ('tench',))
