"""One-time proofs in the journal: consumed with their event, once over all items, batches and processes."""

from __future__ import annotations

import asyncio

import pytest
from tests.integration.audit.conftest import Starter
from tests.integration.audit.making import ACCOUNT, Flaky, event, requests_of, session, session_ids

from daypass.domain.directory import ReplayEntry
from daypass.domain.events import Event
from daypass.ports import ProofUsed, Tx
from daypass.stores.tx import StoreReader

AT = 1_700_000_000_000
DAY = 86_400_000


def proof(name: str, at: int = AT, purpose: str = "jwt") -> ReplayEntry:
    return ReplayEntry(purpose, name, ACCOUNT, at, at + 60_000)


def kept(flaky: Flaky) -> set[str]:
    return {entry.id for entry in flaky.read(lambda conn: StoreReader(conn).find(ReplayEntry))}


async def test_commit_consumes_each_proof_once_in_one_batch(start: Starter, flaky: Flaky) -> None:
    journal = await start()
    ids = [f"{number:032x}" for number in range(60)]

    async def one(number: int) -> str:
        try:
            await journal.commit(event(str(number)), session(ids[number]), (proof(f"p{number % 20}"),))
        except ProofUsed as error:
            return error.entry.id
        return ids[number]

    results = await asyncio.gather(*(one(number) for number in range(60)))
    won = [result for result in results if not result.startswith("p")]
    assert len(won) == 20
    assert session_ids(flaky) == set(won)
    assert len(requests_of(flaky, journal.log)[1:]) == 20
    assert kept(flaky) == {f"p{number}" for number in range(20)}


async def test_commit_with_a_used_proof_among_two_is_refused(start: Starter, flaky: Flaky) -> None:
    journal = await start()
    await journal.commit(event("a"), None, (proof("one"),))
    with pytest.raises(ProofUsed):
        await journal.commit(event("b"), None, (proof("other", purpose="dpop"), proof("one")))
    await journal.commit(event("c"), None, (proof("one", purpose="dpop"),))  # another purpose: another proof
    assert requests_of(flaky, journal.log)[1:] == ["a", "c"]


async def test_commit_of_two_journals_consumes_a_proof_once(start: Starter, flaky: Flaky) -> None:
    first, second = await start(), await start()

    async def one(journal: object, number: int) -> bool:
        try:
            await journal.commit(event(str(number)), None, (proof(f"p{number}"), proof(f"q{number}")))  # type: ignore[attr-defined]
        except ProofUsed:
            return False
        return True

    results = await asyncio.gather(*(one(journal, number) for number in range(40) for journal in (first, second)))
    assert sum(results) == 40


async def test_commit_prunes_proofs_a_day_after_their_end(start: Starter, flaky: Flaky) -> None:
    journal = await start()
    for number in range(40):
        await journal.commit(event(f"old{number}"), None, (proof(f"old{number}"),))
    later = AT + DAY + 120_000
    for number in range(40):
        await journal.commit(event(f"new{number}"), None, (proof(f"new{number}", later),))
    assert kept(flaky) == {f"new{number}" for number in range(40)}


@pytest.mark.parametrize("fault", ["before", "after"])
async def test_commit_whose_transaction_was_lost_consumes_its_proof_with_it(
    start: Starter, flaky: Flaky, fault: str
) -> None:
    """The answer to the commit is lost. Whether it took place or not, the proof counts once, and its holder is served."""
    journal = await start()
    flaky.faults.extend([fault, "ok"])
    await journal.commit(event("a"), None, (proof("one"),))
    assert requests_of(flaky, journal.log)[1:] == ["a"]
    assert kept(flaky) == {"one"}
    with pytest.raises(ProofUsed):
        await journal.commit(event("b"), None, (proof("one"),))


async def test_proof_that_a_change_consumed_and_a_failover_has_lost_is_consumed_again(
    start: Starter, flaky: Flaky
) -> None:
    if flaky.dialect != "postgresql":
        pytest.skip("SQLite does not fail over")
    journal = await start()

    def change(tx: Tx) -> tuple[None, Event]:
        assert tx.insert_if_absent(proof("one"))
        return None, event("a")

    await journal.write(change)
    with flaky.inner.write_transaction() as conn:
        conn.exec_driver_sql("DELETE FROM redeemed")
        conn.exec_driver_sql("DELETE FROM audit_records WHERE seq > 0")
    journal._inner._epoch = "before the failover"
    [restored] = journal._inner.restore_lost()
    assert (restored.records, kept(flaky)) == (1, {"one"})
