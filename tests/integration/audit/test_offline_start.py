"""A process that started from a snapshot finds its database again, or that of another installation."""

from __future__ import annotations

import pytest
from sqlalchemy import select
from tests.integration.audit.conftest import Starter
from tests.integration.audit.making import Flaky, event, requests_of, verified
from tests.integration.audit.test_spool import QUICK, files, place, returned
from tests.patience import eventually

from daypass.audit.journal import Journal
from daypass.audit.spool import SpoolDirectory
from daypass.audit.spool_sink import OfflineStart
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.stores.records import audit_logs

__all__ = ["place"]


def logs(flaky: Flaky) -> set[str]:
    return set(flaky.read(lambda conn: conn.execute(select(audit_logs.c.log)).scalars().all()))


async def rejected(journal: Journal) -> list[str]:
    """Waits until the spool was set aside; its files."""
    assert journal.spool is not None
    await eventually(journal.spool.rejected)
    return journal.spool.rejected()


async def test_start_from_a_snapshot_is_drained_into_the_database_of_its_installation(
    start: Starter, flaky: Flaky, place: SpoolDirectory
) -> None:
    installation, clock_reset = (await start()).database_facts
    flaky.always = "refuse"
    journal = await start(spool=place, options=QUICK, offline=OfflineStart(installation, clock_reset, {}))
    await journal.commit(event("spooled"))
    flaky.always = ""
    await returned(journal)
    await journal.commit(event("back"))
    assert [request for request in requests_of(flaky, journal.log) if request] == ["spooled", "back"]
    verified(flaky, journal.log)


async def test_start_from_a_snapshot_writes_nothing_into_the_database_of_another_installation(
    start: Starter, flaky: Flaky, place: SpoolDirectory
) -> None:
    await start()
    before = logs(flaky)
    flaky.always = "refuse"
    journal = await start(spool=place, options=QUICK, offline=OfflineStart("of-another-installation", "", {}))
    await journal.commit(event("spooled"))
    flaky.always = ""
    assert await rejected(journal) == [f"{journal.log}.db.rejected"]
    with pytest.raises(DaypassError) as refused:
        await journal.commit(event("refused"))
    assert refused.value.kind is ErrorKind.UNAVAILABLE
    assert "the database is of another installation than the snapshot" in journal.problem()
    assert logs(flaky) == before
    assert ".rejected" in files(place), "what it has issued is not lost"
