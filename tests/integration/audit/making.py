"""Building blocks for tests of the journal: events, sessions, ids, and a database that fails on command."""

from __future__ import annotations

import itertools
import secrets
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, select

from daypass.audit.format import leaf_hash
from daypass.audit.journal import Journal
from daypass.audit.stored import event_bytes
from daypass.audit.verify import BadRecord, RecordRow, VerifiedLog, verify_log
from daypass.domain.events import Event, EventType, decode
from daypass.domain.session import FeedPosition, Hop, SessionClaims, SessionKind
from daypass.stores.backend import FEED_HEAD
from daypass.stores.engine import Database
from daypass.stores.log_heads import FeedHead
from daypass.stores.records import audit_records, sessions

ACCOUNT = "111122223333"
OTHER = "444455556666"
_numbers = itertools.count(1)
_start = secrets.token_hex(4)


class TestIds:
    __test__ = False

    def session(self) -> str:
        return f"{_start}{next(_numbers):024x}"


@contextmanager
def deadline(journal: Journal, seconds: float) -> Iterator[None]:
    """A deadline for commits within the block."""
    usual, journal._options = journal._options, replace(journal._options, deadline_seconds=seconds)
    yield
    journal._options = usual


def event(request_id: str = "r", **changes: Any) -> Event:
    values: dict[str, Any] = {
        "type": EventType.REQUEST_ALLOWED,
        "at": 1_700_000_000_000,
        "account": ACCOUNT,
        "actor": {"account": ACCOUNT, "access_key_id": "AKIAUSER"},
        "request_id": request_id,
        "operation": "sts:GetCallerIdentity",
    }
    return Event(**{**values, **changes})


def session(session_id: str, **changes: Any) -> SessionClaims:
    seen = FeedPosition("life", 1)
    account = changes.get("account", ACCOUNT)
    role = changes.get("principal_id", "AROADEPLOY")
    issued_at = changes.get("issued_at", 1_700_000_000_000)
    values: dict[str, Any] = {
        "kind": SessionKind.ROLE,
        "session_id": session_id,
        "account": account,
        "principal_id": role,
        "arn": f"arn:aws:iam::{account}:role/deploy",
        "name": "job",
        "issued_at": issued_at,
        "expires_at": issued_at + 3_600_000,
        "seen": seen,
        "hops": (
            Hop("", ACCOUNT, "AIDAALICE", issued_at, seen, "AKIAUSER", "alice"),
            Hop(session_id, account, role, issued_at, seen, f"ASIA{session_id[:12]}", "job"),
        ),
    }
    return SessionClaims(**{**values, **changes})


class SettableClock:
    """A clock for a journal; the test sets its time."""

    jump_ms = 0

    def __init__(self, time: int = 5_000_000) -> None:
        self.time = time
        self.right = time
        self.resets = 0

    def now(self) -> int:
        return self.time

    def wall(self) -> int:
        return self.time

    def confirm(self, reference: int) -> None:
        self.confirmed = reference

    def reset(self) -> None:
        self.resets += 1
        self.time = self.right


class Flaky:
    """A database whose next write transactions end as `faults` says, one for each.

    ok; refuse: cannot begin; before: an error in place of the commit;
    after: committed, then an error; late: an error, and
    committed half a second afterwards.
    """

    def __init__(self, database: Database) -> None:
        self.inner = database
        self.faults: deque[str] = deque()
        self.always = ""
        self.raises: deque[Exception] = deque()  # errors of the statements of the next transactions
        self.feed_heads: list[FeedHead | None] = []  # that each transaction was about to commit
        self.late: list[threading.Timer] = []

    @property
    def dialect(self) -> str:
        return self.inner.dialect

    @property
    def hangs(self) -> bool:
        return self.inner.hangs

    def read(self, fn: Any, **how: Any) -> Any:
        return self.inner.read(fn, **how)

    def clock(self, conn: Connection) -> int | None:
        return self.inner.clock(conn)

    def suspect(self) -> bool:
        return self.inner.suspect()

    def forget_heads(self, lost: Any) -> None:
        self.inner.forget_heads(lost)

    @contextmanager
    def write_transaction(self, *, seconds: float | None = None) -> Iterator[Connection]:
        fault = self.faults.popleft() if self.faults else self.always
        if fault == "refuse":
            raise OSError("the database is away")
        if fault == "late":
            yield from self._late()
        with self.inner.write_transaction(seconds=seconds) as conn:
            if self.raises:
                raise self.raises.popleft()
            yield conn
            self.feed_heads.append(conn.info.get(FEED_HEAD))
            if fault == "before":
                raise OSError("lost before the commit")
        if fault == "after":
            raise OSError("lost after the commit")

    def _late(self) -> Iterator[Connection]:
        transaction = self.inner.write_transaction()
        conn = transaction.__enter__()
        try:
            yield conn
        except BaseException:
            transaction.__exit__(*sys.exc_info())
            raise
        timer = threading.Timer(0.5, transaction.__exit__, (None, None, None))
        self.late.append(timer)
        timer.start()
        raise OSError("no answer to the commit")


def rows_of(database: Any, log: str) -> list[RecordRow]:
    def read(conn: Connection) -> list[RecordRow]:
        query = select(audit_records).where(audit_records.c.log == log).order_by(audit_records.c.seq)
        rows = conn.execute(query).all()
        data = event_bytes(conn, rows)
        return [
            RecordRow(r.log, r.seq, leaf_hash(data[r.log, r.seq]), bytes(r.chain), data[r.log, r.seq]) for r in rows
        ]

    return database.read(read)  # type: ignore[no-any-return]


def bodies_of(database: Any, log: str) -> list[dict[str, Any]]:
    return [decode(row.data or b"") for row in rows_of(database, log)]


def requests_of(database: Any, log: str) -> list[str]:
    return [body.get("request_id", "") for body in bodies_of(database, log)]


def verified(database: Any, log: str) -> VerifiedLog:
    found = verify_log(log, rows_of(database, log))
    assert not isinstance(found, BadRecord), found
    return found


def session_ids(database: Any) -> set[str]:
    return set(database.read(lambda conn: conn.execute(select(sessions.c.session_id)).scalars().all()))
