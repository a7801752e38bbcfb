"""Pages of a list in the order of ids, which is that of making; and how much of everything an account may hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from daypass.operations.iam import paging
from daypass.operations.rolesanywhere import faults
from daypass.operations.rolesanywhere.work import RESOURCES, E, Look, Params, Work

_MOST = 1_000


def page(look: Look, p: Params, kind: type[E]) -> tuple[list[E], Mapping[str, Any]]:
    """Up to pageSize (default 100) entities of the account, and the nextToken member if there are more."""
    size = p.get("pageSize", paging.DEFAULT_ITEMS)
    if not 1 <= size <= _MOST:
        raise faults.invalid(f"pageSize must be between 1 and {_MOST}.")

    def fetch(after: str, limit: int) -> list[E]:
        return look.tx.find(kind, order="id", after=after, limit=limit, account=look.account)

    wanted = {"MaxItems": size, "Marker": p.get("nextToken")}
    found, more = paging.page(wanted, RESOURCES[kind][0], fetch, lambda entity: entity.id)
    return found, {"nextToken": more["Marker"]} if more["IsTruncated"] else {}


def within_quota(work: Work, kind: type[Any], what: str, limit: int, **equals: Any) -> None:
    """Refuses when there are already `limit` entities like these."""
    if work.tx.count(kind, **equals) >= limit:
        raise faults.invalid(f"The limit of {limit} {what} is reached.")
