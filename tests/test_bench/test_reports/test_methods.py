"""Colours and order of what a report shows."""

from __future__ import annotations

from benchmarks.bars import bars
from g2sd_mm.bench import methods
from g2sd_mm.bench.reports.summary import summarise

from .test_summary import rows


def test_methods_have_colours_of_their_own():
    assert len({methods.colour(name) for name in methods.METHODS}) == len(methods.METHODS)
    assert methods.colour('my_idea') == methods.colour('my_idea')


def test_a_second_student_has_a_tint():
    assert methods.colour('g2sd vits') == methods.colour('g2sd') == '#e4572e'
    assert methods.colour('g2sd vitt') == '#f1ab96'


def test_the_order_is_that_of_the_methods_whatever_the_student():
    names = ['my_idea', 'teacher', 'g2sd vitt', 'g2sd vits', 'scratch vitt', 'my_idea']
    assert methods.ordered(names) == [
        'scratch vitt', 'g2sd vitt', 'g2sd vits', 'teacher', 'my_idea'
    ]  # fmt: skip


def test_one_claim_needs_no_comma(monkeypatch):
    monkeypatch.setattr(methods, '_ADDED', {})
    for claims in ('g2sd_nosd', ['g2sd_nosd'], ('g2sd_nosd',)):
        found = methods.add('my_idea', dict(claims=claims))
        assert found.claims == found.in_words == ('g2sd_nosd',)


def test_bars_have_the_colours_of_all_other_pictures():
    svg = bars(summarise(rows(teacher=(80.0,), scratch=(50.0,), my_idea=(60.0,))))
    for name in ('teacher', 'scratch', 'my_idea'):
        assert f'fill="{methods.colour(name)}"' in svg
