"""The column types of the tables."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Text
from sqlalchemy.dialects.postgresql import TEXT as PG_TEXT

String = Text().with_variant(PG_TEXT(collation="C"), "postgresql")


def text(name: str, *, key: bool = False, null: bool = False) -> Column[str]:
    return Column(name, String, primary_key=key, nullable=null)


def integer(name: str, *, key: bool = False, null: bool = False) -> Column[int]:
    return Column(name, BigInteger, primary_key=key, nullable=null, autoincrement=False)
