"""The common properties of users, groups and roles as owners of policies: names, look-up and quotas."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, TypeVar

from daypass.domain.directory import Group, InstanceProfile, Role, User
from daypass.operations.crud import Answer, Params
from daypass.operations.iam import context, faults, find, paging
from daypass.operations.iam.context import ReadContext, WriteContext
from daypass.operations.iam.paging import page

Owner: TypeAlias = User | Group | Role


@dataclass(frozen=True, slots=True)
class OwnerKind:
    """`word` is its name in messages; `noun` is its part of quota names; `parameter` names it in requests."""

    word: str
    noun: str
    parameter: str
    inline_size: int
    by_name: Callable[[ReadContext, str], Owner]

    def find(self, ctx: ReadContext, p: Params) -> Owner:
        return self.by_name(ctx, p[self.parameter])


USER = OwnerKind("user", "User", "UserName", paging.USER_INLINE_SIZE, find.user)
GROUP = OwnerKind("group", "Group", "GroupName", paging.GROUP_INLINE_SIZE, find.group)
ROLE = OwnerKind("role", "Role", "RoleName", paging.ROLE_INLINE_SIZE, find.role)


# --- Lists by name, new names, and what keeps an entity from being deleted


N = TypeVar("N", User, Group, Role, InstanceProfile)
M = TypeVar("M", User, Group)


def page_by_name(
    ctx: ReadContext, p: Params, kind: type[N], scope: str, **wanted: Any
) -> tuple[list[N], dict[str, Any]]:
    """One page of the account's entities of a kind, by name, and its IsTruncated and Marker members.

    `scope`: see `paging.page`. `wanted`: further values that they have; by default, the path prefix of the request.
    """
    values = wanted or {"path_prefix": p.get("PathPrefix") or ""}

    def fetch(after: str, limit: int) -> list[N]:
        return ctx.tx.find(kind, order="name", after=after, limit=limit, account=ctx.account, **values)

    return page(p, scope, fetch, lambda entity: entity.name)


def rename(ctx: WriteContext, p: Params, entity: M, kind: str) -> Answer:
    """Gives a user or a group the new name and path of a request. `kind`: "User" or "Group"."""
    name = p.get(f"New{kind}Name") or entity.name
    context.replace(
        ctx, replace(entity, name=name, path=context.path_of(p, "NewPath", entity.path)), faults.exists(kind, name)
    )
    return {}


def check_unused(ctx: ReadContext, entity_id: str, uses: Iterable[tuple[type[Any], str, str]]) -> None:
    """Raises DELETE_CONFLICT while rows of these kinds refer to the entity. `uses`: the kind, what the caller must do
    first, and the field that has the entity's id.
    """
    for kind, what, field in uses:
        if ctx.tx.count(kind, account=ctx.account, **{field: entity_id}):
            raise faults.must_first(what)
