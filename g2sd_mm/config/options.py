"""``KEY=VALUE`` words: read as OpenMMLab users write them, and written so that they are read back.

A value that starts with a quote, a bracket or a brace is one of Python. Lists may have bare words
in them, and need no brackets where no path is meant (``metric=bbox,segm``). Whatever is left is a
number, True, False, None, or a text that is taken as it is, with its spaces and quotes.
"""

from __future__ import annotations

import ast
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import UserError

_PAIRS = {'[': ']', '(': ')', '{': '}'}
_OPENING = (*_PAIRS, "'", '"')
_CONSTANTS = {'true': True, 'false': False}


def read_options(pairs: Sequence[str]) -> dict[str, Any]:
    """Dotted key -> value, of words such as ``train_cfg.max_epochs=5``.

    Raises:
        UserError: for a word without ``=`` or without a key, and for a value that cannot be read.
    """
    options: dict[str, Any] = {}
    last = ''
    for pair in pairs:
        key, equals, value = pair.partition('=')
        if not equals:
            advice = _with_a_space(last, pair)
            raise UserError(f'--cfg-options takes KEY=VALUE, got {pair!r}{advice}')
        if not all(key.split('.')):
            raise UserError(
                f'--cfg-options {pair!r:.80}: the key is empty or has an empty part; write '
                'KEY=VALUE or KEY.KEY=VALUE, without spaces around ='
            )
        options[key] = _value(key, value)
        last = pair
    return options


def option_words(options: Mapping[str, Any]) -> Iterator[str]:
    """``KEY=VALUE`` for each entry, from which :func:`read_options` gives it back."""
    for key, value in options.items():
        as_it_is = not isinstance(value, str) or _is_bare(value)
        yield f'{key}={value}' if as_it_is else f'{key}={value!r}'


def _with_a_space(before: str, word: str) -> str:
    """The likely reason of a word without ``=``: a shell that split a value at its space."""
    if not before or before.partition('=')[2].startswith(('[', '(', '{')):
        return ''
    return f'; a value with a space needs quotes: {shlex.quote(f"{before} {word}")}'


def _is_bare(text: str) -> bool:
    """Whether a text needs no quotes to be read as that text."""
    return not set('[({\'",') & set(text) and _scalar(text) == text and text.isprintable()


def _value(key: str, text: str) -> Any:
    if text[:1] in _OPENING:
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            pass
    if _PAIRS.get(text[:1]) == text[-1:] and len(text) > 1 and text[0] != '{':
        return _elements(key, text)
    if ',' not in text or _is_there(text):
        return _scalar(text)
    parts = _split(text)
    if parts is None or text[0] in _OPENING:
        raise UserError(
            f'--cfg-options {key}={text}: its brackets or quotes do not fit; {_two_ways(key, text)}'
        )
    if '/' in text:
        raise UserError(
            f'--cfg-options {key}={text}: a path with a comma, or a list? There is no such file; '
            f'{_two_ways(key, text)}'
        )
    is_list = len(parts) > 1 or text.rstrip().endswith(',')
    return [_element(key, part) for part in parts] if is_list else _scalar(text)


def _elements(key: str, text: str) -> list[Any] | tuple[Any, ...]:
    """Of a list or tuple that has bare words in it."""
    parts = _split(text[1:-1])
    if parts is None:
        raise UserError(
            f'--cfg-options {key}={text}: its brackets or quotes do not fit; {_two_ways(key, text)}'
        )
    found = [_element(key, part) for part in parts]
    return tuple(found) if text[0] == '(' else found


def _element(key: str, text: str) -> Any:
    """A list's element: without brackets or quotes it has no elements of its own."""
    return _value(key, text) if text[:1] in _OPENING else _scalar(text)


def _two_ways(key: str, text: str) -> str:
    """How to write a text, and how to write the list of what stands between its commas."""
    words = [word for part in text.strip('[](){}').split(',') if (word := part.strip(' \'"[](){}'))]
    one = shlex.quote(f'{key}={_quoted(text)}')
    several = shlex.quote(f'{key}=[{", ".join(map(_quoted, words))}]')
    return f'for one text write {one}, for a list {several}'


def _quoted(text: str) -> str:
    """A text of Python in double quotes where that is enough: shells like single ones around."""
    return repr(text) if set(text) & set('"\\') or not text.isprintable() else f'"{text}"'


def _split(text: str) -> list[str] | None:
    """At the commas outside of brackets and quotes; None where those do not fit.

    A quote opens where an element starts, so that an apostrophe is a letter as others. A comma at
    the end adds nothing.
    """
    parts, expected, quote = [''], [], ''
    for sign in text:
        if quote:
            quote = '' if sign == quote else quote
        elif sign in '\'"' and parts[-1].strip(' [({') == '':
            quote = sign
        elif sign in _PAIRS:
            expected.append(_PAIRS[sign])
        elif sign in '])}' and (not expected or expected.pop() != sign):
            return None
        if sign == ',' and not (quote or expected):
            parts.append('')
        else:
            parts[-1] += sign
    if quote or expected:
        return None
    parts = [part.strip() for part in parts]
    return parts[:-1] if len(parts) > 1 and not parts[-1] else parts


def _is_there(text: str) -> bool:
    """Whether a file or folder has this very name."""
    try:
        return Path(text).exists()
    except (OSError, ValueError):  # too long, a null byte
        return False


def _scalar(text: str) -> Any:
    """A number, True, False or None as mmengine reads them; else the text."""
    if text == 'None':
        return None
    if text.lower() in _CONSTANTS:
        return _CONSTANTS[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
