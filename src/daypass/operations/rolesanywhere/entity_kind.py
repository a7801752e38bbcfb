"""What trust anchors, profiles, CRLs and subjects have in common: pages by id, which is the order of creation, quotas, and
the operations on one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic

from daypass.operations.crud.operation import Answer, Params
from daypass.operations.iam import paging
from daypass.operations.rolesanywhere import faults
from daypass.operations.rolesanywhere.context import RESOURCES, E, ReadContext, WriteContext

_MAX_PAGE = 1_000


def page(ctx: ReadContext, p: Params, kind: type[E]) -> tuple[list[E], Mapping[str, Any]]:
    """Up to pageSize (default 100) entities of the account, and the nextToken member if there are more."""
    size = p.get("pageSize", paging.DEFAULT_ITEMS)
    if not 1 <= size <= _MAX_PAGE:
        raise faults.invalid(f"pageSize must be between 1 and {_MAX_PAGE}.")

    def fetch(after: str, limit: int) -> list[E]:
        return ctx.tx.find(kind, order="id", after=after, limit=limit, account=ctx.account)

    wanted = {"MaxItems": size, "Marker": p.get("nextToken")}
    entities, more = paging.page(wanted, RESOURCES[kind][0], fetch, lambda entity: entity.id)
    return entities, {"nextToken": more["Marker"]} if more["IsTruncated"] else {}


def within_quota(ctx: WriteContext, kind: type[Any], what: str, limit: int, **equals: Any) -> None:
    """Refuses when there are already `limit` such entities."""
    if ctx.tx.count(kind, **equals) >= limit:
        raise faults.invalid(f"The limit of {limit} {what} is reached.")


@dataclass(frozen=True)  # without slots: a generic alias could not create an instance
class EntityKind(Generic[E]):
    """One kind of entity.

    `parameter` has the id of one in a request; `show` is one in an answer, `listed` in a list, whose member is `plural`.
    """

    entity: type[E]
    parameter: str
    plural: str
    show: Callable[[ReadContext, E], Answer]
    listed: Callable[[ReadContext, E], Mapping[str, Any]]

    def find(self, ctx: ReadContext, p: Params) -> E:
        """The named one. Raises NOT_FOUND."""
        return ctx.find(self.entity, p[self.parameter])

    def get(self, ctx: ReadContext, p: Params) -> Answer:
        return self.show(ctx, self.find(ctx, p))

    def list(self, ctx: ReadContext, p: Params) -> Answer:
        entities, more = page(ctx, p, self.entity)
        return {self.plural: [self.listed(ctx, entity) for entity in entities], **more}

    def enable(self, ctx: WriteContext, p: Params) -> Answer:
        return self.store(ctx, replace(self.find(ctx, p), enabled=True))

    def disable(self, ctx: WriteContext, p: Params) -> Answer:
        return self.store(ctx, replace(self.find(ctx, p), enabled=False))

    def delete(self, ctx: WriteContext, p: Params) -> Answer:
        old = self.find(ctx, p)
        ctx.tx.delete(old)
        return self.show(ctx, old)

    def store(self, ctx: WriteContext, changed: E) -> Answer:
        """Stores a change with its time."""
        changed = replace(changed, updated_at=ctx.now)
        ctx.tx.replace(changed)
        return self.show(ctx, changed)
