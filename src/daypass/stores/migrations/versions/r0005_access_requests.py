"""Access requests, votes, grants, approval rules and reviews. A program of the previous release does not need them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TEXT as PG_TEXT

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None
additive = True

_TYPES: dict[str, sa.types.TypeEngine[Any]] = {
    "text": sa.Text().with_variant(PG_TEXT(collation="C"), "postgresql"),
    "int": sa.BigInteger(),
    "bool": sa.Boolean(),
}

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
# name, table, columns
_INDEXES: tuple[tuple[str, str, str], ...] = (
    ("ix_access_requests_account_state_id", "access_requests", "account state id"),
    ("ix_access_requests_state_deadline", "access_requests", "state deadline"),
    ("ix_access_requests_beneficiary_id_id", "access_requests", "beneficiary_id id"),
    ("ix_grants_role_id_ended_at", "grants", "role_id ended_at"),
    ("ix_grants_request_id", "grants", "request_id"),
    ("ix_grants_ended_at_account", "grants", "ended_at account"),
    ("ix_grants_account_id", "grants", "account id"),
    ("ix_access_reviews_account_closed_at_id", "access_reviews", "account closed_at id"),
)
_UNIQUE = ("account", "requester_id", "client_token")


def upgrade() -> None:
    for name, primary, columns in _TABLES:
        unique = [sa.UniqueConstraint(*_UNIQUE, name="_".join(("uq", name, *_UNIQUE)))]
        op.create_table(
            name,
            *(_column(*column.split(":")) for column in columns.split()),
            sa.PrimaryKeyConstraint(*primary.split(), name=f"pk_{name}"),
            *(unique if name == "access_requests" else ()),
        )
    for name, table, indexed in _INDEXES:
        op.create_index(name, table, indexed.split())


def _column(name: str, kind: str) -> sa.Column[Any]:
    return sa.Column(name, _TYPES[kind], nullable=False, autoincrement=False)
