"""Revocations that a process keeps when the database gets another epoch."""

from __future__ import annotations

import asyncio

import pytest
from tests.contract.making import NOW, revocation, session
from tests.patience import SECONDS

from daypass.domain.session import FeedPosition
from daypass.ports.record import FeedState
from daypass.stores.log_heads import FeedHead
from daypass.stores.revocation_feed import RevocationCache, RevocationFeed

BEFORE = FeedPosition("before", 500)


def test_kept_revocation_kills_the_old_life_and_spares_the_new() -> None:
    """Its position belongs to the old life's count; in the new one it must not reach sessions issued there."""
    book = RevocationCache()
    book.start_over([], FeedHead("before", 0, 0), NOW)
    book.add([revocation("role", "AROA1", position=400)])
    lost = book.start_over([], FeedHead("after", 7, 0), NOW)
    assert [one.value for one in lost] == ["AROA1"]
    assert book.index.revoked(session(BEFORE, "AROA1")) is not None
    assert book.index.revoked(session(FeedPosition("after", 7), "AROA1")) is None


def test_revocation_that_the_database_still_has_is_not_lost() -> None:
    book = RevocationCache()
    fact = revocation("role", "AROA1", position=4)
    book.add([fact])
    assert book.start_over([fact], FeedHead("after", 4, 0), NOW) == []
    assert len(book) == len(book.index) == 1


def test_spent_revocation_is_not_kept() -> None:
    book = RevocationCache()
    book.add([revocation("role", "AROA1", position=4)])
    assert book.start_over([], FeedHead("after", 4, 0), NOW + 30 * 86_400_000) == []
    assert len(book) == 0


def test_add_of_an_earlier_state_does_not_undo_a_renewed_block() -> None:
    """A poll whose snapshot is older than a local change reads the block as it was when it was lifted."""
    book = RevocationCache()
    book.start_over([], FeedHead("now", 0, 0), NOW)
    lifted = revocation("role", "AROA1", position=5, block=True, block_until=NOW - 1)
    renewed = revocation("role", "AROA1", position=7, block=True, issued_before=NOW)
    book.add([renewed])
    book.add([lifted])
    hops = session(FeedPosition("now", 7), "AROA1").hops
    assert book.index.blocked(hops, "", NOW) == renewed


@pytest.mark.parametrize("event_first", [True, False])
async def test_wait_for_a_revocation_that_is_cancelled_as_it_ends_stays_cancelled(*, event_first: bool) -> None:
    """A server that stops cancels its followers; one that missed it would keep the process running."""
    feed = RevocationFeed(RevocationCache(), lambda: FeedState(FeedPosition("now", 0), 0))

    async def follow() -> None:
        while True:
            await feed.changed(feed.version, 60.0)

    follower = asyncio.create_task(follow())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    steps = [feed._wake, follower.cancel]
    for step in steps if event_first else reversed(steps):
        step()
    done, _ = await asyncio.wait([follower], timeout=SECONDS)
    assert done
    assert follower.cancelled()
