"""The few things that every write does in the same way."""

from __future__ import annotations

from typing import Any

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations.iam import faults
from daypass.operations.iam.work import Work


def insert(work: Work, entity: Any, taken: DaypassError) -> None:
    """Inserts, refusing with `taken` where another has the name."""
    _or(taken, work.tx.insert, entity)


def replace(work: Work, entity: Any, taken: DaypassError) -> None:
    """Stores under a changed name, refusing with `taken` where another has it."""
    _or(taken, work.tx.replace, entity)


def _or(taken: DaypassError, act: Any, entity: Any) -> None:
    try:
        act(entity)
    except DaypassError as error:
        if error.kind is ErrorKind.ALREADY_EXISTS:
            raise taken from None
        raise


def within_quota(work: Work, kind: type[Any], quota: str, limit: int, **equals: Any) -> None:
    """Refuses when there are already `limit` entities like these."""
    if work.tx.count(kind, **equals) >= limit:
        raise faults.over_quota(quota, limit)
