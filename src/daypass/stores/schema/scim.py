"""The tables of SCIM."""

from __future__ import annotations

from sqlalchemy import Index, Table

from daypass.stores.metadata import metadata
from daypass.stores.schema.columns import integer, text

scim_tokens = Table(
    "scim_tokens",
    metadata,
    text("id", key=True),
    text("account"),
    text("user_id"),
    text("name"),
    integer("created_at"),
    integer("expires_at"),
    Index(None, "account", "name", unique=True),
)

scim_resources = Table(
    "scim_resources",
    metadata,
    text("id", key=True),
    text("account"),
    text("resource_type"),
    text("external_id"),
    text("document"),
    integer("version"),
    integer("created_at"),
    integer("updated_at"),
    Index(None, "account", "resource_type", "id"),
    Index(None, "account", "resource_type", "external_id"),
)
