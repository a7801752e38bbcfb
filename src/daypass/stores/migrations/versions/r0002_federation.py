"""Identity providers, one-time things, and the rest of IAM. Written out here: it is history once released."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TEXT as PG_TEXT

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_TYPES: dict[str, sa.types.TypeEngine[Any]] = {
    "text": sa.Text().with_variant(PG_TEXT(collation="C"), "postgresql"),
    "int": sa.BigInteger(),
    "small": sa.Integer(),
    "bool": sa.Boolean(),
    "bytes": sa.LargeBinary(),
}

# name, primary key, columns as name:type[:null]
_TABLES: tuple[tuple[str, str, str], ...] = (
    (
        "oidc_providers",
        "account url",
        "account:text url:text created_at:int client_ids:text thumbprints:text tags:text settings:text",
    ),
    (
        "saml_providers",
        "id",
        (
            "id:text account:text name:text name_key:text created_at:int valid_until:int metadata:text tags:text "
            "encryption_mode:text:null private_keys:text settings:text"
        ),
    ),
    (
        "redeemed",
        "purpose id",
        "purpose:text id:text account:text at:int expires_at:int",
    ),
)

# table, columns
_UNIQUES: tuple[tuple[str, ...], ...] = (("saml_providers", "account", "name_key"),)
# name, table, columns
_INDEXES: tuple[tuple[str, str, str], ...] = (("ix_redeemed_expires_at", "redeemed", "expires_at"),)


def upgrade() -> None:
    for name, primary, columns in _TABLES:
        op.create_table(
            name,
            *(_column(*column.split(":")) for column in columns.split()),
            sa.PrimaryKeyConstraint(*primary.split(), name=f"pk_{name}"),
            *(
                sa.UniqueConstraint(*unique, name="_".join(("uq", table, *unique)))
                for table, *unique in _UNIQUES
                if table == name
            ),
        )
    for name, table, indexed in _INDEXES:
        op.create_index(name, table, indexed.split())


def _column(name: str, kind: str, null: str = "") -> sa.Column[Any]:
    return sa.Column(name, _TYPES[kind], nullable=bool(null), autoincrement=False)
