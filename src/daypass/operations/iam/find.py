"""Finding the entities that a request names, in the caller's account, or refusing as AWS does.

Nothing here tells an entity of another account from one that does not exist.
"""

from __future__ import annotations

from daypass.domain.arn import parse_arn
from daypass.domain.directory import Account, Group, ManagedPolicy, PolicyVersion, Role, User
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
    """The account field of a managed policy's ARN. Raises INVALID_INPUT when it is no such ARN."""
    try:
        parsed = parse_arn(arn)
    except ValueError:
        raise faults.invalid_arn(arn) from None
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


def own_policy(look: Look, arn: str, action: str) -> ManagedPolicy:
    """A managed policy that the account may change. Raises ACCESS_DENIED for any other account's, there or not."""
    if policy_account(arn) != look.account:
        raise faults.denied(look.caller.arn, action, f"policy {arn}")
    return policy(look, arn)


def attachable(look: Look, arn: str) -> ManagedPolicy:
    """A policy to attach or to bound with."""
    found = any_policy(look, arn)
    if found is None:
        raise faults.not_attachable(arn)
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
