"""PostgreSQL through psycopg 3: snapshots for readers, durable commits and bounded waits for the writer.

It must never wait without a limit: connecting, statements, locks and dead peers all have time limits. The server
enforces its limits. The client enforces another one, because a server that hangs enforces none while its kernel still
acknowledges packets.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, LiteralString, TypeVar

import psycopg
from psycopg.abc import PQGen
from sqlalchemy import URL, Connection, Engine, create_engine, event

from daypass.stores.acknowledged import Acknowledged
from daypass.stores.backend import ANSWER_SECONDS, COPY_TYPES, EPOCH, Backend
from daypass.stores.feed import feed_head
from daypass.stores.log_heads import FeedHead
from daypass.stores.meta import installation

T = TypeVar("T")

_CONNECT_SECONDS = 2  # the shortest value that libpq supports
_DEAD_PEER_MS = 5_000
_POOL_WAIT_SECONDS = 3.0
_WRITERS = 3  # the journal's, that of the drain of the spool, and one for management at start
_SERVER_SHARE = 0.8
"""The share of the client's limit after which the server cancels a statement itself. The connection then stays
usable.
"""
_PAUSE_MS = 4_000
"""How long a transaction that writes may pause between two statements before the server ends it. A process that was cut
off in one keeps its locks for so long, and among them may be the one that every change of the directory needs, also a
revocation, which fails after five seconds. A shorter limit ends transactions of processes that only wait for a CPU.
"""
_LONG_PAUSE_MS = 15_000  # of one that reads, or whose statements may take `_LONG_SECONDS`: migrations, copies
_LONG_SECONDS = 60.0


class Unanswered(psycopg.OperationalError):
    """The server did not respond to a statement in time. The connection is closed, because its state is unknown."""


UNANSWERED = (Unanswered, psycopg.errors.ConnectionTimeout)
"""Errors that mean that the server hangs or that no data arrives from it."""


class _Connection(psycopg.Connection[Any]):
    """Waits at most `answer_seconds` for each statement."""

    answer_seconds = ANSWER_SECONDS

    def wait(self, gen: PQGen[T], *args: Any, **more: Any) -> T:
        return super().wait(self._until(gen, time.monotonic() + self.answer_seconds), *args, **more)

    def _until(self, gen: PQGen[T], deadline: float) -> PQGen[T]:
        """`gen`, ended by Unanswered at the deadline. psycopg resumes it regularly, also when nothing has arrived."""
        try:
            request = next(gen)
            while True:
                ready = yield request
                if not ready and time.monotonic() >= deadline:
                    self.pgconn.finish()
                    raise Unanswered(f"no answer within {self.answer_seconds:g} s")
                request = gen.send(ready)
        except StopIteration as stop:
            value: T = stop.value
            return value


def open_backend(
    url: URL,
    readers: int,
    answer_seconds: float = ANSWER_SECONDS,
    write_seconds: float = ANSWER_SECONDS,
    acknowledged: Acknowledged | None = None,
    epoch: str = "",
) -> Backend:
    """Makes the engines without connecting. `answer_seconds`: how long to wait for the response to a statement that
    reads; `write_seconds`: to one that writes. `acknowledged`: see `Backend`.
    `epoch`: see `database.epoch` in the settings.
    """
    writer = _engine(url, _WRITERS, write_seconds, answer_seconds, epoch, read_only=False)
    return Backend(
        name="postgresql",
        unanswered=UNANSWERED,
        readers=_engine(url, readers, answer_seconds, answer_seconds, epoch, read_only=True),
        writer=writer,
        begin=writer.begin,
        write_lock=_no_lock,
        committed=_nothing,
        acknowledged=acknowledged,
        is_replaced=lambda conn: acknowledged is not None and _is_another(acknowledged, conn),
        check=_check,
        clock=_clock,
        statement_timeout=_statement_timeout,
        suspect=lambda: False,
        warning=_warning,
        close=acknowledged.close if acknowledged is not None else lambda: None,
    )


def _options(answer_seconds: float, lock_seconds: float, *, read_only: bool) -> str:
    limit, locks = (int(seconds * _SERVER_SHARE * 1000) for seconds in (answer_seconds, lock_seconds))
    pause = _LONG_PAUSE_MS if read_only else _PAUSE_MS
    limits = {"statement_timeout": limit, "idle_in_transaction_session_timeout": pause}
    if not read_only:
        limits |= {"lock_timeout": locks * 3 // 4}
    settings = {**limits} if read_only else {"synchronous_commit": "on", **limits}
    return " ".join(f"-c {name}={value}" for name, value in settings.items())


@contextmanager
def _statement_timeout(conn: Connection, seconds: float) -> Iterator[None]:
    """A context in which a statement of this transaction may take this long, such as a migration or a search of the
    record. It may also wait that long for a lock: a server that starts waits for another one's migration.
    """
    connection: Any = conn.connection.driver_connection
    limit = int(seconds * _SERVER_SHARE * 1000)
    limits = {"statement_timeout": limit, "lock_timeout": limit * 3 // 4}
    if seconds >= _LONG_SECONDS:
        limits["idle_in_transaction_session_timeout"] = _LONG_PAUSE_MS
    for name, value in limits.items():
        conn.exec_driver_sql(f"SET LOCAL {name} = {value}")
    before, connection.answer_seconds = connection.answer_seconds, seconds
    try:
        yield
    finally:
        connection.answer_seconds = before


def _engine(url: URL, size: int, answer_seconds: float, lock_seconds: float, epoch: str, *, read_only: bool) -> Engine:
    arguments: dict[str, Any] = {
        "connect_timeout": _CONNECT_SECONDS,
        "tcp_user_timeout": _DEAD_PEER_MS,
        "keepalives_idle": 10,
        "keepalives_interval": 3,
        "keepalives_count": 3,
        "application_name": "daypass",
        "client_encoding": "utf8",  # otherwise text of a database in SQL_ASCII is bytes, and `_check` is not reached
        "options": _options(answer_seconds, lock_seconds, read_only=read_only),
    }
    given = dict(url.query)
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"),
        connect_args={name: value for name, value in arguments.items() if name not in given},
        pool_size=size,
        max_overflow=0,
        pool_timeout=_POOL_WAIT_SECONDS,
        execution_options={EPOCH: epoch},
        hide_parameters=True,  # an error must not show the values of a row
        isolation_level="REPEATABLE READ" if read_only else "READ COMMITTED",
    )

    @event.listens_for(engine, "do_connect")
    def open_connection(_dialect: object, _record: object, args: Any, parameters: Any) -> psycopg.Connection[Any]:
        connection = _Connection.connect(*args, **parameters)
        connection.answer_seconds = answer_seconds
        return connection

    if read_only:

        @event.listens_for(engine, "connect")
        def connect(connection: psycopg.Connection[Any], _record: object) -> None:
            connection.read_only = True
    else:
        event.listen(engine, "do_execute", _copy)

    return engine


def _copy(cursor: psycopg.Cursor[Any], statement: LiteralString, parameters: Sequence[Any], context: Any) -> bool:
    """Sends the rows of a COPY. Returns False for any other statement, which SQLAlchemy then executes."""
    types = context.execution_options.get(COPY_TYPES)
    if types is None:
        return False
    with cursor.copy(statement) as copy:
        copy.set_types(types)
        for row in parameters[0]:
            copy.write_row(row)
    return True


@contextmanager
def _no_lock() -> Iterator[None]:
    """No lock is needed: PostgreSQL's locks queue fairly, and directory writers serialise on the counter row."""
    yield


def _nothing(_head: FeedHead) -> None:
    """Nothing to do: a replaced database has another epoch, as `feed_head` reads the cluster's identity and timeline."""


def _is_another(acknowledged: Acknowledged, conn: Connection) -> bool:
    """Forgets notes about another installation, which this one's data directory may have had. A database that was
    replaced has another epoch by itself, so it never counts as replaced.
    """
    identity, head = installation(conn), feed_head(conn)
    if acknowledged.feed_note()[:1] != [identity]:
        acknowledged.clear()
        acknowledged.note_feed(identity, head)
    return False


_WARNING = """
    SELECT current_setting('synchronous_standby_names') = '' AND EXISTS (SELECT FROM pg_stat_replication)
"""


def _warning(conn: Connection) -> str:
    if not conn.exec_driver_sql(_WARNING).scalar_one():
        return ""
    return (
        "replication is asynchronous: a failover can lose what was acknowledged, revocations included "
        "(set synchronous_standby_names)"
    )


def _clock(conn: Connection) -> int:
    sql = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint"
    return int(conn.exec_driver_sql(sql).scalar_one())


def _check(conn: Connection) -> str:
    """PostgreSQL checks its pages when it reads them. This only checks that it stores text as UTF-8."""
    encoding = conn.exec_driver_sql("SHOW server_encoding").scalar_one()
    remedy = "create it with ENCODING 'UTF8' TEMPLATE template0"
    return "" if encoding == "UTF8" else f"the database must have encoding UTF8, it has {encoding}: {remedy}"
