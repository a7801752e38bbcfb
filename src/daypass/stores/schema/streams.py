"""The tables of event streams (Shared Signals Framework) and of the security events in them."""

from __future__ import annotations

from sqlalchemy import Index

from daypass.domain import directory as d
from daypass.stores.schema.columns import entity_table

event_streams = entity_table("event_streams", d.EventStream, "id", Index(None, "account", "id"), Index(None, "next_at"))

removed_subjects = entity_table("removed_subjects", d.RemovedSubject, "stream_id digest")

security_events = entity_table("security_events", d.SecurityEvent, "id", Index(None, "stream_id", "outcome", "id"))
