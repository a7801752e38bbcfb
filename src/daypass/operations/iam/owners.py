"""What users, groups and roles have in common as owners of policies: how each is named, found and limited."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from daypass.domain.directory import Group, Role, User
from daypass.operations.iam import find, quotas
from daypass.operations.iam.work import Look, Params

Owner: TypeAlias = User | Group | Role


@dataclass(frozen=True, slots=True)
class OwnerKind:
    """`word` is how messages call it; `noun` is its part of quota names; `parameter` names it in requests."""

    word: str
    noun: str
    parameter: str
    inline_size: int
    by_name: Callable[[Look, str], Owner]

    def find(self, look: Look, p: Params) -> Owner:
        return self.by_name(look, p[self.parameter])


USER = OwnerKind("user", "User", "UserName", quotas.USER_INLINE_SIZE, find.user)
GROUP = OwnerKind("group", "Group", "GroupName", quotas.GROUP_INLINE_SIZE, find.group)
ROLE = OwnerKind("role", "Role", "RoleName", quotas.ROLE_INLINE_SIZE, find.role)
