"""Resources of SCIM whose user or group was deleted by IAM: lists counted them. Now they are deleted with it."""

from __future__ import annotations

from alembic import op

revision = "0019"
down_revision = "0018"
additive = True


def upgrade() -> None:
    op.execute(
        "DELETE FROM scim_resources WHERE id NOT IN (SELECT id FROM users) AND id NOT IN (SELECT id FROM groups)"
    )
