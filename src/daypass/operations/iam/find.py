"""Finding the entities that a request names, in the caller's account, or refusing as AWS does.

Nothing here tells an entity of another account from one that does not exist.
"""

from __future__ import annotations

from daypass.domain.arn import parse_arn
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
from daypass.domain.errors import DaypassError
from daypass.operations.iam import builtin, faults
from daypass.operations.iam.work import Look, Params


def user(look: Look, name: str) -> User:
    found = look.tx.get(User, account=look.account, name=name)
    if found is None:
        raise faults.no_such("user", name)
    return found


def group(look: Look, name: str) -> Group:
    found = look.tx.get(Group, account=look.account, name=name)
    if found is None:
        raise faults.no_such("group", name)
    return found


def role(look: Look, name: str) -> Role:
    found = look.tx.get(Role, account=look.account, name=name)
    if found is None:
        raise faults.no_such("role", name)
    return found


def instance_profile(look: Look, name: str) -> InstanceProfile:
    found = look.tx.get(InstanceProfile, account=look.account, name=name)
    if found is None:
        raise faults.no_such_instance_profile(name)
    return found


def oidc_provider(look: Look, arn: str, missing: DaypassError | None = None) -> OidcProvider:
    """Raises INVALID_INPUT, VALIDATION for what is no such ARN, `missing` (or NOT_FOUND) when there is none."""
    account, url = provider_of(arn, "oidc-provider/")
    found = look.tx.get(OidcProvider, account=account, url=url) if account == look.account else None
    if found is None:
        raise missing or faults.no_oidc_provider(arn)
    return found


def saml_provider(look: Look, arn: str) -> SamlProvider:
    """Raises INVALID_INPUT, VALIDATION for what is no such ARN, NOT_FOUND when there is none."""
    account, name = provider_of(arn, "saml-provider/")
    found = look.tx.get(SamlProvider, account=account, name=name) if account == look.account else None
    if found is None or found.arn != arn:
        raise faults.no_saml_provider(arn)
    return found


def provider_of(arn: str, prefix: str) -> tuple[str, str]:
    """The account, and the name or URL, of a provider's ARN; `prefix` tells its kind."""
    try:
        parsed = parse_arn(arn)
    except ValueError:
        raise faults.unreadable_arn(arn) from None
    if parsed.service != "iam" or parsed.region or not parsed.resource.startswith(prefix):
        raise faults.invalid_arn(arn)
    return parsed.account, parsed.resource.removeprefix(prefix)


def user_or_caller(look: Look, p: Params) -> User | Account:
    """The named user, or by default the calling one; the account itself when the root calls and names nobody."""
    if name := p.get("UserName"):
        return user(look, name)
    own_id = look.own_user_id()
    if own_id == look.account:
        account = look.tx.get(Account, id=own_id)
        if account is None:
            raise faults.no_such("user", own_id)
        return account
    found = look.tx.get(User, id=own_id)
    if found is None or found.account != look.account:
        raise faults.no_such("user", look.caller.name)
    return found


def policy_account(arn: str) -> str:
    """The account field of a managed policy's ARN. Raises VALIDATION for no ARN, INVALID_INPUT for another thing's."""
    try:
        parsed = parse_arn(arn)
    except ValueError:
        raise faults.unreadable_arn(arn) from None
    if parsed.service != "iam" or parsed.region or not parsed.resource.startswith("policy/") or not parsed.account:
        raise faults.invalid_arn(arn)
    return parsed.account


def any_policy(look: Look, arn: str) -> ManagedPolicy | None:
    """A managed policy of the caller's account, or a built-in one."""
    account = policy_account(arn)
    if account == builtin.ACCOUNT:
        return look.builtin.policy(arn)
    if account != look.account:
        return None
    return look.tx.get(ManagedPolicy, account=account, arn=arn)


def policy(look: Look, arn: str) -> ManagedPolicy:
    found = any_policy(look, arn)
    if found is None:
        raise faults.no_such_policy(arn)
    return found


def own_policy(look: Look, arn: str, intent: str, missing: DaypassError | None = None) -> ManagedPolicy:
    """A managed policy that the account may change. Raises ACCESS_DENIED for any other account's, there or not.

    `intent` is "delete policies", "update policies", …
    """
    if policy_account(arn) != look.account:
        raise faults.not_own(intent)
    found = any_policy(look, arn)
    if found is None:
        raise missing or faults.no_such_policy(arn)
    return found


def attachable(look: Look, arn: str, missing: DaypassError | None = None) -> ManagedPolicy:
    """A policy to attach or to bound with. Raises `missing` (or NOT_FOUND) when there is none."""
    found = any_policy(look, arn)
    if found is None:
        raise missing or faults.not_attachable(arn)
    return found


def version(look: Look, policy: ManagedPolicy, version_id: str) -> PolicyVersion:
    """`version_id` is v1, v2 … as AWS writes them."""
    digits = version_id[1:]
    number = int(digits) if version_id[:1] == "v" and digits.isascii() and digits.isdigit() and len(digits) < 10 else 0
    found: PolicyVersion | None = None
    if policy.account == builtin.ACCOUNT:
        found = look.builtin.version(policy.arn) if number == 1 else None
    elif number:
        found = look.tx.get(PolicyVersion, policy_id=policy.id, version=number)
    if found is None:
        raise faults.no_such_version(policy.arn, version_id)
    return found
