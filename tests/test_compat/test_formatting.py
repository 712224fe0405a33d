"""A text is formatted once."""

from __future__ import annotations

from types import SimpleNamespace

from g2sd_mm.compat.guards import remember_formatting


def fake(calls: list) -> SimpleNamespace:
    def FormatCode(text, **kwargs):
        calls.append((text, kwargs))
        return text.upper() + kwargs.get('style', ''), True

    api = SimpleNamespace(FormatCode=FormatCode)
    remember_formatting(api)
    return api


def test_the_same_text_is_formatted_once():
    api = fake(calls := [])
    assert [api.FormatCode('a', style='x') for _ in range(3)] == [('Ax', True)] * 3
    assert calls == [('a', {'style': 'x'})]


def test_other_texts_and_styles_are_formatted():
    api = fake(calls := [])
    assert api.FormatCode('a') == ('A', True)
    assert api.FormatCode('a', style='x') == ('Ax', True)
    assert api.FormatCode('b') == ('B', True)
    assert len(calls) == 3


def test_only_a_few_are_kept():
    api = fake(calls := [])
    for number in range(20):
        api.FormatCode(f'{number}')
    api.FormatCode('19')
    api.FormatCode('0')
    assert len(calls) == 21


def test_mmengine_uses_it(monkeypatch, unformatted):
    import yapf.yapflib.yapf_api as api
    from mmengine.config import Config

    monkeypatch.setattr(api, 'FormatCode', unformatted)
    assert Config(dict(a=1)).pretty_text == 'a = 1\n'
    assert api.FormatCode.__wrapped__
