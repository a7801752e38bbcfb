"""The common properties of users, groups and roles as owners of policies: names, look-up and quotas."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from daypass.domain.directory import Group, Role, User
from daypass.operations.crud.operation import Params
from daypass.operations.iam import find, paging
from daypass.operations.iam.context import ReadContext

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
