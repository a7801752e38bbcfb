"""The tables of SCIM."""

from __future__ import annotations

from sqlalchemy import Index

from daypass.domain import directory as d
from daypass.stores.schema.columns import entity_table

scim_tokens = entity_table("scim_tokens", d.ScimToken, "id", Index(None, "account", "name", unique=True))

scim_resources = entity_table(
    "scim_resources",
    d.ScimResource,
    "id",
    Index(None, "account", "resource_type", "id"),
    Index(None, "account", "resource_type", "external_id"),
)
