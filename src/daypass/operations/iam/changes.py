"""The steps that all writes share."""

from __future__ import annotations

from typing import Any

from daypass.domain.errors import DaypassError, ErrorKind, replaced
from daypass.operations.iam import faults
from daypass.operations.iam.context import WriteContext


def insert(ctx: WriteContext, entity: Any, taken: DaypassError) -> None:
    """Inserts an entity. Raises `taken` when another one has the name."""
    with replaced(ErrorKind.ALREADY_EXISTS, taken):
        ctx.tx.insert(entity)


def replace(ctx: WriteContext, entity: Any, taken: DaypassError) -> None:
    """Stores an entity under a new name. Raises `taken` when another one has it."""
    with replaced(ErrorKind.ALREADY_EXISTS, taken):
        ctx.tx.replace(entity)


def within_quota(ctx: WriteContext, kind: type[Any], quota: str, limit: int, **equals: Any) -> None:
    """Refuses when there are already `limit` such entities."""
    if ctx.tx.count(kind, **equals) >= limit:
        raise faults.over_quota(quota, limit)
