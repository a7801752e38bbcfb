"""The tables of last uses, one-time items, revocations, the change feed, keys and the installation."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Index, Integer, Table
from sqlalchemy import UniqueConstraint as Unique

from daypass.domain import directory as d
from daypass.ports.ring_keys import StoredKey
from daypass.stores.metadata import metadata
from daypass.stores.schema.columns import entity_table, integer, text

last_uses = entity_table("last_uses", d.LastUse, "subject operation")

credential_reports = entity_table("credential_reports", d.CredentialReport, "account")

access_reports = entity_table("access_reports", d.AccessReport, "id", Index(None, "created_at"))

redeemed = entity_table("redeemed", d.ReplayEntry, "purpose id", Index(None, "expires_at"))

policy_contents = entity_table("policy_contents", d.PolicyContent, "hash", Index(None, "keep_until"))

revocations = entity_table(
    "revocations", d.Revocation, "id", Index(None, "position"), Index(None, "account", "created_at")
)

feed_counter = Table(
    "feed_counter",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    integer("position"),
    integer("pruned"),
    text("incarnation"),  # the database epoch; servers of release 0.1, which run beside newer ones, read this name
    CheckConstraint("id = 1", name="single_row"),
)

feed = Table(
    "feed",
    metadata,
    integer("position", key=True),
    text("kind"),
    text("account"),
    text("keys"),
    integer("at"),
)

ring_keys = entity_table("ring_keys", StoredKey, "ring id", Unique("ring", "not_before"))

meta = Table(
    "meta",
    metadata,
    text("key", key=True),
    text("value"),
)

nodes = Table(
    "nodes",
    metadata,
    text("id", key=True),  # the first log of the process
    text("name"),
    integer("started_at"),
    integer("seen_at"),
)
