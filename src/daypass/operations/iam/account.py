"""The account as a whole: its entities and quotas, its alias, and its requirements for passwords."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, TypeAlias

from daypass.domain.directory import (
    AccessKey,
    AccountAlias,
    Attachment,
    Group,
    InstanceProfile,
    ManagedPolicy,
    MfaDevice,
    OidcProvider,
    OutboundFederation,
    PasswordPolicy,
    PolicyVersion,
    Role,
    SamlProvider,
    User,
)
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations.crud import Answer, Params
from daypass.operations.iam import (
    access_keys,
    attachments,
    builtin,
    context,
    documents,
    faults,
    paging,
    policies,
    roles,
)
from daypass.operations.iam import attachments as inline
from daypass.operations.iam.context import ReadContext, WriteContext
from daypass.operations.iam.owners import Owner
from daypass.operations.iam.paging import fitting, page, page_of
from daypass.operations.principals import groups_of
from daypass.ports import Ids


def get_account_summary(ctx: ReadContext, _p: Params) -> Answer:
    def count(kind: type[Any], **equals: Any) -> int:
        return ctx.tx.count(kind, account=ctx.account, **equals)

    summary = {
        "Users": count(User),
        "UsersQuota": paging.USERS_PER_ACCOUNT,
        "Groups": count(Group),
        "GroupsQuota": paging.GROUPS_PER_ACCOUNT,
        "Roles": count(Role),
        "RolesQuota": paging.ROLES_PER_ACCOUNT,
        "Policies": count(ManagedPolicy),
        "PoliciesQuota": paging.POLICIES_PER_ACCOUNT,
        "PolicyVersionsInUse": count(PolicyVersion),
        "PolicyVersionsInUseQuota": paging.POLICIES_PER_ACCOUNT * paging.VERSIONS_PER_POLICY,
        "VersionsPerPolicyQuota": paging.VERSIONS_PER_POLICY,
        "PolicySizeQuota": paging.MANAGED_POLICY_SIZE,
        "UserPolicySizeQuota": paging.USER_INLINE_SIZE,
        "GroupPolicySizeQuota": paging.GROUP_INLINE_SIZE,
        "RolePolicySizeQuota": paging.ROLE_INLINE_SIZE,
        "AssumeRolePolicySizeQuota": paging.TRUST_POLICY_SIZE,
        "AttachedPoliciesPerUserQuota": paging.POLICIES_PER_ENTITY,
        "AttachedPoliciesPerGroupQuota": paging.POLICIES_PER_ENTITY,
        "AttachedPoliciesPerRoleQuota": paging.POLICIES_PER_ENTITY,
        "GroupsPerUserQuota": paging.GROUPS_PER_USER,
        "AccessKeysPerUserQuota": paging.ACCESS_KEYS_PER_USER,
        "AccountAccessKeysPresent": min(1, count(AccessKey, owner_id=ctx.account)),
        "AccountPasswordPresent": 0,
        "AccountMFAEnabled": min(1, count(MfaDevice, owner_id=ctx.account)),
        "AccountSigningCertificatesPresent": 0,
        "MFADevices": count(MfaDevice),
        "MFADevicesInUse": count(MfaDevice) - count(MfaDevice, owner_id=None),
        "InstanceProfiles": count(InstanceProfile),
        "InstanceProfilesQuota": paging.INSTANCE_PROFILES_PER_ACCOUNT,
        "Providers": count(OidcProvider) + count(SamlProvider),
        "ServerCertificates": 0,
        "ServerCertificatesQuota": 0,
        "SigningCertificatesPerUserQuota": 0,
        "GlobalEndpointTokenVersion": 2,
    }
    return {"SummaryMap": summary}


# --- The alias: at most one, unique in the installation -----------------------------------------------------------


def create_account_alias(ctx: WriteContext, p: Params) -> Answer:
    """A new alias replaces the old one: observed behaviour of AWS."""
    alias = AccountAlias(p["AccountAlias"], ctx.account, ctx.now)
    taken = faults.already_exists(f"The account alias {alias.alias} already exists.")
    if ctx.tx.get(AccountAlias, alias=alias.alias) is not None:
        raise taken
    former = ctx.tx.get(AccountAlias, account=ctx.account)
    if former is not None:
        ctx.tx.delete(former)
    context.insert(ctx, alias, taken)
    return {}


def list_account_aliases(ctx: ReadContext, p: Params) -> Answer:
    account_aliases = ctx.tx.find(AccountAlias, account=ctx.account)
    shown, more = page_of(p, "account-aliases", [alias.alias for alias in account_aliases], str)
    return {"AccountAliases": shown, **more}


def delete_account_alias(ctx: WriteContext, p: Params) -> Answer:
    """The request must name the account's current alias."""
    account_alias = ctx.tx.get(AccountAlias, account=ctx.account)
    if account_alias is None or account_alias.alias != p["AccountAlias"]:
        raise faults.not_found(f"The account alias {p['AccountAlias']} cannot be found.")
    ctx.tx.delete(account_alias)
    return {}


# --- Passwords: without its own policy, AWS's default applies (see `passwords`) ------------------------------------


def update_account_password_policy(ctx: WriteContext, p: Params) -> Answer:
    """Replaces the whole policy: values that are not given get their defaults, as in AWS."""
    policy = PasswordPolicy(
        account=ctx.account,
        minimum_length=int(p.get("MinimumPasswordLength") or 6),
        require_symbols=bool(p.get("RequireSymbols")),
        require_numbers=bool(p.get("RequireNumbers")),
        require_uppercase=bool(p.get("RequireUppercaseCharacters")),
        require_lowercase=bool(p.get("RequireLowercaseCharacters")),
        users_may_change=bool(p.get("AllowUsersToChangePassword")),
        max_age_days=p.get("MaxPasswordAge"),
        reuse_prevention=p.get("PasswordReusePrevention"),
        hard_expiry=p.get("HardExpiry"),
    )
    if ctx.tx.get(PasswordPolicy, account=ctx.account) is None:
        ctx.tx.insert(policy)
    else:
        ctx.tx.replace(policy)
    return {}


def get_account_password_policy(ctx: ReadContext, _p: Params) -> Answer:
    policy = ctx.tx.get(PasswordPolicy, account=ctx.account)
    if policy is None:
        raise faults.not_found(f"The Password Policy with domain name {ctx.account} cannot be found.")
    return {"PasswordPolicy": _policy_members(policy)}


def _policy_members(policy: PasswordPolicy) -> dict[str, Any]:
    whether_set = {
        "MaxPasswordAge": policy.max_age_days,
        "PasswordReusePrevention": policy.reuse_prevention,
        "HardExpiry": policy.hard_expiry,
    }
    return {
        "MinimumPasswordLength": policy.minimum_length,
        "RequireSymbols": policy.require_symbols,
        "RequireNumbers": policy.require_numbers,
        "RequireUppercaseCharacters": policy.require_uppercase,
        "RequireLowercaseCharacters": policy.require_lowercase,
        "AllowUsersToChangePassword": policy.users_may_change,
        "ExpirePasswords": policy.max_age_days is not None,
        **{name: value for name, value in whether_set.items() if value is not None},
    }


def delete_account_password_policy(ctx: WriteContext, _p: Params) -> Answer:
    policy = ctx.tx.get(PasswordPolicy, account=ctx.account)
    if policy is None:
        raise faults.not_found("The account policy with name PasswordPolicy cannot be found.")
    ctx.tx.delete(policy)
    return {}


# --- Outbound


PLACE: Final = "outbound"
"""The path below which the issuers of all accounts are."""


def gather(ctx: ReadContext, _p: Params, ids: Ids) -> tuple[str, str]:
    """The installation's address, and a new id in case the account has none yet."""
    return ctx.public_url, ids.request()


def enable_outbound_web_identity_federation(ctx: WriteContext, _p: Params) -> Answer:
    federation = _of_account(ctx)
    if federation is not None and federation.enabled:
        message = "Outbound web identity federation is already enabled for this account."
        raise DaypassError(ErrorKind.FEATURE_ENABLED, message)
    public_url, new_id = ctx.gathered
    enabled = OutboundFederation(
        ctx.account, federation.issuer_id if federation is not None else new_id, enabled=True, changed_at=ctx.now
    )
    if federation is None:
        ctx.tx.insert(enabled)
    else:
        ctx.tx.replace(enabled)
    return {"IssuerIdentifier": issuer(public_url, enabled)}


def disable_outbound_web_identity_federation(ctx: WriteContext, _p: Params) -> Answer:
    ctx.tx.replace(replace(_enabled(ctx), enabled=False, changed_at=ctx.now))
    return {}


def get_outbound_web_identity_federation_info(ctx: ReadContext, _p: Params) -> Answer:
    return {"IssuerIdentifier": issuer(ctx.public_url, _enabled(ctx)), "JwtVendingEnabled": True}


def issuer(public_url: str, federation: OutboundFederation) -> str:
    """The issuer of an account's tokens: a URL of this installation."""
    return f"{public_url}/{PLACE}/{federation.issuer_id}"


def _of_account(ctx: ReadContext) -> OutboundFederation | None:
    return ctx.tx.get(OutboundFederation, account=ctx.account)


def _enabled(ctx: ReadContext) -> OutboundFederation:
    federation = _of_account(ctx)
    if federation is None or not federation.enabled:
        message = "Outbound web identity federation is not enabled for this account."
        raise DaypassError(ErrorKind.FEATURE_DISABLED, message)
    return federation


# --- All entities of an account, in pages (GetAccountAuthorizationDetails)


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
        {"PolicyName": policy.name, "PolicyDocument": documents.encoded(policy.document)}
        for policy in inline.inline_of(ctx, owner)
    ]


def _attached(ctx: ReadContext, owner: Owner) -> list[dict[str, str]]:
    return [documents.attached(arn) for arn in attachments.of_owner(ctx, owner)]


def _user(ctx: ReadContext, user: User) -> dict[str, Any]:
    own = _inline(ctx, user)
    return {
        **documents.user_whole(user),
        **({"UserPolicyList": own} if own else {}),
        "Tags": documents.tags(user.tags),
        "GroupList": sorted(group.name for group in groups_of(ctx.tx, user.id)),
        "AttachedManagedPolicies": _attached(ctx, user),
    }


def _group(ctx: ReadContext, group: Group) -> dict[str, Any]:
    return {
        **documents.group(group),
        "GroupPolicyList": _inline(ctx, group),
        "AttachedManagedPolicies": _attached(ctx, group),
    }


def _role(ctx: ReadContext, role: Role, names: documents.Names) -> dict[str, Any]:
    hidden = ("MaxSessionDuration", "Description")  # RoleDetail lacks these members
    whole = {**documents.role(ctx, role, names), **documents.boundary_and_tags(role)}
    return {
        **{name: value for name, value in whole.items() if name not in hidden},
        "Tags": documents.tags(role.tags),
        "InstanceProfileList": roles.of_role(ctx, role, names),
        "RolePolicyList": _inline(ctx, role),
        "AttachedManagedPolicies": _attached(ctx, role),
        "RoleLastUsed": access_keys.of_role(ctx, role.id),
    }


def _policy(ctx: ReadContext, policy: ManagedPolicy) -> dict[str, Any]:
    versions = policies.of_policy(ctx, policy)
    return {
        **documents.managed_policy(ctx, policy),
        "PolicyVersionList": [
            documents.policy_version(version, policy.default_version, document=True) for version in versions
        ],
    }
