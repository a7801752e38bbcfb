"""Where `audit verify` has the record from: a server's export, or a SQLite file. Every log is verified here.

Openings are read first: each names the heads of the logs before it, so that a log that was cut off, rewritten whole or
removed shows although its own chain holds. Nothing that a row says of itself is believed, not even its type.
"""

from __future__ import annotations

import re
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from daypass.audit.verify import BadRecord, Head, RecordRow, Verified, verify_log
from daypass.cli.options import PAGE
from daypass.client.http import ClientError, Connection, segment
from daypass.client.profiles import LocalStateError

_LOG = re.compile(r"[0-9a-f]{32}")
_ROWS = "SELECT seq, leaf, chain, bytes FROM audit_records WHERE log IS ? ORDER BY seq"


class Record(ABC):
    """All logs of an installation, as far as the reader may see them."""

    def verified(self) -> list[Verified | BadRecord]:
        """The verdict on each log, those included that another log's opening knows and that are not there."""
        with self._opened() as logs:
            known = [head for end in logs.values() if end for head in [end]]
            for log in logs:
                opening = verify_log(log, self._first(log)) if _LOG.fullmatch(log) else None
                known += opening.heads if isinstance(opening, Verified) else ()
            results = [self._judged(log, known) for log in logs]
        lost = {head.log: head.seq for head in sorted(known, key=lambda h: h.seq) if head.log not in logs}
        return results + [
            BadRecord(log, 0, f"missing: the log is known to go on to record {lost[log]}") for log in lost
        ]

    def _judged(self, log: str, known: list[Head]) -> Verified | BadRecord:
        if not _LOG.fullmatch(log):
            return BadRecord(log, 0, "altered: this is no log's id")
        return verify_log(log, self._rows(log), known)

    def _first(self, log: str) -> Iterator[RecordRow]:
        for row in self._rows(log):
            yield row
            return

    @abstractmethod
    def _opened(self) -> Any:
        """A context: the ids of all logs, with the head of each where the source names it."""

    @abstractmethod
    def _rows(self, log: str) -> Iterator[RecordRow]:
        """The records of one log, in order."""


class OnlineRecord(Record):
    """A server's export, as far as it went when we began: logs grow while we read."""

    def __init__(self, connection: Connection, account: str) -> None:
        self._connection, self._account = connection, account
        self._heads: dict[str, Head] = {}

    @contextmanager
    def _opened(self) -> Iterator[dict[str, Head | None]]:
        for log in self._connection.api("GET", "/audit/logs", {"account": self._account})["logs"]:
            try:
                head = Head(log["log"], int(log["seq"]), bytes.fromhex(log["chain"]))
            except (TypeError, ValueError):
                raise _unreadable("a log's head is none") from None
            self._heads[head.log] = head
        yield dict(self._heads)

    def _first(self, log: str) -> Iterator[RecordRow]:
        return iter(self._page(log, -1, 1))

    def _rows(self, log: str) -> Iterator[RecordRow]:
        after, last = -1, self._heads[log].seq
        while after < last:
            page = self._page(log, after, min(PAGE, last - after))
            if not page:
                return
            yield from page
            after = page[-1].seq

    def _page(self, log: str, after: int, limit: int) -> list[RecordRow]:
        query = {"account": self._account, "after": str(after), "limit": str(limit)}
        records = self._connection.api("GET", f"/audit/logs/{segment(log)}/records", query)["records"]
        try:
            return [RecordRow.from_json({n: v for n, v in record.items() if v is not None}) for record in records]
        except (ValueError, TypeError, AttributeError) as error:
            raise _unreadable(str(error)) from None


def _unreadable(why: str) -> ClientError:
    return ClientError("", f"the server's export is not readable: {why}")


class OfflineRecord(Record):
    """A SQLite file, read as it was at one moment; a server may be writing to it."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._connection: sqlite3.Connection | None = None

    @contextmanager
    def _opened(self) -> Iterator[dict[str, Head | None]]:
        try:
            uri = f"file:{quote(str(self._database.absolute()))}?mode=ro"
            with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as self._connection:
                self._connection.text_factory = _text
                self._connection.execute("BEGIN")
                found = self._connection.execute("SELECT DISTINCT log FROM audit_records ORDER BY log").fetchall()
                yield dict.fromkeys(str(log) for (log,) in found)
        except sqlite3.DatabaseError as error:
            raise LocalStateError(f"{self._database} cannot be read as a record: {error}.") from None

    def _rows(self, log: str) -> Iterator[RecordRow]:
        assert self._connection is not None
        for seq, leaf, chain, data in self._connection.execute(_ROWS, (log,)):
            yield RecordRow(
                log,
                seq if type(seq) is int else -1,
                leaf if type(leaf) is bytes else b"",
                chain if type(chain) is bytes else b"",
                data if type(data) is bytes else b"",
            )


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")
