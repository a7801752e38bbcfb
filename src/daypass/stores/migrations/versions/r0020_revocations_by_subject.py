"""Revocations are found by their subject. A use of a grant looks for those of each person and session that it depends on,
and an account can have thousands.
"""

from __future__ import annotations

from daypass.stores.migrations.definitions import create_index

revision = "0020"
down_revision = "0019"
additive = True


def upgrade() -> None:
    create_index("revocations", "account subject value")
