"""OAuth: clients, resource servers, codes and families of refresh tokens. It only adds tables."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TEXT as PG_TEXT

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None
additive = True

_TYPES: dict[str, sa.types.TypeEngine[Any]] = {
    "text": sa.Text().with_variant(PG_TEXT(collation="C"), "postgresql"),
    "int": sa.BigInteger(),
    "bool": sa.Boolean(),
    "bytes": sa.LargeBinary(),
}

# name, primary key, columns as name:type
_TABLES = (
    (
        "oauth_clients",
        "id",
        (
            "id:text account:text name:text created_at:int updated_at:int enabled:bool settings:text secrets:text "
            "tags:text"
        ),
    ),
    (
        "resource_servers",
        "account identifier",
        "account:text identifier:text name:text created_at:int updated_at:int settings:text tags:text",
    ),
    (
        "oauth_codes",
        "purpose id",
        (
            "purpose:text id:text account:text client_id:text created_at:int expires_at:int sealed:bytes used_at:int "
            "family:text"
        ),
    ),
    (
        "refresh_families",
        "id",
        (
            "id:text account:text client_id:text principal_id:text created_at:int expires_at:int generation:int "
            "rotated_at:int sealed:bytes last:bytes ended_at:int"
        ),
    ),
)
_INDEXES = (
    ("oauth_clients", ["account", "id"]),
    ("oauth_codes", ["expires_at"]),
    ("refresh_families", ["expires_at"]),
    ("refresh_families", ["account", "id"]),
)


def upgrade() -> None:
    for name, key, columns in _TABLES:
        keys = key.split()
        made = [
            sa.Column(column, _TYPES[kind], nullable=False, autoincrement=False)
            for column, kind in (each.split(":") for each in columns.split())
        ]
        op.create_table(name, *made, sa.PrimaryKeyConstraint(*keys, name=f"pk_{name}"))
    for table, indexed in _INDEXES:
        op.create_index(f"ix_{table}_{'_'.join(indexed)}", table, indexed)
