"""Everything that is in an account, page by page (GetAccountAuthorizationDetails)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from daypass.domain.directory import Attachment, Group, ManagedPolicy, Role, User
from daypass.operations.iam import (
    attachments,
    builtin,
    documents,
    groups,
    inline,
    instance_profiles,
    last_used,
    policies,
    shapes,
)
from daypass.operations.iam.owners import Owner
from daypass.operations.iam.paging import page
from daypass.operations.iam.work import Answer, Look, Params

Item: TypeAlias = User | Group | Role | ManagedPolicy
Lister: TypeAlias = Callable[[Look, str, int], Sequence[Item]]


def get_account_authorization_details(look: Look, p: Params) -> Answer:
    """Users, groups, roles, own policies and attached built-in ones, in this order and by name in each."""
    wanted = set(p.get("Filter") or _SECTIONS)
    names: documents.Names = {}

    def fetch(after: str, limit: int) -> Sequence[Item]:
        begun, _, name = after.partition(" ")
        found: list[Item] = []
        for number, (section, lister) in enumerate(_SECTIONS.items()):
            if section in wanted and str(number) >= begun and len(found) < limit:
                found += lister(look, name if str(number) == begun else "", limit - len(found))
        return found

    items, more = page(p, "details", fetch, _place)
    shown: dict[str, list[dict[str, Any]]] = {
        "UserDetailList": [_user(look, item) for item in items if isinstance(item, User)],
        "GroupDetailList": [_group(look, item) for item in items if isinstance(item, Group)],
        "RoleDetailList": [_role(look, item, names) for item in items if isinstance(item, Role)],
        "Policies": [_policy(look, item) for item in items if isinstance(item, ManagedPolicy)],
    }
    return {**shown, **more}


def _named(kind: type[Any]) -> Lister:
    def lister(look: Look, after: str, limit: int) -> Sequence[Item]:
        found: list[Item] = look.tx.find(kind, order="name", after=after, limit=limit, account=look.account)
        return found

    return lister


def _attached_builtin(look: Look, after: str, limit: int) -> Sequence[Item]:
    return [
        b for b in look.builtin.policies(after) if look.tx.count(Attachment, policy_arn=b.arn, account=look.account)
    ][:limit]


_SECTIONS: dict[str, Lister] = {
    "User": _named(User),
    "Group": _named(Group),
    "Role": _named(Role),
    "LocalManagedPolicy": _named(ManagedPolicy),
    "AWSManagedPolicy": _attached_builtin,
}
_ORDER = tuple(_SECTIONS)


def _place(item: Item) -> str:
    section, name = type(item).__name__, item.name
    if isinstance(item, ManagedPolicy) and item.account == builtin.ACCOUNT:
        section, name = "AWSManagedPolicy", builtin.place(item)
    elif isinstance(item, ManagedPolicy):
        section = "LocalManagedPolicy"
    return f"{_ORDER.index(section)} {name}"


def _inline(look: Look, owner: Owner) -> list[dict[str, str]]:
    return [shapes.inline_detail(policy) for policy in inline.of_owner(look, owner)]


def _attached(look: Look, owner: Owner) -> list[dict[str, str]]:
    return [shapes.attached(arn) for arn in attachments.of_owner(look, owner)]


def _user(look: Look, user: User) -> dict[str, Any]:
    own = _inline(look, user)
    return {
        **shapes.user_whole(user),
        **({"UserPolicyList": own} if own else {}),
        "Tags": shapes.tags(user.tags),
        "GroupList": sorted(group.name for group in groups.of_user(look, user)),
        "AttachedManagedPolicies": _attached(look, user),
    }


def _group(look: Look, group: Group) -> dict[str, Any]:
    return {
        **shapes.group(group),
        "GroupPolicyList": _inline(look, group),
        "AttachedManagedPolicies": _attached(look, group),
    }


def _role(look: Look, role: Role, names: documents.Names) -> dict[str, Any]:
    hidden = ("MaxSessionDuration", "Description")  # RoleDetail has no such members
    whole = {**shapes.role(look, role, names), **shapes.boundary_and_tags(role)}
    return {
        **{name: value for name, value in whole.items() if name not in hidden},
        "Tags": shapes.tags(role.tags),
        "InstanceProfileList": instance_profiles.of_role(look, role, names),
        "RolePolicyList": _inline(look, role),
        "AttachedManagedPolicies": _attached(look, role),
        "RoleLastUsed": last_used.of_role(look, role.id),
    }


def _policy(look: Look, policy: ManagedPolicy) -> dict[str, Any]:
    versions = policies.of_policy(look, policy)
    return {
        **shapes.managed_policy(look, policy),
        "PolicyVersionList": [
            shapes.policy_version(version, policy.default_version, document=True) for version in versions
        ],
    }
