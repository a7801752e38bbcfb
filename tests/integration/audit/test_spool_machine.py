"""Random sequences of writes, faults, kills, starts and revocations: what was acknowledged is recorded exactly once."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import tempfile
from collections import Counter
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Connection, select, text
from tests.integration.audit.making import Flaky, TestIds, event, requests_of, session, session_ids, verified
from tests.integration.audit.test_journal import accounts, add_account
from tests.integration.audit.test_spool import Signer, kill
from tests.prepared import prepare_sqlite

from daypass.audit.batch import JournalOptions
from daypass.audit.journal import Journal
from daypass.audit.spool import SpoolDirectory
from daypass.domain.directory import Revocation
from daypass.domain.errors import DaypassError
from daypass.domain.events import EventType
from daypass.ports import Offline, Tx
from daypass.ports.clock import Clock
from daypass.stores.engine import open_database
from daypass.stores.records import audit_logs

T = TypeVar("T")

OPTIONS = JournalOptions(deadline_seconds=0.5, retry_seconds=0.01, idle_seconds=0.05, outage_seconds=0.0)
PROCESSES = 3


def process_claims(conn: Connection) -> dict[str, int | None]:
    """`recorded_until` of each process, by its first log."""
    query = select(audit_logs.c.log, audit_logs.c.recorded_until).where(audit_logs.c.continues.is_(None))
    return {row.log: row.recorded_until for row in conn.execute(query)}


class Outages(RuleBasedStateMachine):
    """Up to three processes on one database. Acknowledged writes are remembered and compared with the record."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name)
        self.database = Flaky(open_database(prepare_sqlite(path / "daypass.db")))
        self.place = SpoolDirectory(path / "spool", 1_000_000, Signer())
        self.journals: list[Journal] = []
        self.names = itertools.count()
        self.acknowledged: list[str] = []
        self.clock = Clock()
        self.sessions: set[str] = set()
        self.released: dict[str, tuple[str, int]] = {}  # by session: the first log of its process, when (ms)
        self.changed: set[str] = set()
        self.revoked: set[str] = set()
        self.logs: set[str] = set()

    def run_(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def attempt(self, work: Coroutine[Any, Any, Any]) -> bool:
        """Whether it was acknowledged."""
        try:
            self.run_(work)
        except DaypassError:
            return False
        return True

    # --- Processes

    @initialize()
    def first(self) -> None:
        self.start()

    @precondition(lambda self: not self.database.always and len(self.journals) < PROCESSES)
    @rule()
    def start(self) -> None:
        self.database.faults.clear()  # a process that cannot open its log does not start
        journal = Journal(self.database, Clock(), TestIds(), "node", OPTIONS, spool=self.place)  # type: ignore[arg-type]
        self.run_(journal.start())
        self.journals.append(journal)

    @precondition(lambda self: self.journals)
    @rule(at=st.integers(0, PROCESSES - 1))
    def kill(self, at: int) -> None:
        self.logs |= {journal.log for journal in self.journals}
        kill(self.journals.pop(at % len(self.journals)))

    @precondition(lambda self: self.journals)
    @rule(at=st.integers(0, PROCESSES - 1))
    def stop(self, at: int) -> None:
        self.run_(self.journals.pop(at % len(self.journals)).close())

    # --- Faults

    @rule()
    def database_fails(self) -> None:
        self.database.always = "refuse"

    @rule()
    def database_returns(self) -> None:
        self.database.always = ""

    @rule(fault=st.sampled_from(["before", "after", "refuse"]))
    def next_transaction_fails(self, fault: str) -> None:
        self.database.faults.append(fault)

    # --- Writes

    @precondition(lambda self: self.journals)
    @rule(at=st.integers(0, PROCESSES - 1), count=st.integers(1, 5))
    def issue(self, at: int, count: int) -> None:
        """Each session and its event."""
        journal = self.journals[at % len(self.journals)]
        for _ in range(count):
            name = str(next(self.names))
            session_id = f"{int(name):032x}"
            if self.attempt(journal.commit(event(name, type=EventType.SESSION_ISSUED), session(session_id))):
                self.acknowledged.append(name)
                self.sessions.add(session_id)
                self.released[session_id] = journal.first_log, self.clock.now()

    @precondition(lambda self: self.journals)
    @rule(at=st.integers(0, PROCESSES - 1))
    def change(self, at: int) -> None:
        name = f"change-{next(self.names)}"
        number = f"{int(name[7:]):012d}"
        if self.attempt(self.journals[at % len(self.journals)].write(add_account(name, number))):
            self.acknowledged.append(name)
            self.changed.add(name)

    @precondition(lambda self: self.journals)
    @rule(at=st.integers(0, PROCESSES - 1))
    def revoke(self, at: int) -> None:
        name = f"revoke-{next(self.names)}"
        made = Revocation(name, "000000000001", "role", "AROAX", 5, 5)

        def change(tx: Tx) -> Any:
            tx.insert(made)
            return None, event(name)

        write = self.journals[at % len(self.journals)].write(
            change, urgent=True, offline=Offline(None, event(name), made)
        )
        if self.attempt(write):
            self.acknowledged.append(name)
            self.revoked.add(name)

    @precondition(lambda self: self.journals)
    @rule(at=st.integers(0, PROCESSES - 1))
    def state_completeness(self, at: int) -> None:
        with contextlib.suppress(OSError):
            self.journals[at % len(self.journals)].note_recorded()

    # --- What must hold

    @invariant()
    def logs_claim_no_session_that_is_not_recorded(self) -> None:
        """Status lists of other processes rely on this."""
        claimed = self.database.read(process_claims)
        recorded = session_ids(self.database)
        for session_id, (log, at) in self.released.items():
            until = claimed[log]
            assert session_id in recorded or (until is not None and until <= at)

    @invariant()
    def no_log_is_halted(self) -> None:
        assert not [journal.problem() for journal in self.journals if "halted" in journal.problem()]

    def teardown(self) -> None:
        self.database.always = ""
        self.database.faults.clear()
        try:
            self.settle()
            self.compare()
        finally:
            for journal in self.journals:
                self.run_(journal.close())
            self.database.inner.close()
            self.loop.close()
            self.folder.cleanup()

    def settle(self) -> None:
        """A last process adopts what the others have left."""
        if len(self.journals) == PROCESSES:
            self.run_(self.journals.pop().close())
        self.start()
        for _ in range(6_000):
            own = {f"{journal.spool._name}.db" for journal in self.journals if journal.spool is not None}
            left = {path.name for path in self.place.directory.glob("*.db")} - own
            if not left and not any(journal.outage for journal in self.journals):
                return
            for journal in self.journals:
                assert journal.spool is not None
                journal.spool._wake.set()
            self.run_(asyncio.sleep(0.01))
        raise AssertionError("the spools were not drained")

    def compare(self) -> None:
        assert not self.place.rejected()
        logs = self.database.read(lambda conn: conn.execute(select(audit_logs.c.log)).scalars().all())
        recorded = Counter(request for log in logs for request in requests_of(self.database, log) if request)
        assert [name for name in self.acknowledged if recorded[name] != 1] == []
        assert [name for name, count in recorded.items() if count > 1] == []
        assert self.sessions <= session_ids(self.database)
        assert self.changed <= accounts(self.database)
        stored = self.database.read(
            lambda conn: conn.execute(text("SELECT id FROM revocations WHERE position > 0")).scalars().all()
        )
        assert self.revoked <= set(stored)
        for log in logs:
            verified(self.database, log)
        running = {journal.first_log for journal in self.journals}
        claimed = self.database.read(process_claims)
        assert [log for log, until in claimed.items() if until is not None and log not in running] == []


def test_random_outages_and_kills_record_what_was_acknowledged_exactly_once() -> None:
    run_state_machine_as_test(
        Outages,
        settings=settings(
            max_examples=12,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
            derandomize=True,
            phases=[Phase.explicit, Phase.generate],  # a failing sequence is not made shorter: that takes minutes
        ),
    )
