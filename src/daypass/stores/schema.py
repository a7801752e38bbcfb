"""The tables of change feed, keys and installation. `entities` declares those of the directory, `records` those of the audit
record. Text sorts by code point on both databases.
"""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Integer, Table, UniqueConstraint

from daypass.ports.directory import StoredKey
from daypass.stores.columns import entity_table, integer, metadata, text

feed_counter = Table(
    "feed_counter",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    integer("position"),
    integer("pruned"),
    text("epoch"),  # the database epoch
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

ring_keys = entity_table("ring_keys", StoredKey, "ring id", UniqueConstraint("ring", "not_before"))

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
