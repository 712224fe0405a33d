"""``KEY=VALUE``: what people write is read as they mean it, or refused with a way that works."""

from __future__ import annotations

import math
import re
import shlex

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from g2sd_mm.config.options import option_words, read_options
from g2sd_mm.errors import UserError


@pytest.mark.parametrize(
    'text',
    [
        'my images/train', "it's here/x.pth", 'a "b" c', '[old] data/train', 'photos (2)/x', 'x=y',
        "/home/o'neil/my data", ' a ', 'C:\\data\\new', 'a\tb', 'größe/bäume', '[', "'tis",
        'f(1,2)',
    ],
)  # fmt: skip
def test_a_text_is_taken_as_it_is(text):
    assert read_options([f'a.b={text}']) == {'a.b': text}


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        ('3', 3), ('1e-3', 1e-3), ('True', True), ('false', False), ('None', None),
        ('1,2,3', [1, 2, 3]), ('bbox,segm', ['bbox', 'segm']), ('[cat, dog]', ['cat', 'dog']),
        ('[guide dog,cat]', ['guide dog', 'cat']), ('(a,b)', ('a', 'b')), ('(a)', ('a',)),
        ('[(V1,V2),(V3,4)]', [('V1', 'V2'), ('V3', 4)]), ('x,[y,z]', ['x', ['y', 'z']]),
        ("['a,b', my c]", ['a,b', 'my c']), ("['it', it's]", ['it', "it's"]), ('[]', []),
        ('[/data/a b,/data/c]', ['/data/a b', '/data/c']), ("{'a': 1}", {'a': 1}), ('a,', ['a']),
        ('"3"', '3'), ("'x, y'", 'x, y'),
    ],
)  # fmt: skip
def test_lists_and_constants_are_read_as_openmmlab_users_write_them(text, value):
    read = read_options([f'a={text}'])['a']
    assert read == value
    assert type(read) is type(value)


def test_a_path_with_a_comma_is_one_where_it_is_there(tmp_path):
    folder = tmp_path / 'my, images'
    pair = f'data_root={folder}'
    with pytest.raises(UserError, match=r'data_root=.*a path with a comma, or a list'):
        read_options([pair])
    folder.mkdir()
    assert read_options([pair]) == {'data_root': str(folder)}


@pytest.mark.parametrize(
    'text', ['no, such/path', '[1,', '(1,2', "'tis,x", '[[1,2],[3', '{a: 1, b: 2', "a]b,c/d'e"]
)
def test_both_ways_that_a_refusal_offers_work(text):
    with pytest.raises(UserError) as caught:
        read_options([f'some.key={text}'])
    found = re.search('for one text write (.+), for a list (.+)$', str(caught.value))
    (one,), (several,) = (shlex.split(command) for command in found.groups())
    assert read_options([one]) == {'some.key': text}
    listed = read_options([several])['some.key']
    assert isinstance(listed, list) and all(isinstance(word, str) for word in listed)


def test_a_value_that_the_shell_has_split_is_shown_with_quotes():
    with pytest.raises(UserError) as caught:
        read_options(['a=1', 'data_root=my', 'images/train'])
    (pair,) = shlex.split(str(caught.value).rpartition('needs quotes: ')[2])
    assert read_options([pair]) == {'data_root': 'my images/train'}


@pytest.mark.parametrize('pair', ['=1', 'a..b=1', 'a.=1', 'word', '', '='])
def test_a_key_that_is_none_is_refused(pair):
    with pytest.raises(UserError, match='--cfg-options'):
        read_options([pair])


_EASY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
_TEXTS = st.text(max_size=20) | st.text('[]{}(),\'"\\ =/.ab1', max_size=12)
_NUMBERS = st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
_VALUES = st.recursive(
    st.none() | _NUMBERS | _TEXTS,
    lambda inner: st.lists(inner, max_size=3)
    | st.lists(inner, max_size=3).map(tuple)
    | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=6,
)


@_EASY
@given(st.dictionaries(st.sampled_from(['a', 'b.c', 'd.0.e']), _VALUES, max_size=3))
def test_what_is_written_is_read_back(options):
    command = shlex.join(option_words(options))
    assert read_options(shlex.split(command)) == options


@_EASY
@given(_TEXTS)
def test_any_value_is_read_or_refused_by_one_exception(text):
    try:
        value = read_options([f'a={text}'])['a']
    except UserError:
        return
    again = read_options(list(option_words({'a': value})))['a']
    assert again == value or (isinstance(value, float) and math.isnan(value))
