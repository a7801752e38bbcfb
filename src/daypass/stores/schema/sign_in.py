"""The tables of sign-in by browser: sessions, passkeys and recovery codes."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Index, LargeBinary, Table

from daypass.stores.metadata import metadata
from daypass.stores.schema.columns import integer, text

browser_sessions = Table(
    "browser_sessions",
    metadata,
    text("id", key=True),
    text("session_id"),
    text("account"),
    text("principal_id"),
    integer("created_at"),
    integer("used_at"),
    integer("expires_at"),
    text("access_key_id"),
    text("token"),
    text("source_ip"),
    text("user_agent"),
    text("proof"),
    Index(None, "account", "principal_id"),
    Index(None, "expires_at"),
)

passkeys = Table(
    "passkeys",
    metadata,
    text("id", key=True),
    text("account"),
    text("user_id"),
    text("name"),
    integer("created_at"),
    Column("public_key", LargeBinary, nullable=False),
    integer("sign_count"),
    text("aaguid"),
    text("transports"),
    Column("backed_up", Boolean, nullable=False),
    integer("used_at"),
    integer("blocked_at"),
    Index(None, "user_id", "name", unique=True),
)

recovery_codes = Table(
    "recovery_codes",
    metadata,
    text("user_id", key=True),
    text("digest", key=True),
    text("account"),
    integer("created_at"),
)

consents = Table(
    "consents",
    metadata,
    text("id", key=True),
    text("account"),
    text("person_id"),
    text("client_id"),
    integer("created_at"),
    integer("expires_at"),
    text("role"),
    text("scope"),
    text("audiences"),
    Index(None, "account", "person_id"),
    Index(None, "expires_at"),
)
