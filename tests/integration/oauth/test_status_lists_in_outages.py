"""Status lists that another process makes never vouch for sessions that are not on the record yet."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.attack.installation import ALPHA, Installation, installed
from tests.integration.oauth.conftest import World
from tests.integration.oauth.test_status_lists import claims_of, reference, revoke
from tests.oauth import ISSUER, verified
from tests.patience import eventually

from daypass.audit.completeness import process_logs
from daypass.audit.status_lists import LogStatusLists
from daypass.client.verifier.status import StatusLists, StatusUnknown
from daypass.domain.directory import Revocation
from daypass.domain.events import Event, EventType
from daypass.ports import Tx

LIMIT = 30.0  # seconds: `list_seconds` of a verifier


class Faults:
    """The fate of the next write transactions: "refuse", "after" (it commits, and the answer is lost); then "refuse"
    to all.
    """

    def __init__(self, site: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
        self._write = site.runtime.database.write_transaction
        self.next: deque[str] = deque()
        self.ended = False
        monkeypatch.setattr(site.runtime.database, "write_transaction", self._transaction)

    @contextmanager
    def _transaction(self, **how: Any) -> Iterator[Any]:
        if self.ended:
            fault = ""
        else:
            fault = self.next.popleft() if self.next else "refuse"
        if fault == "refuse":
            raise OSError("the database is unavailable")
        with self._write(**how) as conn:
            yield conn
        if fault == "after":
            raise OSError("the answer to the commit is lost")


@pytest.fixture
def other(world: World) -> LogStatusLists:
    """The lists as a second process makes them, which reaches the database when the first one does not."""
    runtime = world.site.runtime
    return LogStatusLists(
        "f" * 32,
        runtime.clock,
        runtime.env.oauth.issuer,
        runtime.env.oauth.sign,
        runtime.directory.feed,
        runtime.records.run,
        10,
    )


def verifier(site: Installation, lists: LogStatusLists) -> StatusLists:
    """A verifier whose load balancer sends it to the second process."""

    def fetch(uri: str) -> dict[str, Any]:
        found = site.run(lists.token(uri.rpartition("/")[2]))
        if found is None:
            raise OSError("HTTP status 404")
        return claims_of(found.token)

    return StatusLists(fetch, lambda: site.wall.time / 1000, time.monotonic)


def pass_time(site: Installation, ms: int) -> None:
    """Time passes, and the change feed is polled, so the revocations of the second process are current."""
    site.wall.time += ms
    site.run(site.runtime.directory.refresh())


def returned(site: Installation, faults: Faults) -> None:
    """The database is available again, and the spool is drained."""
    faults.ended = True

    async def drained() -> None:
        await eventually(lambda: site.runtime.journal.outage is None)
        await asyncio.to_thread(site.runtime.journal.note_recorded)

    site.run(drained())


def test_a134_revoked_session_in_the_spool_of_another_process_is_not_accepted(
    world: World, other: LogStatusLists, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = world.site
    world.person_token()  # so that the list exists
    faults = Faults(site, monkeypatch)
    token = world.person_token()
    path, index = reference(world, token)
    revoke(site, "session", verified(site, token)["urn:daypass:session"]["id"], force=True)
    pass_time(site, 31_000)
    with pytest.raises(StatusUnknown, match="too old"):
        verifier(site, other).is_revoked(ISSUER + path, index, LIMIT)
    pass_time(site, 120_000)
    name = path.rpartition("/")[2]
    listed = site.run(other.token(name))
    assert listed is not None
    assert claims_of(listed.token)["exp"] * 1000 <= site.wall.time, "for verifiers that look at exp alone"
    returned(site, faults)
    pass_time(site, 1_000)
    assert verifier(site, other).is_revoked(ISSUER + path, index, LIMIT)


def test_a134_revoked_session_in_the_second_log_of_a_process_is_not_accepted(
    world: World, other: LogStatusLists, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = world.site
    journal = site.runtime.journal
    first = journal.log
    faults = Faults(site, monkeypatch)
    faults.next.append("after")

    def change(tx: Tx) -> tuple[None, Event]:
        tx.insert(Revocation("doubt", ALPHA, "role", "AROANOBODYHASTHISID22", 5, 5))
        return None, Event(EventType.SESSION_REVOKED, site.wall.time)

    async def begin_in_doubt() -> asyncio.Future[None]:
        """A directory change whose commit has no answer ends the log."""
        write = asyncio.ensure_future(journal.write(change))
        await eventually(lambda: journal.log != first)
        return write

    write = site.run(begin_in_doubt())
    token = world.person_token()
    path, index = reference(world, token)
    assert path.startswith(f"/statuslists/{journal.first_log}-")
    revoke(site, "session", verified(site, token)["urn:daypass:session"]["id"], force=True)
    returned(site, faults)
    pass_time(site, 1_000)
    assert verifier(site, other).is_revoked(ISSUER + path, index, LIMIT)
    site.run(asyncio.wait_for(write, 60))
    found = site.runtime.database.read(lambda conn: process_logs(conn, journal.first_log))
    assert found is not None
    assert journal.log in found.logs


def test_status_lists_of_a_process_that_stops_are_complete_for_ever(tmp_path: Any) -> None:
    with installed(tmp_path, server={"public_url": ISSUER}) as site:
        log = site.runtime.journal.first_log
    with installed(tmp_path, server={"public_url": ISSUER}, first_keys="") as site:
        found = site.runtime.database.read(lambda conn: process_logs(conn, log))
    assert found == ((log,), None)
