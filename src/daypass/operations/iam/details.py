"""All entities of an account, in pages (GetAccountAuthorizationDetails)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from daypass.domain.directory import Attachment, Group, ManagedPolicy, Role, User
from daypass.operations.crud.operation import Answer, Params
from daypass.operations.iam import access_keys, attachments, builtin, documents, inline, members, policies, roles
from daypass.operations.iam.context import ReadContext
from daypass.operations.iam.owners import Owner
from daypass.operations.iam.paging import fitting, page
from daypass.operations.principals import groups_of

Item: TypeAlias = User | Group | Role | ManagedPolicy
Lister: TypeAlias = Callable[[ReadContext, str, int], Sequence[Item]]

_SCOPE: Final = "details"


def get_account_authorization_details(ctx: ReadContext, p: Params) -> Answer:
    """Users, groups, roles, own policies and attached built-in policies, in this order, each by name."""
    wanted = set(p.get("Filter") or _SECTIONS)
    names: documents.Names = {}

    def fetch(after: str, limit: int) -> Sequence[Item]:
        begun, _, name = after.partition(" ")
        items: list[Item] = []
        for number, (section, lister) in enumerate(_SECTIONS.items()):
            if section in wanted and str(number) >= begun and len(items) < limit:
                items += lister(ctx, name if str(number) == begun else "", limit - len(items))
        return items

    def show(item: Item) -> tuple[str, dict[str, Any]]:
        match item:
            case User():
                return "UserDetailList", _user(ctx, item)
            case Group():
                return "GroupDetailList", _group(ctx, item)
            case Role():
                return "RoleDetailList", _role(ctx, item, names)
            case ManagedPolicy():
                return "Policies", _policy(ctx, item)

    items, more = page(p, _SCOPE, fetch, _place)
    details, more = fitting(items, more, _SCOPE, _place, show)
    lists = ("UserDetailList", "GroupDetailList", "RoleDetailList", "Policies")
    return {**{name: [detail for of, detail in details if of == name] for name in lists}, **more}


def _named(kind: type[Any]) -> Lister:
    def lister(ctx: ReadContext, after: str, limit: int) -> Sequence[Item]:
        items: list[Item] = ctx.tx.find(kind, order="name", after=after, limit=limit, account=ctx.account)
        return items

    return lister


def _attached_builtin(ctx: ReadContext, after: str, limit: int) -> Sequence[Item]:
    return [b for b in ctx.builtin.policies(after) if ctx.tx.count(Attachment, policy_arn=b.arn, account=ctx.account)][
        :limit
    ]


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


def _inline(ctx: ReadContext, owner: Owner) -> list[dict[str, str]]:
    return [
        {"PolicyName": policy.name, "PolicyDocument": members.encoded(policy.document)}
        for policy in inline.of_owner(ctx, owner)
    ]


def _attached(ctx: ReadContext, owner: Owner) -> list[dict[str, str]]:
    return [members.attached(arn) for arn in attachments.of_owner(ctx, owner)]


def _user(ctx: ReadContext, user: User) -> dict[str, Any]:
    own = _inline(ctx, user)
    return {
        **members.user_whole(user),
        **({"UserPolicyList": own} if own else {}),
        "Tags": members.tags(user.tags),
        "GroupList": sorted(group.name for group in groups_of(ctx.tx, user.id)),
        "AttachedManagedPolicies": _attached(ctx, user),
    }


def _group(ctx: ReadContext, group: Group) -> dict[str, Any]:
    return {
        **members.group(group),
        "GroupPolicyList": _inline(ctx, group),
        "AttachedManagedPolicies": _attached(ctx, group),
    }


def _role(ctx: ReadContext, role: Role, names: documents.Names) -> dict[str, Any]:
    hidden = ("MaxSessionDuration", "Description")  # RoleDetail lacks these members
    whole = {**members.role(ctx, role, names), **members.boundary_and_tags(role)}
    return {
        **{name: value for name, value in whole.items() if name not in hidden},
        "Tags": members.tags(role.tags),
        "InstanceProfileList": roles.of_role(ctx, role, names),
        "RolePolicyList": _inline(ctx, role),
        "AttachedManagedPolicies": _attached(ctx, role),
        "RoleLastUsed": access_keys.of_role(ctx, role.id),
    }


def _policy(ctx: ReadContext, policy: ManagedPolicy) -> dict[str, Any]:
    versions = policies.of_policy(ctx, policy)
    return {
        **members.managed_policy(ctx, policy),
        "PolicyVersionList": [
            members.policy_version(version, policy.default_version, document=True) for version in versions
        ],
    }
