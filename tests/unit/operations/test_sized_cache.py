"""The cache that is bounded by the size of its texts."""

from __future__ import annotations

from daypass.operations.principals import SizedCache


def test_call_same_text_twice_makes_it_once() -> None:
    made: list[str] = []
    cache = SizedCache(lambda text: made.append(text) or text.upper(), 100)
    assert [cache("a"), cache("a")] == ["A", "A"]
    assert made == ["a"]


def test_call_many_long_texts_stays_within_the_size_and_keeps_the_recently_used() -> None:
    cache = SizedCache(len, 1_600)
    for number in range(16):
        cache(f"{number:0100d}")
    cache(f"{0:0100d}")  # used again
    cache(f"{99:0100d}")
    assert cache.characters == 1_600
    assert len(cache) == 16
    made: list[str] = []
    cache._make = lambda text: made.append(text) or 0  # type: ignore[func-returns-value]
    cache(f"{0:0100d}")
    assert not made
    cache(f"{1:0100d}")
    assert len(made) == 1


def test_call_text_over_a_sixteenth_of_the_size_is_not_cached() -> None:
    cache = SizedCache(len, 1_600)
    assert cache("x" * 101) == 101
    assert len(cache) == cache.characters == 0


def test_authorize_session_policies_are_cached_by_size_not_by_count() -> None:
    from daypass.operations import authorize

    for number in range(400):
        statement = f'{{"Effect":"Allow","Action":"s3:Get{number}","Resource":"{"x" * 14_000}"}}'
        authorize._session_policy(f'{{"Version":"2012-10-17","Statement":[{statement}]}}')
    assert 0 < authorize._session_policy.characters <= 2_000_000
