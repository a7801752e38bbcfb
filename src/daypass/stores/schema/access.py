"""The tables of access requests, votes, grants, approval rules, reviews and notifications."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Index, LargeBinary, Table
from sqlalchemy import UniqueConstraint as Unique

from daypass.stores.metadata import metadata
from daypass.stores.schema.columns import integer, text

approval_rules = Table(
    "approval_rules",
    metadata,
    text("account", key=True),
    text("name", key=True),
    text("document"),
    text("digest"),
    integer("created_at"),
    integer("updated_at"),
    text("updated_by"),
)

access_requests = Table(
    "access_requests",
    metadata,
    text("id", key=True),
    text("account"),
    text("state"),
    text("requester_id"),
    text("beneficiary_id"),
    text("client_token"),
    text("document"),
    text("digest"),
    text("persons"),
    integer("created_at"),
    integer("deadline"),
    integer("decided_at"),
    integer("ended_at"),
    text("end_reason"),
    integer("risk"),
    text("risk_reasons"),
    integer("escalated_at"),
    Unique("account", "requester_id", "client_token"),
    Index(None, "account", "state", "id"),
    Index(None, "state", "deadline"),
    Index(None, "beneficiary_id", "id"),
)

access_votes = Table(
    "access_votes",
    metadata,
    text("request_id", key=True),
    text("approver_id", key=True),
    text("account"),
    text("approver_arn"),
    text("access_key_id"),
    Column("approve", Boolean, nullable=False),
    text("binding"),
    text("stages"),
    text("persons"),
    integer("mfa_at"),
    integer("at"),
    text("document"),
)

grants = Table(
    "grants",
    metadata,
    text("id", key=True),
    text("account"),
    text("request_id"),
    text("principal_id"),
    text("role_id"),
    text("role_arn"),
    text("policies"),
    integer("seconds"),
    integer("starts_at"),
    integer("claim_by"),
    integer("created_at"),
    text("role_digest"),
    text("rule"),
    text("rule_digest"),
    integer("approvers"),
    text("ticket"),
    integer("risk"),
    Column("on_call", Boolean, nullable=False),
    Column("break_glass", Boolean, nullable=False),
    integer("max_uses"),
    integer("uses"),
    integer("claimed_at"),
    integer("ends_at"),
    integer("ended_at"),
    text("end_reason"),
    integer("warned_at"),
    Index(None, "role_id", "ended_at"),
    Index(None, "request_id"),
    Index(None, "ended_at", "account"),
    Index(None, "ended_at", "ends_at"),
    Index(None, "ended_at", "claimed_at", "claim_by"),
    Index(None, "ended_at", "id"),
    Index(None, "account", "id"),
)

access_reviews = Table(
    "access_reviews",
    metadata,
    text("id", key=True),
    text("account"),
    integer("opened_at"),
    text("persons"),
    integer("closed_at"),
    text("closed_by"),
    text("finding"),
    Index(None, "account", "closed_at", "id"),
)

notification_channels = Table(
    "notification_channels",
    metadata,
    text("account", key=True),
    text("name", key=True),
    text("kind"),
    text("target"),
    Column("sealed_secret", LargeBinary, nullable=False),
    text("event_types"),
    integer("created_at"),
    integer("updated_at"),
)

chat_links = Table(
    "chat_links",
    metadata,
    text("account", key=True),
    text("id", key=True),
    text("user_id"),
    text("name"),
    integer("created_at"),
    Index(None, "user_id", "id"),
)

notifications = Table(
    "notifications",
    metadata,
    text("id", key=True),
    text("account"),
    text("channel"),
    text("event"),
    text("document"),
    integer("created_at"),
    text("outcome"),
    integer("attempts"),
    integer("next_at"),
    integer("delivered_at"),
    text("error"),
    Index(None, "outcome", "next_at"),
    Index(None, "outcome", "account", "next_at"),
    Index(None, "account", "id"),
)
