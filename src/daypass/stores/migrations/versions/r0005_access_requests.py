"""Access requests, votes, grants, approval rules and reviews. A program of the previous release does not need them."""

from __future__ import annotations

from daypass.stores.migrations.definitions import create_index, create_table, unique_of

revision = "0005"
down_revision = "0004"
additive = True

# name, primary key, columns as name:type
_TABLES: tuple[tuple[str, str, str], ...] = (
    (
        "approval_rules",
        "account name",
        "account:text name:text document:text digest:text created_at:int updated_at:int updated_by:text",
    ),
    (
        "access_requests",
        "id",
        (
            "id:text account:text state:text requester_id:text beneficiary_id:text client_token:text document:text "
            "digest:text persons:text created_at:int deadline:int decided_at:int ended_at:int end_reason:text risk:int "
            "risk_reasons:text escalated_at:int"
        ),
    ),
    (
        "access_votes",
        "request_id approver_id",
        (
            "request_id:text approver_id:text account:text approver_arn:text access_key_id:text approve:bool "
            "binding:text stages:text persons:text mfa_at:int at:int document:text"
        ),
    ),
    (
        "grants",
        "id",
        (
            "id:text account:text request_id:text principal_id:text role_id:text role_arn:text policies:text "
            "seconds:int starts_at:int claim_by:int created_at:int role_digest:text rule:text rule_digest:text "
            "approvers:int ticket:text risk:int on_call:bool break_glass:bool max_uses:int uses:int claimed_at:int "
            "ends_at:int ended_at:int end_reason:text warned_at:int"
        ),
    ),
    (
        "access_reviews",
        "id",
        "id:text account:text opened_at:int persons:text closed_at:int closed_by:text finding:text",
    ),
)
# table, columns
_INDEXES: tuple[tuple[str, str], ...] = (
    ("access_requests", "account state id"),
    ("access_requests", "state deadline"),
    ("access_requests", "beneficiary_id id"),
    ("grants", "role_id ended_at"),
    ("grants", "request_id"),
    ("grants", "ended_at account"),
    ("grants", "account id"),
    ("access_reviews", "account closed_at id"),
)


def upgrade() -> None:
    unique = unique_of("access_requests", "account", "requester_id", "client_token")
    for name, primary, columns in _TABLES:
        create_table(name, primary, columns, *([unique] if name == "access_requests" else []))
    for table, indexed in _INDEXES:
        create_index(table, indexed)
