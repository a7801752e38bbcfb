"""One-time proofs whose transaction a failover has lost: they are consumed again, so that they stay used."""

from __future__ import annotations

import psycopg
import pytest
from sqlalchemy import delete, text
from sqlalchemy.exc import DBAPIError
from tests.integration.audit.conftest import Starter
from tests.integration.audit.making import ACCOUNT, Flaky, event, requests_of, verified

from daypass.domain.directory import ReplayEntry
from daypass.ports import ProofUsed
from daypass.stores.entities import ENTITY_TABLES
from daypass.stores.feed import renew_epoch
from daypass.stores.records import audit_records

CODE = ReplayEntry("totp", "code-1", ACCOUNT, 1_700_000_000_000, 4_000_000_000_000)

_DISCONNECT = """SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                 WHERE pid <> pg_backend_pid() AND datname = current_database()"""


def fail_over(flaky: Flaky, log: str, kept: int) -> None:
    """The database becomes one of another epoch that lacks the proofs, and what follows record `kept`."""
    with flaky.write_transaction() as conn:
        conn.execute(delete(audit_records).where(audit_records.c.log == log, audit_records.c.seq > kept))
        conn.execute(delete(ENTITY_TABLES[ReplayEntry].table))
        renew_epoch(conn)


def disconnect(flaky: Flaky) -> None:
    """The connections to the old primary break, and somebody else than the journal's writer notices."""
    with flaky.write_transaction() as conn:
        url = conn.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url) as other:
        other.execute(_DISCONNECT)
    with pytest.raises(DBAPIError), flaky.write_transaction() as conn:
        conn.execute(text("SELECT 1"))


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
async def test_proof_that_a_failover_has_lost_is_consumed_again_with_its_record(start: Starter, flaky: Flaky) -> None:
    journal = await start()
    await journal.commit(event("before"))
    await journal.commit(event("with-code"), replays=(CODE,))
    fail_over(flaky, journal.log, kept=1)
    flaky.faults.append("refuse")
    await journal.commit(event("after"))
    with pytest.raises(ProofUsed):
        await journal.commit(event("again"), replays=(CODE,))
    assert verified(flaky, journal.log).head.seq == 3
    assert requests_of(flaky, journal.log)[1:] == ["before", "with-code", "after"]


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
async def test_a340_commit_after_a_failover_that_others_have_noticed_sends_lost_records_first(
    start: Starter, flaky: Flaky
) -> None:
    """A340: the error of the old connections went to another thread, and the journal writes to a new one at once."""
    journal = await start()
    await journal.commit(event("before"))
    await journal.commit(event("lost"))
    fail_over(flaky, journal.log, kept=1)
    disconnect(flaky)
    await journal.commit(event("after"))
    assert requests_of(flaky, journal.log)[1:] == ["before", "lost", "after"]
    assert verified(flaky, journal.log).head.seq == 3
