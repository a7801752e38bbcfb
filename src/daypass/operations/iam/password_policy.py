"""An account's requirements for its users' passwords. Without its own policy, AWS's default applies (see `passwords`)."""

from __future__ import annotations

from typing import Any

from daypass.domain.directory import PasswordPolicy
from daypass.operations.crud.operation import Answer, Params
from daypass.operations.iam import faults
from daypass.operations.iam.context import ReadContext, WriteContext


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
