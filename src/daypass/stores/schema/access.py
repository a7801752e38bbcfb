"""The tables of access requests, votes, grants, approval rules, reviews and notifications."""

from __future__ import annotations

from sqlalchemy import Index
from sqlalchemy import UniqueConstraint as Unique

from daypass.domain import directory as d
from daypass.stores.schema.columns import entity_table

approval_rules = entity_table("approval_rules", d.ApprovalRule, "account name")

access_requests = entity_table(
    "access_requests",
    d.AccessRequest,
    "id",
    Unique("account", "requester_id", "client_token"),
    Index(None, "account", "state", "id"),
    Index(None, "state", "deadline"),
    Index(None, "beneficiary_id", "id"),
)

access_votes = entity_table("access_votes", d.AccessVote, "request_id approver_id")

grants = entity_table(
    "grants",
    d.Grant,
    "id",
    Index(None, "role_id", "ended_at"),
    Index(None, "request_id"),
    Index(None, "ended_at", "account"),
    Index(None, "ended_at", "ends_at"),
    Index(None, "ended_at", "claimed_at", "claim_by"),
    Index(None, "ended_at", "id"),
    Index(None, "account", "id"),
)

access_reviews = entity_table("access_reviews", d.AccessReview, "id", Index(None, "account", "closed_at", "id"))

notification_channels = entity_table("notification_channels", d.NotificationChannel, "account name")

chat_links = entity_table("chat_links", d.ChatLink, "account id", Index(None, "user_id", "id"))

notifications = entity_table(
    "notifications",
    d.Notification,
    "id",
    Index(None, "outcome", "next_at"),
    Index(None, "outcome", "account", "next_at"),
    Index(None, "account", "id"),
)
