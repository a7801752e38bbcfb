"""Sessions that a revocation ends before they are on the record: no process issues one because it has not read it yet."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs
from tests.integration.audit.conftest import Starter
from tests.integration.audit.making import ACCOUNT, OTHER, Flaky, event, session, session_ids
from tests.integration.audit.test_proofs import kept, proof

from daypass.domain.directory import Revocation
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.session import FeedPosition, SessionClaims
from daypass.stores.feed import feed_head
from daypass.stores.tx import StoreTx

AT = 1_700_000_000_000


def claims(number: int, seen: FeedPosition, account: str = ACCOUNT) -> SessionClaims:
    made = session(f"{number:032x}", account=account)
    hops = tuple(structs.replace(hop, account=account, seen=seen) for hop in made.hops)
    return session(f"{number:032x}", account=account, seen=seen, hops=hops)


def revoke(flaky: Flaky, **changes: Any) -> None:
    """As another process does."""
    made = replace(Revocation("r" * 32, ACCOUNT, "account", ACCOUNT, 5, AT, block=False), **changes)

    def write(tx: StoreTx) -> None:
        tx.insert(made)
        tx.flush()

    with flaky.inner.write_transaction() as conn:
        write(StoreTx(conn, AT))


def position(flaky: Flaky) -> FeedPosition:
    head = flaky.read(feed_head)
    return FeedPosition(head.epoch, head.position)


async def test_a267_session_that_an_unread_revocation_ends_is_not_issued_and_the_others_are(
    start: Starter, flaky: Flaky
) -> None:
    journal = await start()
    before = position(flaky)
    await journal.commit(event("0"), claims(1, before))
    revoke(flaky)
    results = await asyncio.gather(
        journal.commit(event("1"), claims(2, before), (proof("code"),)),
        journal.commit(event("2"), claims(3, before, OTHER)),
        journal.commit(event("3")),
        return_exceptions=True,
    )
    refused, *issued = results
    assert isinstance(refused, DaypassError)
    assert refused.kind is ErrorKind.UNAVAILABLE
    assert issued == [None, None]
    assert kept(flaky) == set(), "the proof can be used in the next attempt"
    await journal.commit(event("4"), claims(4, position(flaky)), (proof("code"),))
    assert session_ids(flaky) == {f"{number:032x}" for number in (1, 3, 4)}


@pytest.mark.parametrize(
    "changes",
    [
        {"subject": "role", "value": "AROADEPLOY"},
        {"subject": "principal", "value": "AIDAALICE"},
        {"subject": "access_key", "value": "AKIAUSER"},
    ],
)
async def test_a267_revocation_of_any_hop_counts(start: Starter, flaky: Flaky, changes: dict[str, str]) -> None:
    journal = await start()
    before = position(flaky)
    revoke(flaky, id="o" * 32, subject="role", value="AROAOTHER")
    await journal.commit(event("0"), claims(1, before))
    revoke(flaky, **changes)
    with pytest.raises(DaypassError):
        await journal.commit(event("1"), claims(2, before))
    assert session_ids(flaky) == {f"{1:032x}"}
