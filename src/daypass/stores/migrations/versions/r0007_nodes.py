"""The registry of processes. A program of the previous release does not need it."""

from __future__ import annotations

from daypass.stores.migrations.definitions import create_table

revision = "0007"
down_revision = "0006"
additive = True


def upgrade() -> None:
    create_table("nodes", "id", "id:text name:text started_at:int seen_at:int")
