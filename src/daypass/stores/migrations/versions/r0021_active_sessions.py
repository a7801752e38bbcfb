"""A revocation counts the sessions that it ended by their principal, their original principal and the depth of their chain."""

from __future__ import annotations

from daypass.stores.migrations.definitions import create_index

revision = "0021"
down_revision = "0020"
additive = True


def upgrade() -> None:
    create_index("sessions", "expires_at principal_id root_principal_id depth", name="ix_sessions_active")
