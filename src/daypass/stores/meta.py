"""Facts about the installation: short texts by name. It must not contain secrets."""

from __future__ import annotations

import json
from collections.abc import Sequence

from sqlalchemy import Connection, select, update

from daypass.stores.dialect import insert_if_absent
from daypass.stores.log_heads import LogHead
from daypass.stores.schema import meta

LOST_HEADS = "lost_heads"
"""Heads of logs that the database lacks, as JSON [[log, seq, chain in hex], …], until a log's opening names them."""
MISSING_EVENTS = "missing_events"
"""How many acknowledged records were found missing at starts, in all."""
INSTALLATION = "installation"
"""The random id of this installation, made with its schema: 32 hex digits."""


def get_meta(conn: Connection, key: str) -> str | None:
    """The text under `key`, or None."""
    return conn.execute(select(meta.c.value).where(meta.c.key == key)).scalar_one_or_none()


def put_meta(conn: Connection, key: str, value: str) -> None:
    """Stores `value` under `key` and replaces any previous value."""
    if not insert_if_absent(conn, meta, {"key": key, "value": value}):
        conn.execute(update(meta).where(meta.c.key == key).values(value=value))


def installation(conn: Connection) -> str:
    """The id of this installation."""
    return str(conn.execute(select(meta.c.value).where(meta.c.key == INSTALLATION)).scalar_one())


def note_lost(conn: Connection, heads: Sequence[LogHead], missing: int) -> None:
    """Stores the heads found missing at start, for the next log to name. `missing`: number of records."""
    stored = json.loads(get_meta(conn, LOST_HEADS) or "[]")
    put_meta(conn, LOST_HEADS, json.dumps([*stored, *([head.log, head.seq, head.chain.hex()] for head in heads)]))
    put_meta(conn, MISSING_EVENTS, str(missing_events(conn) + missing))


def take_lost(conn: Connection) -> list[LogHead]:
    """Returns and removes the heads that `note_lost` stored."""
    stored = json.loads(get_meta(conn, LOST_HEADS) or "[]")
    if stored:
        put_meta(conn, LOST_HEADS, "[]")
    return [LogHead(log, seq, bytes.fromhex(chain)) for log, seq, chain in stored]


def missing_events(conn: Connection) -> int:
    """How many acknowledged records were found missing at starts, in all."""
    return int(get_meta(conn, MISSING_EVENTS) or 0)
