"""Finds the entities that a request names, in the caller's account, or refuses as AWS does.

It never distinguishes an entity of another account from one that does not exist.
"""

from __future__ import annotations

from typing import TypeVar

from daypass.domain.arn import read_arn
from daypass.domain.directory import (
    Account,
    Group,
    InstanceProfile,
    ManagedPolicy,
    OidcProvider,
    PolicyVersion,
    Role,
    SamlProvider,
    User,
)
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations.crud import Params
from daypass.operations.iam import builtin, faults
from daypass.operations.iam.context import ReadContext

N = TypeVar("N", User, Group, Role, InstanceProfile)


def user(ctx: ReadContext, name: str) -> User:
    return _named(ctx, User, name, faults.no_such("user", name))


def group(ctx: ReadContext, name: str) -> Group:
    return _named(ctx, Group, name, faults.no_such("group", name))


def role(ctx: ReadContext, name: str) -> Role:
    return _named(ctx, Role, name, faults.no_such("role", name))


def instance_profile(ctx: ReadContext, name: str) -> InstanceProfile:
    return _named(ctx, InstanceProfile, name, faults.not_found(f"Instance Profile {name} cannot be found."))


def _named(ctx: ReadContext, kind: type[N], name: str, missing: DaypassError) -> N:
    entity = ctx.tx.get(kind, account=ctx.account, name=name)
    if entity is None:
        raise missing
    return entity


def oidc_provider(ctx: ReadContext, arn: str, missing: DaypassError | None = None) -> OidcProvider:
    """Raises INVALID_INPUT, VALIDATION when it is not such an ARN, `missing` (or NOT_FOUND) when it does not exist."""
    provider = any_oidc_provider(ctx, arn)
    if provider is None:
        raise missing or faults.not_found(f"OpenIDConnect Provider not found for arn {arn}")
    return provider


def any_oidc_provider(ctx: ReadContext, arn: str) -> OidcProvider | None:
    """The provider of the caller's account with exactly this ARN: policies see the ARN as it is in the request (attack
    A196).
    """
    account, url = _provider_of(arn, "oidc-provider/")
    provider = ctx.tx.get(OidcProvider, account=account, url=url) if account == ctx.account else None
    return provider if provider is not None and provider.arn == arn else None


def saml_provider(ctx: ReadContext, arn: str) -> SamlProvider:
    """Raises INVALID_INPUT, VALIDATION when it is not such an ARN, NOT_FOUND when it does not exist."""
    provider = any_saml_provider(ctx, arn)
    if provider is None:
        raise faults.not_found(f"Manifest not found for arn {arn}")
    return provider


def any_saml_provider(ctx: ReadContext, arn: str) -> SamlProvider | None:
    """The provider of the caller's account with exactly this ARN."""
    account, name = _provider_of(arn, "saml-provider/")
    provider = ctx.tx.get(SamlProvider, account=account, name=name) if account == ctx.account else None
    return provider if provider is not None and provider.arn == arn else None


def _provider_of(arn: str, prefix: str) -> tuple[str, str]:
    """The account, and the name or URL, in a provider's ARN; `prefix` gives its kind."""
    parsed = read_arn(arn)
    if parsed is None:
        raise faults.invalid(f"ARN {arn} is not valid.")
    if parsed.service != "iam" or parsed.region or not parsed.resource.startswith(prefix):
        raise faults.invalid_arn(arn)
    return parsed.account, parsed.resource.removeprefix(prefix)


def user_or_caller(ctx: ReadContext, p: Params) -> User | Account:
    """The named user, or by default the calling user; the account itself when the root calls without a name."""
    if name := p.get("UserName"):
        return user(ctx, name)
    own_id = ctx.own_user_id()
    if own_id == ctx.account:
        account = ctx.tx.get(Account, id=own_id)
        if account is None:
            raise faults.no_such("user", own_id)
        return account
    found = ctx.tx.get(User, id=own_id)
    if found is None or found.account != ctx.account:
        raise faults.no_such("user", ctx.caller.name)
    return found


def policy_account(arn: str) -> str:
    """The account field of a managed policy's ARN.

    Raises VALIDATION when `arn` is not an ARN, INVALID_INPUT when it is the ARN of something else.
    """
    parsed = read_arn(arn)
    if parsed is None:
        raise faults.invalid("Invalid ARN:  Could not be parsed!")  # the two spaces are AWS's
    if parsed.service != "iam" or parsed.region or not parsed.resource.startswith("policy/") or not parsed.account:
        raise faults.invalid_arn(arn)
    return parsed.account


def any_policy(ctx: ReadContext, arn: str) -> ManagedPolicy | None:
    """A managed policy of the caller's account, or a built-in one."""
    account = policy_account(arn)
    if account == builtin.ACCOUNT:
        return ctx.builtin.policy(arn)
    if account != ctx.account:
        return None
    return ctx.tx.get(ManagedPolicy, account=account, arn=arn)


def policy(ctx: ReadContext, arn: str) -> ManagedPolicy:
    found = any_policy(ctx, arn)
    if found is None:
        raise faults.no_such_policy(arn)
    return found


def own_policy(ctx: ReadContext, arn: str, intent: str, missing: DaypassError | None = None) -> ManagedPolicy:
    """A managed policy that the account may change. Raises ACCESS_DENIED for any other account's, whether it exists or not.

    `intent` is "delete policies", "update policies", …
    """
    if policy_account(arn) != ctx.account:
        raise DaypassError(ErrorKind.ACCESS_DENIED, f"Cannot {intent} outside your own account.")
    found = any_policy(ctx, arn)
    if found is None:
        raise missing or faults.no_such_policy(arn)
    return found


def attachable(ctx: ReadContext, arn: str, missing: DaypassError | None = None) -> ManagedPolicy:
    """A policy to attach or to use as a boundary. Raises `missing` (or NOT_FOUND) when it does not exist."""
    found = any_policy(ctx, arn)
    if found is None:
        raise missing or faults.not_found(f"Policy {arn} does not exist or is not attachable.")
    return found


def version(ctx: ReadContext, policy: ManagedPolicy, version_id: str) -> PolicyVersion:
    """`version_id` is v1, v2 …, as in AWS."""
    digits = version_id[1:]
    number = int(digits) if version_id[:1] == "v" and digits.isascii() and digits.isdigit() and len(digits) < 10 else 0
    found: PolicyVersion | None = None
    if policy.account == builtin.ACCOUNT:
        found = ctx.builtin.version(policy.arn) if number == policy.default_version else None
    elif number:
        found = ctx.tx.get(PolicyVersion, policy_id=policy.id, version=number)
    if found is None:
        raise faults.no_such_version(policy.arn, version_id)
    return found
