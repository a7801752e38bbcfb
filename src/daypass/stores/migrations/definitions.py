"""How the migrations write down tables and indexes. A released migration never changes, so nothing here changes its meaning."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TEXT as PG_TEXT

TEXT: Final[sa.types.TypeEngine[str]] = sa.Text().with_variant(PG_TEXT(collation="C"), "postgresql")
_TYPES: Final[dict[str, sa.types.TypeEngine[Any]]] = {
    "text": TEXT,
    "int": sa.BigInteger(),
    "small": sa.Integer(),
    "bool": sa.Boolean(),
    "bytes": sa.LargeBinary(),
}


def create_table(name: str, primary: str, columns: str, *constraints: sa.Constraint) -> None:
    """`primary`: the columns of the primary key. `columns`: each as name:type, and `:null` if it may be NULL."""
    op.create_table(
        name,
        *(_column(*column.split(":")) for column in columns.split()),
        sa.PrimaryKeyConstraint(*primary.split(), name=f"pk_{name}"),
        *constraints,
    )


def _column(name: str, kind: str, null: str = "") -> sa.Column[Any]:
    return sa.Column(name, _TYPES[kind], nullable=bool(null), autoincrement=False)


def unique_of(table: str, *columns: str) -> sa.UniqueConstraint:
    return sa.UniqueConstraint(*columns, name="_".join(("uq", table, *columns)))


def create_index(table: str, columns: str, condition: str = "", *, name: str = "", unique: bool = False) -> None:
    """`name`: by default from the table and the columns. `condition`: of the rows in the index; "" for all."""
    where = sa.text(condition) if condition else None
    name = name or "_".join(("ix", table, *columns.split()))
    op.create_index(name, table, columns.split(), unique=unique, sqlite_where=where, postgresql_where=where)
