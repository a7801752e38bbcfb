"""The columns of the tables, and the one MetaData on which every table of Daypass is declared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import TEXT as PG_TEXT
from sqlalchemy.schema import SchemaItem
from sqlalchemy.types import TypeEngine

from daypass.ports.directory import StoredKey

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

String = Text().with_variant(PG_TEXT(collation="C"), "postgresql")
_TYPES: Final[Mapping[str, TypeEngine[Any]]] = {"int": BigInteger(), "bool": Boolean(), "bytes": LargeBinary()}


def text(name: str, *, key: bool = False, null: bool = False) -> Column[str]:
    return Column(name, String, primary_key=key, nullable=null)


def integer(name: str, *, key: bool = False, null: bool = False) -> Column[int]:
    return Column(name, BigInteger, primary_key=key, nullable=null, autoincrement=False)


def entity_table(name: str, entity: type[Any], key: str, *more: SchemaItem) -> Table:
    """The table of an entity, with a column for each of its fields. A field that is neither an integer, a truth value nor
    bytes is text. `key`: the fields of the primary key. `more`: constraints, and columns that are not fields.

    A field without its migration fails the test that compares the tables with a migrated database.
    """
    columns = []
    for field in fields(entity):
        kind = str(field.type)
        column_type = _TYPES.get(kind.removesuffix(" | None"), String)
        primary, null = field.name in key.split(), kind.endswith(" | None")
        columns.append(Column(field.name, column_type, primary_key=primary, nullable=null, autoincrement=False))
    return Table(name, metadata, *columns, *more)


# --- The tables of change feed, keys and installation


feed_counter = Table(
    "feed_counter",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    integer("position"),
    integer("pruned"),
    text("epoch"),  # the database epoch
    CheckConstraint("id = 1", name="single_row"),
)

feed = Table(
    "feed", metadata, integer("position", key=True), text("kind"), text("account"), text("keys"), integer("at")
)

ring_keys = entity_table("ring_keys", StoredKey, "ring id", UniqueConstraint("ring", "not_before"))

meta = Table("meta", metadata, text("key", key=True), text("value"))

nodes = Table(
    "nodes",
    metadata,
    text("id", key=True),  # the first log of the process
    text("name"),
    integer("started_at"),
    integer("seen_at"),
)
