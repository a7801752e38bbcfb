"""The tables of OAuth: clients, resource servers, codes and families of refresh tokens."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Index, LargeBinary, Table
from sqlalchemy import text as sa_text

from daypass.stores.metadata import metadata
from daypass.stores.schema.columns import integer, text

oauth_clients = Table(
    "oauth_clients",
    metadata,
    text("id", key=True),
    text("account"),
    text("name"),
    integer("created_at"),
    integer("updated_at"),
    Column("enabled", Boolean, nullable=False),
    text("settings"),
    text("secrets"),
    text("tags"),
    Index(None, "account", "id"),
)

resource_servers = Table(
    "resource_servers",
    metadata,
    text("account", key=True),
    text("identifier", key=True),
    text("name"),
    integer("created_at"),
    integer("updated_at"),
    text("settings"),
    text("tags"),
)

oauth_codes = Table(
    "oauth_codes",
    metadata,
    text("purpose", key=True),
    text("id", key=True),
    text("account"),
    text("client_id"),
    integer("created_at"),
    integer("expires_at"),
    Column("sealed", LargeBinary, nullable=False),
    integer("used_at"),
    text("family"),
    Index(None, "expires_at"),
)

refresh_families = Table(
    "refresh_families",
    metadata,
    text("id", key=True),
    text("account"),
    text("client_id"),
    text("principal_id"),
    integer("created_at"),
    integer("expires_at"),
    integer("generation"),
    integer("rotated_at"),
    Column("sealed", LargeBinary, nullable=False),
    Column("last", LargeBinary, nullable=False),
    integer("ended_at"),
    text("consent_id", null=True),
    Index(None, "expires_at"),
    Index(None, "account", "id"),
    Index(
        None,
        "consent_id",
        sqlite_where=sa_text("consent_id IS NOT NULL"),
        postgresql_where=sa_text("consent_id IS NOT NULL"),
    ),
)
