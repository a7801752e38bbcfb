"""The tables of last uses, one-time items, revocations, the change feed, keys and the installation."""

from __future__ import annotations

from sqlalchemy import Boolean, CheckConstraint, Column, Index, Integer, LargeBinary, Table
from sqlalchemy import UniqueConstraint as Unique

from daypass.stores.metadata import metadata
from daypass.stores.schema.columns import integer, text

last_uses = Table(
    "last_uses",
    metadata,
    text("subject", key=True),
    text("operation", key=True),
    text("account"),
    integer("at"),
    text("region"),
)

credential_reports = Table(
    "credential_reports",
    metadata,
    text("account", key=True),
    integer("created_at"),
    Column("deflated", LargeBinary, nullable=False),
)

access_reports = Table(
    "access_reports",
    metadata,
    text("id", key=True),
    text("account"),
    text("owner_id"),
    text("arn"),
    text("granularity"),
    integer("created_at"),
    Column("deflated", LargeBinary, nullable=False),
    Index(None, "created_at"),
)

redeemed = Table(
    "redeemed",
    metadata,
    text("purpose", key=True),
    text("id", key=True),
    text("account"),
    integer("at"),
    integer("expires_at"),
    Index(None, "expires_at"),
)

policy_contents = Table(
    "policy_contents",
    metadata,
    text("hash", key=True),
    text("account"),
    text("document"),
    integer("keep_until"),
    Index(None, "keep_until"),
)

revocations = Table(
    "revocations",
    metadata,
    text("id", key=True),
    text("account"),
    text("subject"),
    text("value"),
    integer("issued_before"),
    integer("created_at"),
    integer("position"),
    Column("block", Boolean, nullable=False),
    integer("block_until", null=True),
    text("reason"),
    text("created_by"),
    Index(None, "position"),
    Index(None, "account", "created_at"),
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

ring_keys = Table(
    "ring_keys",
    metadata,
    text("ring", key=True),
    text("id", key=True),
    Column("wrapped", LargeBinary, nullable=False),
    integer("not_before"),
    integer("sign_until"),
    integer("verify_until"),
    integer("created_at"),
    Unique("ring", "not_before"),
)

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
