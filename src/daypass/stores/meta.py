"""Facts about the installation: small texts by name. It must hold no secret."""

from __future__ import annotations

from sqlalchemy import Connection, select, update

from daypass.stores.dialect import insert_if_absent
from daypass.stores.schema import meta

INSTALLATION = "installation"
"""The random id of this installation, made with its schema: 32 hex digits."""


def get_meta(conn: Connection, key: str) -> str | None:
    """The text under `key`, or None."""
    return conn.execute(select(meta.c.value).where(meta.c.key == key)).scalar_one_or_none()


def put_meta(conn: Connection, key: str, value: str) -> None:
    """Stores `value` under `key`, over what was there."""
    if not insert_if_absent(conn, meta, {"key": key, "value": value}):
        conn.execute(update(meta).where(meta.c.key == key).values(value=value))


def put_meta_once(conn: Connection, key: str, value: str) -> str:
    """Stores `value` unless there is one; the value that stands afterwards. Of two processes the first one wins."""
    insert_if_absent(conn, meta, {"key": key, "value": value})
    return str(conn.execute(select(meta.c.value).where(meta.c.key == key)).scalar_one())


def installation(conn: Connection) -> str:
    """The id of this installation."""
    return str(conn.execute(select(meta.c.value).where(meta.c.key == INSTALLATION)).scalar_one())
