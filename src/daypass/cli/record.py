"""Sources of `audit verify`: a server's export, or a database. Every log is verified here.

Openings are read first: each names the heads of the logs before it, so that a log that was cut off, rewritten whole or
removed shows although its own chain holds. No value in a row is trusted, not even its type.
"""

from __future__ import annotations

import re
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import quote

from daypass.audit.columns import HOUR_MS, UNLISTED, VALUED, usual_values
from daypass.audit.format import Unpacker, leaf_hash
from daypass.audit.verify import BadRecord, Gap, Head, RecordRow, VerifiedLog, verify_log, verify_log_rows
from daypass.cli.options import PAGE
from daypass.cli.output import moment
from daypass.client.errors import ClientError
from daypass.client.http import Connection, segment
from daypass.client.profiles import LocalStateError

_LOG = re.compile(r"[0-9a-f]{32}")
_DRIVER = re.compile(r"(?<=^postgresql)\+[a-z0-9]+(?=://)")  # servers take a URL that names one


def gap_text(gap: Gap) -> str:
    """A gap in words: what is missing, and when it was lost."""
    records = f"record {gap.first} is" if gap.first == gap.last else f"records {gap.first} to {gap.last} are"
    times = f"between {moment(gap.since)} and {moment(gap.until)}"
    return f"GAP  log {gap.log}: {records} missing, lost {times}, as a later log says."


class Record(ABC):
    """All logs of an installation, as far as the reader may see them. `read`: records that were read."""

    read = 0

    def verified(self) -> list[VerifiedLog | BadRecord]:
        """The verdict on each log, including missing logs that another log's opening names."""
        with self._opened() as logs:
            known = [head for head in logs.values() if head is not None] + self._known()
            for log in logs:
                opening = verify_log(log, self._first(log)) if _LOG.fullmatch(log) else None
                known += opening.heads if isinstance(opening, VerifiedLog) else ()
            results = [self._verify_log(log, known) for log in logs]
        absent = dict.fromkeys(head.log for head in known if head.log not in logs)
        return results + [verify_log(log, (), known) for log in absent]

    def _verify_log(self, log: str, known: list[Head]) -> VerifiedLog | BadRecord:
        if not _LOG.fullmatch(log):
            return BadRecord(log, 0, "altered: this is not the id of a log")
        return verify_log(log, self._counted(log), known)

    def _counted(self, log: str) -> Iterator[RecordRow]:
        for row in self._rows(log):
            self.read += 1
            yield row

    def _first(self, log: str) -> Iterator[RecordRow]:
        for row in self._rows(log):
            yield row
            return

    def _known(self) -> list[Head]:
        """Further heads that the source knows of, of logs that need not be there."""
        return []

    @abstractmethod
    def _opened(self) -> Any:
        """A context: the ids of all logs, with the head of each where the source names it."""

    @abstractmethod
    def _rows(self, log: str) -> Iterator[RecordRow]:
        """The records of one log, in order."""


class OnlineRecord(Record):
    """A server's export up to its state at the start, because logs grow during the read."""

    def __init__(self, connection: Connection, account: str) -> None:
        self._connection, self._account = connection, account
        self._heads: dict[str, Head] = {}

    @contextmanager
    def _opened(self) -> Iterator[dict[str, Head | None]]:
        for log in self._connection.api("GET", "/audit/logs", {"account": self._account})["logs"]:
            try:
                head = Head(log["log"], int(log["seq"]), bytes.fromhex(log["chain"]))
            except (TypeError, ValueError):
                raise ClientError("", "the server's export cannot be read: a log has no head") from None
            self._heads[head.log] = head
        yield dict(self._heads)

    def proof(self, log: str, seq: int, known: Head | None) -> tuple[RecordRow, VerifiedLog | BadRecord] | None:
        """One record, and the verdict on it and on all that follows it; None: the log has no such record.

        `known`: a head of the log that was noted before, which must be found in it. The record is read once, because a
        server could answer a second read with another one.
        """
        with self._opened() as logs:
            head = logs.get(log)
            if head is None or seq > head.seq:
                return None
            after = Head(log, seq - 1, self._at(log, seq - 1).chain) if seq else None
            record_row, following = self._at(log, seq), self._rows(log, seq)
            heads = [head, *([known] if known is not None else [])]
            return record_row, verify_log(log, chain((record_row,), following), heads, after=after)

    def _at(self, log: str, seq: int) -> RecordRow:
        page = self._page(log, seq - 1, 1)
        if not page:
            raise UnreadableRow(seq, "it ends before its head")
        return page[0]

    def _verify_log(self, log: str, known: list[Head]) -> VerifiedLog | BadRecord:
        try:
            return super()._verify_log(log, known)
        except UnreadableRow as row:
            return BadRecord(log, row.seq, f"altered: {row.why}")

    def _first(self, log: str) -> Iterator[RecordRow]:
        try:
            yield from self._page(log, -1, 1)
        except UnreadableRow:  # named by `_verify_log`
            return

    def _rows(self, log: str, after: int = -1) -> Iterator[RecordRow]:
        last = self._heads[log].seq
        while after < last:
            page = self._page(log, after, min(PAGE, last - after))
            if not page:
                return
            yield from page
            after = page[-1].seq

    def _page(self, log: str, after: int, limit: int) -> list[RecordRow]:
        query = {"account": self._account, "after": str(after), "limit": str(limit)}
        records = self._connection.api("GET", f"/audit/logs/{segment(log)}/records", query)["records"]
        rows: list[RecordRow] = []
        try:
            for record in records:
                rows.append(RecordRow.from_json({n: v for n, v in record.items() if v is not None}))  # noqa: PERF401 - to know the place
        except (ValueError, TypeError, AttributeError) as error:
            raise UnreadableRow(rows[-1].seq + 1 if rows else after + 1, str(error)) from None
        return rows


class UnreadableRow(ClientError):
    """A record of a server's export that does not have the form of one, where record `seq` should be."""

    def __init__(self, seq: int, why: str) -> None:
        super().__init__("", f"the server's export is not readable: {why}")
        self.seq = seq
        self.why = why


class StoredRecord(Record):
    """A database, read as it was at one moment; servers may be writing to it.

    Columns, sessions and the table of logs are compared, too.
    """

    def __init__(self) -> None:
        self._columns: tuple[str, ...] = ()
        self._sessions: Iterator[dict[str, Any]] = iter(())
        self._next: dict[str, Any] | None = None
        self._openings: dict[str, bytes] = {}
        self._log_rows: list[dict[str, Any]] = []
        self._orphans: list[BadRecord] = []
        self._hours: set[tuple[Any, ...]] = set()

    @abstractmethod
    def _query(self, sql: str, *values: str) -> tuple[tuple[str, ...], Iterator[tuple[Any, ...]]]:
        """Names of columns, and rows as they come. A value is `?` in `sql`."""

    def verified(self) -> list[VerifiedLog | BadRecord]:
        """Also names rows of sessions whose record does not exist, and rows of logs that differ from their openings."""
        self._orphans = []
        found = super().verified() + self._orphans
        return found + verify_log_rows(self._openings, self._log_rows)

    def _logs(self) -> dict[str, Head | None]:
        _, rows = self._query("SELECT DISTINCT log FROM audit_records ORDER BY log")
        found = [str(log) for (log,) in rows]
        names, _ = self._query("SELECT * FROM audit_records WHERE seq = -1")
        self._columns = tuple(name for name in _SEARCHABLE if name in names)
        names, sessions = self._query("SELECT * FROM sessions ORDER BY log, seq")
        self._sessions = (dict(zip(names, row, strict=True)) for row in sessions)
        self._next = next(self._sessions, None)
        of_logs, logs = self._query("SELECT * FROM audit_logs ORDER BY log")
        self._log_rows = [dict(zip(of_logs, row, strict=True)) for row in logs]
        self._hours = set(self._query("SELECT value, hour FROM audit_hours")[1])
        self._openings = dict.fromkeys(found, b"")
        return dict.fromkeys(found)

    def _verify_log(self, log: str, known: list[Head]) -> VerifiedLog | BadRecord:
        self._pass_over(log, -1)
        verdict = super()._verify_log(log, known)
        if isinstance(verdict, BadRecord):  # later rows cannot be verified
            while self._next is not None and self._next["log"] == log:
                self._next = next(self._sessions, None)
        return verdict

    def _ended(self) -> None:
        while self._next is not None:
            self._orphan()

    def _first(self, log: str) -> Iterator[RecordRow]:
        unpacker = Unpacker()
        for row in self._records(log):
            opening = self._row(log, row, unpacker, ())
            self._openings[log] = (opening.data or b"") if opening.seq == 0 else b""
            yield opening
            return

    def _rows(self, log: str) -> Iterator[RecordRow]:
        unpacker = Unpacker()
        for row in self._records(log):
            seq = row[0] if type(row[0]) is int else -1
            yield self._row(log, row, unpacker, self._sessions_at(log, seq))
        self._pass_over(log, 2**63)

    def _records(self, log: str) -> Iterator[tuple[Any, ...]]:
        columns = "".join(f", {name}" for name in self._columns)
        sql = f"SELECT seq, chain, bytes{columns} FROM audit_records WHERE log = ? ORDER BY seq"  # noqa: S608 - our names
        return self._query(sql, log)[1]

    def _row(
        self, log: str, row: tuple[Any, ...], unpacker: Unpacker, sessions: tuple[dict[str, Any], ...]
    ) -> RecordRow:
        seq, chain, stored = row[:3]
        place = seq if type(seq) is int else -1
        data = unpacker.data(place, _bytes(stored))
        columns = {**dict.fromkeys(_SEARCHABLE), **dict(zip(self._columns, row[3:], strict=True))}
        hour = columns["at"] // HOUR_MS if type(columns["at"]) is int else 0
        key, values = columns["access_key_id"], usual_values(*(columns[name] for name in VALUED))
        if not all((value, hour) in self._hours for value in ((key, *values) if key else values)):
            columns[UNLISTED] = "hour in audit_hours"  # searches do not find it
        return RecordRow(log, place, leaf_hash(data), _bytes(chain), data, columns, sessions)

    # --- Rows of sessions, in step with records

    def _sessions_at(self, log: str, seq: int) -> tuple[dict[str, Any], ...]:
        self._pass_over(log, seq)
        found = []
        while self._next is not None and (self._next["log"], self._next["seq"]) == (log, seq):
            found.append(self._next)
            self._next = next(self._sessions, None)
        return tuple(found)

    def _pass_over(self, log: str, seq: int) -> None:
        """Rows of sessions before this position have no record."""
        while self._next is not None and _place(self._next) < (log, seq):
            self._orphan()

    def _orphan(self) -> None:
        assert self._next is not None
        log, seq = _place(self._next)
        self._orphans.append(
            BadRecord(
                log,
                seq,
                f"forged: the row of session {self._next['session_id']} names this record, which does not exist",
            )
        )
        self._next = next(self._sessions, None)


_SEARCHABLE = (
    "at",
    "type",
    "account",
    "actor_account",
    "operation",
    "access_key_id",
    "error",
    "request_key",
    "session_key",
)


def _place(session: dict[str, Any]) -> tuple[str, int]:
    seq = session["seq"]
    return str(session["log"]), seq if type(seq) is int else -1


def _bytes(value: Any) -> bytes:
    return value if type(value) is bytes else b""


class OfflineRecord(StoredRecord):
    """A SQLite file."""

    def __init__(self, database: Path) -> None:
        super().__init__()
        self._database = database
        self._connection: sqlite3.Connection | None = None
        self._noted: list[Head] = []

    @contextmanager
    def _opened(self) -> Iterator[dict[str, Head | None]]:
        from daypass.stores.log_heads import read_heads  # of the server; offline alone

        if not self._database.exists():
            raise LocalStateError(
                f"{self._database} does not exist. For a PostgreSQL database, give its settings (--config), or --url."
            )
        self._noted = [Head(head.log, head.seq, head.chain) for head in read_heads(self._database)]
        try:
            uri = f"file:{quote(str(self._database.absolute()))}?mode=ro"
            with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as self._connection:
                self._connection.text_factory = _text
                self._connection.execute("BEGIN")
                yield self._logs()
                self._ended()
        except sqlite3.DatabaseError as error:
            raise LocalStateError(f"{self._database} cannot be read as a record: {str(error).strip()}.") from None

    def _known(self) -> list[Head]:
        return self._noted  # beside the file, by the servers that wrote it; read before the file was

    def _query(self, sql: str, *values: str) -> tuple[tuple[str, ...], Iterator[tuple[Any, ...]]]:
        assert self._connection is not None
        cursor = self._connection.execute(sql.replace("= ?", "IS ?"), values)
        return tuple(column[0] for column in cursor.description), cursor


class PostgresRecord(StoredRecord):
    """A PostgreSQL database. It needs the driver, which comes with the server."""

    def __init__(self, url: str, notes: Path | None = None) -> None:
        """`notes`: what the servers of this node have noted beside this name (`Settings.acknowledged_files`)."""
        super().__init__()
        self._url = _DRIVER.sub("", url)
        self._notes = notes
        self._noted: list[Head] = []
        self._connection: Any = None
        self._cursors = 0
        self._open = ExitStack()

    @contextmanager
    def _opened(self) -> Iterator[dict[str, Head | None]]:
        try:
            import psycopg  # only the server needs it
        except ModuleNotFoundError:
            raise LocalStateError(
                "PostgreSQL's driver is not installed: pip install '.[server]' in a checkout of Daypass."
            ) from None
        try:
            psycopg.conninfo.conninfo_to_dict(self._url)
        except psycopg.ProgrammingError:  # its message may hold the password
            raise LocalStateError(
                "the URL of the database is not valid: postgresql://USER:PASSWORD@HOST/NAME."
            ) from None
        try:
            with psycopg.connect(self._url, connect_timeout=5) as self._connection, ExitStack() as self._open:
                self._connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
                self._connection.read_only = True
                self._noted = self._read_notes()
                yield self._logs()
                self._ended()
        except psycopg.Error as error:
            raise LocalStateError(f"the database cannot be read as a record: {str(error).strip()}.") from None

    def _read_notes(self) -> list[Head]:
        """Before the first statement, so that the snapshot has all of them."""
        if self._notes is None:
            return []
        from daypass.stores.log_heads import read_heads  # of the server; offline alone

        noted = read_heads(self._notes)
        _, rows = self._query("SELECT value FROM meta WHERE key = 'installation'")
        about_it = bool(read_heads(self._notes, next(rows)[0]))
        return [Head(each.log, each.seq, each.chain) for each in noted if about_it]

    def _known(self) -> list[Head]:
        return self._noted

    def _query(self, sql: str, *values: str) -> tuple[tuple[str, ...], Iterator[tuple[Any, ...]]]:
        self._cursors += 1
        # On the server: rows come as they are read.
        cursor = self._open.enter_context(self._connection.cursor(f"rows_{self._cursors}"))
        cursor.execute(sql.replace("?", "%s"), values)
        return tuple(column.name for column in cursor.description), iter(cursor)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")
