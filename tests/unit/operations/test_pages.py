"""Bounded memory of a process: nonces, texts, pages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations import management
from daypass.operations.oauth import request
from daypass.operations.oauth.request import NONCE_SECONDS
from daypass.operations.principals import SizedCache
from daypass.operations.record.explore import fitting, size_of
from daypass.ports import RecordView


@pytest.mark.parametrize(
    ("sizes", "shown"), [([], 0), ([11], 1), ([11, 1], 1), ([5, 5], 2), ([5, 5, 1], 2), ([0, 0, 11], 2)]
)
def test_fitting_takes_what_fits_and_at_least_one(
    monkeypatch: pytest.MonkeyPatch, sizes: list[int], shown: int
) -> None:
    monkeypatch.setattr(management, "MAX_BYTES", 10)
    assert management.fitting(sizes, lambda size: size) == sizes[:shown]


@pytest.mark.parametrize(
    ("seen", "size"),
    [
        ({"body": {"a": 1}, "bytes": b"12345"}, 5),
        ({"body": {"a": 1}, "bytes": None}, 7),
        ({"body": None, "bytes": None}, 0),
    ],
)
def test_size_of_a_record_is_that_of_what_the_viewer_may_see(seen: dict[str, Any], size: int) -> None:
    assert size_of(RecordView("log", 1, 0, "leaf", "chain", **seen)) == size


@pytest.mark.parametrize(
    ("sizes", "limit", "shown", "more", "read"),
    [
        ([[4, 4], [4, 4], [4]], 9, 2, True, 2),  # the third does not fit: the last page is not read
        ([[1, 1], [1, 1], [1]], 4, 4, True, 2),
        ([[1, 1], [1, 1], [1]], 3, 3, True, 2),
        ([[1, 1], [1]], 4, 3, False, 2),
        ([[99, 1], [1]], 4, 1, True, 1),
        ([[]], 4, 0, False, 1),
    ],
)
async def test_a312_answer_reads_no_pages_of_the_record_behind_those_that_it_shows(
    monkeypatch: pytest.MonkeyPatch, sizes: list[list[int]], limit: int, shown: int, more: bool, read: int
) -> None:
    monkeypatch.setattr(management, "MAX_BYTES", 10)
    read_pages = 0

    async def steps() -> AsyncIterator[list[RecordView]]:
        nonlocal read_pages
        for page in sizes:
            read_pages += 1
            yield [RecordView("log", 1, 0, "leaf", "chain", body={}, bytes=b"x" * size) for size in page]

    found, goes_on = await fitting(steps(), limit)
    assert (len(found), goes_on, read_pages) == (shown, more, read)


# --- The cache that is bounded by the size of its texts


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


# --- Nonces of DPoP proofs: for how long they are accepted, and what an unavailable key means


NOW = 1_800_000_000_000


class Sealer:
    def __init__(self, content: bytes = b"", account: str = "", error: ErrorKind | None = None) -> None:
        self.opened, self.error = (account, content), error

    async def open_message(self, _nonce: str) -> tuple[str, bytes]:
        if self.error is not None:
            raise DaypassError(self.error, "")
        return self.opened


async def outcome(sealer: Sealer) -> ErrorKind | None:
    env: Any = SimpleNamespace(sealer=sealer)
    try:
        await request._check_nonce(env, "nonce", NOW)
    except DaypassError as error:
        return error.kind
    return None


@pytest.mark.parametrize("made", [NOW, NOW + 60_000, NOW - NONCE_SECONDS * 1000])
async def test_check_nonce_within_its_lifetime_and_the_difference_of_clocks_is_accepted(made: int) -> None:
    assert await outcome(Sealer(b"dpop-nonce %d" % made)) is None


@pytest.mark.parametrize(
    "sealer",
    [
        Sealer(b"dpop-nonce %d" % (NOW + 60_001)),
        Sealer(b"dpop-nonce %d" % (NOW - NONCE_SECONDS * 1000 - 1)),
        Sealer(b"dpop-nonce %d" % NOW, account="111122223333"),  # an authorization message of an account
        Sealer(b"%d" % NOW),
        Sealer(error=ErrorKind.INVALID_AUTHORIZATION_MESSAGE),
    ],
)
async def test_check_nonce_of_another_time_or_purpose_is_refused_with_a_new_one(sealer: Sealer) -> None:
    assert await outcome(sealer) is ErrorKind.USE_DPOP_NONCE


async def test_check_nonce_without_the_keys_is_unavailable_not_refused() -> None:
    assert await outcome(Sealer(error=ErrorKind.UNAVAILABLE)) is ErrorKind.UNAVAILABLE
