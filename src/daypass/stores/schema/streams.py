"""The tables of event streams (Shared Signals Framework) and of the security events in them."""

from __future__ import annotations

from sqlalchemy import Column, Index, LargeBinary, Table

from daypass.stores.metadata import metadata
from daypass.stores.schema.columns import integer, text

event_streams = Table(
    "event_streams",
    metadata,
    text("id", key=True),
    text("account"),
    text("created_by"),
    text("description"),
    text("method"),
    text("endpoint_url"),
    Column("sealed_secret", LargeBinary, nullable=False),
    text("event_types"),
    text("delivery_status"),
    text("reason"),
    integer("position"),
    integer("created_at"),
    integer("updated_at"),
    integer("verified_at"),
    integer("next_at"),
    integer("failures"),
    Index(None, "account", "id"),
    Index(None, "next_at"),
)

removed_subjects = Table(
    "removed_subjects",
    metadata,
    text("stream_id", key=True),
    text("digest", key=True),
    text("account"),
    text("subject"),
    integer("created_at"),
)

security_events = Table(
    "security_events",
    metadata,
    text("id", key=True),
    text("account"),
    text("stream_id"),
    text("event"),
    text("document"),
    integer("created_at"),
    text("outcome"),
    integer("attempts"),
    integer("finished_at"),
    text("error"),
    Index(None, "stream_id", "outcome", "id"),
)
