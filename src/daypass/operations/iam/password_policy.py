"""What an account asks of its users' passwords. Without a policy of its own, AWS's default holds (see `passwords`)."""

from __future__ import annotations

from typing import Any

from daypass.domain.directory import PasswordPolicy
from daypass.operations.iam import faults
from daypass.operations.iam.work import Answer, Look, Params, Work


def update_account_password_policy(work: Work, p: Params) -> Answer:
    """The whole policy is replaced: what is not given goes back to its default, as AWS has it."""
    policy = PasswordPolicy(
        account=work.account,
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
    if work.tx.get(PasswordPolicy, account=work.account) is None:
        work.tx.insert(policy)
    else:
        work.tx.replace(policy)
    return {}


def get_account_password_policy(look: Look, _p: Params) -> Answer:
    policy = look.tx.get(PasswordPolicy, account=look.account)
    if policy is None:
        raise faults.no_password_policy(look.account)
    return {"PasswordPolicy": _shown(policy)}


def _shown(policy: PasswordPolicy) -> dict[str, Any]:
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


def delete_account_password_policy(work: Work, _p: Params) -> Answer:
    policy = work.tx.get(PasswordPolicy, account=work.account)
    if policy is None:
        raise faults.no_password_policy_to_delete()
    work.tx.delete(policy)
    return {}
