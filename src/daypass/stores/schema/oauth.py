"""The tables of OAuth: clients, resource servers, codes and families of refresh tokens."""

from __future__ import annotations

from sqlalchemy import Index
from sqlalchemy import text as sa_text

from daypass.domain import directory as d
from daypass.stores.schema.columns import entity_table

oauth_clients = entity_table("oauth_clients", d.OAuthClient, "id", Index(None, "account", "id"))

resource_servers = entity_table("resource_servers", d.ResourceServer, "account identifier")

oauth_codes = entity_table("oauth_codes", d.OAuthCode, "purpose id", Index(None, "expires_at"))

refresh_families = entity_table(
    "refresh_families",
    d.RefreshFamily,
    "id",
    Index(None, "expires_at"),
    Index(None, "account", "id"),
    Index(
        None,
        "consent_id",
        sqlite_where=sa_text("consent_id IS NOT NULL"),
        postgresql_where=sa_text("consent_id IS NOT NULL"),
    ),
)
