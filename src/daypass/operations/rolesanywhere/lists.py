"""What trust anchors, profiles and CRLs have in common: pages by id, which is the order of creation, quotas, and changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from daypass.operations.crud.operation import Params
from daypass.operations.iam import paging
from daypass.operations.rolesanywhere import faults
from daypass.operations.rolesanywhere.context import RESOURCES, E, ReadContext, WriteContext

_MOST = 1_000


def page(ctx: ReadContext, p: Params, kind: type[E]) -> tuple[list[E], Mapping[str, Any]]:
    """Up to pageSize (default 100) entities of the account, and the nextToken member if there are more."""
    size = p.get("pageSize", paging.DEFAULT_ITEMS)
    if not 1 <= size <= _MOST:
        raise faults.invalid(f"pageSize must be between 1 and {_MOST}.")

    def fetch(after: str, limit: int) -> list[E]:
        return ctx.tx.find(kind, order="id", after=after, limit=limit, account=ctx.account)

    wanted = {"MaxItems": size, "Marker": p.get("nextToken")}
    found, more = paging.page(wanted, RESOURCES[kind][0], fetch, lambda entity: entity.id)
    return found, {"nextToken": more["Marker"]} if more["IsTruncated"] else {}


def within_quota(ctx: WriteContext, kind: type[Any], what: str, limit: int, **equals: Any) -> None:
    """Refuses when there are already `limit` such entities."""
    if ctx.tx.count(kind, **equals) >= limit:
        raise faults.invalid(f"The limit of {limit} {what} is reached.")


def store(ctx: WriteContext, changed: E) -> E:
    """Stores a change, and returns the entity with its time."""
    changed = replace(changed, updated_at=ctx.now)
    ctx.tx.replace(changed)
    return changed
