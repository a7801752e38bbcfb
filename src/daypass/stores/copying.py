"""A logical copy of a database: every row of every table, in one snapshot. The same copy serves both databases.

A copy is a sequence of messages: a header, batches of rows, and an end that counts them. It is read in full before it
counts as complete.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Table, delete, func, insert, select

from daypass.domain.directory import Account
from daypass.stores.columns import metadata
from daypass.stores.entities import ENTITY_TABLES
from daypass.stores.meta import installation
from daypass.stores.migrations import database_format  # importing it adds every table to `metadata`
from daypass.stores.records import audit_records

FORMAT: Final = 1
_BATCH: Final = 500
_LENGTH: Final = 4
_MAX_MESSAGE: Final = 1 << 30


class CopyError(Exception):
    """The copy is incomplete, malformed, or of another schema."""


class Header(msgspec.Struct, frozen=True):
    """The header of a copy. `created_at`: ms; `revision`: of the schema."""

    format: int
    created_at: int
    revision: str
    installation: str
    release: str


class CopiedRows(msgspec.Struct, frozen=True, array_like=True, tag="rows"):
    """Rows of a table: the names of the columns and their values."""

    table: str
    columns: tuple[str, ...]
    rows: list[list[Any]]


class End(msgspec.Struct, frozen=True, array_like=True, tag="end"):
    """The number of rows of each table."""

    rows: dict[str, int]


_header = msgspec.msgpack.Decoder(Header).decode
_message = msgspec.msgpack.Decoder(CopiedRows | End).decode


def write_copy(conn: Connection, now: int, release: str, write: Callable[[bytes], object]) -> dict[str, int]:
    """Writes a copy of the database as this snapshot shows it; returns the number of rows of each table. `now`: ms."""
    revision = database_format(conn)
    header = Header(FORMAT, now, revision, installation(conn), release)
    _send(write, header)
    counts: dict[str, int] = {}
    for table in metadata.sorted_tables:
        name, columns = str(table.name), tuple(str(column.name) for column in table.columns)
        counts[name] = 0
        rows = conn.execute(select(table).execution_options(yield_per=_BATCH))
        for part in rows.partitions(_BATCH):
            _send(write, CopiedRows(name, columns, [[_plain(value) for value in row] for row in part]))
            counts[name] += len(part)
    _send(write, End(counts))
    return counts


def load_copy(conn: Connection, chunks: Iterable[bytes]) -> tuple[Header, dict[str, int]]:
    """Replaces the content of an empty, migrated database by a copy. Raises CopyError; roll back then."""
    messages = _messages(chunks)
    try:
        header = _header(next(messages))
        if header.format != FORMAT:
            raise CopyError(f"the copy has format {header.format}: use the release that made it ({header.release})")
        revision = database_format(conn)
        if header.revision != revision:
            raise CopyError(
                f"the copy has schema revision {header.revision}, this program {revision}: restore it with release "
                f"{header.release}, then upgrade"
            )
        for table in reversed(metadata.sorted_tables):
            conn.execute(delete(table))
        counts = _load_rows(conn, messages)
    except (msgspec.MsgspecError, StopIteration):
        raise CopyError("it is not a copy of a database of Daypass") from None
    return header, counts


def is_empty(conn: Connection) -> bool:
    """Whether a migrated database has no account and no record yet."""
    tables = (ENTITY_TABLES[Account].table, audit_records)
    return not any(conn.execute(select(func.count()).select_from(table)).scalar() for table in tables)


def _load_rows(conn: Connection, messages: Iterator[bytes]) -> dict[str, int]:
    counts = {str(table.name): 0 for table in metadata.sorted_tables}
    for data in messages:
        message = _message(data)
        if isinstance(message, End):
            if message.rows != counts or next(messages, None) is not None:
                raise CopyError("the copy is incomplete: the number of rows differs")
            return counts
        table = metadata.tables.get(message.table)
        if table is None:
            raise CopyError(f"the copy has an unknown table {message.table[:64]!r}")
        _insert(conn, table, message)
        counts[message.table] += len(message.rows)
    raise CopyError("the copy is incomplete: it has no end")


def _insert(conn: Connection, table: Table, batch: CopiedRows) -> None:
    if not set(batch.columns) <= set(table.columns.keys()):
        raise CopyError(f"the copy has unknown columns of table {table.name}")
    if batch.rows:
        conn.execute(insert(table), [dict(zip(batch.columns, row, strict=True)) for row in batch.rows])


def _plain(value: Any) -> Any:
    return bytes(value) if isinstance(value, (memoryview, bytearray)) else value


def _send(write: Callable[[bytes], object], message: msgspec.Struct) -> None:
    data = msgspec.msgpack.encode(message)
    write(len(data).to_bytes(_LENGTH, "big") + data)


def _messages(chunks: Iterable[bytes]) -> Iterator[bytes]:
    buffer = bytearray()
    for chunk in chunks:
        buffer += chunk
        while len(buffer) >= _LENGTH:
            size = int.from_bytes(buffer[:_LENGTH], "big")
            if size > _MAX_MESSAGE:
                raise CopyError("a message of the copy is too large")
            if len(buffer) < _LENGTH + size:
                break
            yield bytes(buffer[_LENGTH : _LENGTH + size])
            del buffer[: _LENGTH + size]
    if buffer:
        raise CopyError("the copy is incomplete: it ends within a message")
