"""Login profiles: the passwords of users, for the console.

What is slow or may refuse is done before the write, on a reading thread (`gather`); the write only stores, and refuses when
the profile has changed in between. A password goes in and never out, not into the record either.
Source: IAM API Reference, CreateLoginProfile, UpdateLoginProfile, ChangePassword.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

from daypass.domain.claims import PrincipalKind
from daypass.domain.directory import Account, LoginProfile, PasswordPolicy, User
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations.iam import faults, find, passwords, subjects
from daypass.operations.iam.work import REFUSED, Answer, Look, Params, Subject, Work
from daypass.ports import Ids

MAX_FAILURES: Final = 5
LOCK_MS: Final = 900_000
"""So many wrong old passwords in a row lock ChangePassword for so long."""

_WRONG: Final[Answer] = MappingProxyType({REFUSED: "wrong old password"})


@dataclass(frozen=True, slots=True)
class Prepared:
    """A login profile as it was read (None: there was none), and what its password and the former ones become."""

    before: LoginProfile | None
    password_hash: str
    former_hashes: tuple[str, ...] = ()


def _user(look: Look, p: Params) -> User:
    found = find.user_or_caller(look, p)
    if isinstance(found, Account):
        raise faults.invalid("Must specify userName when calling with non-User credentials")
    return found


def _profile(look: Look, user: User) -> LoginProfile:
    found = look.tx.get(LoginProfile, user_id=user.id)
    if found is None:
        raise faults.no_login_profile(user.name)
    return found


def _checked(look: Look, password: str) -> PasswordPolicy | None:
    """The account's policy, which the password meets. Raises PASSWORD_POLICY."""
    policy = look.tx.get(PasswordPolicy, account=look.account)
    account = look.tx.get(Account, id=look.account)
    if not passwords.conforms(password, policy, account.name if account is not None else ""):
        raise faults.password_policy()
    return policy


# --- Made, shown, changed and deleted for a user -------------------------------------------------------------------


def prepare_create(look: Look, p: Params, ids: Ids) -> Prepared:
    user = _user(look, p)
    if look.tx.get(LoginProfile, user_id=user.id) is not None:
        raise faults.login_profile_exists(user.name)
    if "Password" not in p:
        raise faults.missing("password")
    _checked(look, p["Password"])
    return Prepared(None, passwords.hashed(p["Password"], ids.secret()))


def create_login_profile(work: Work, p: Params) -> Answer:
    user = _user(work, p)
    prepared: Prepared = work.gathered
    profile = LoginProfile(
        user_id=user.id,
        account=work.account,
        created_at=work.now,
        password_hash=prepared.password_hash,
        password_changed_at=work.now,
        reset_required=bool(p.get("PasswordResetRequired")),
        max_signin_seconds=p.get("MaxSigninSessionDuration"),
    )
    if work.tx.get(LoginProfile, user_id=user.id) is not None:
        raise faults.login_profile_exists(user.name)
    work.tx.insert(profile)
    return {"LoginProfile": _shown(profile, user)}


def get_login_profile(look: Look, p: Params) -> Answer:
    user = _user(look, p)
    return {"LoginProfile": _shown(_profile(look, user), user)}


def _shown(profile: LoginProfile, user: User) -> dict[str, Any]:
    longest = {} if profile.max_signin_seconds is None else {"MaxSigninSessionDuration": profile.max_signin_seconds}
    return {
        "UserName": user.name,
        "CreateDate": profile.created_at,
        "PasswordResetRequired": profile.reset_required,
        **longest,
    }


def prepare_update(look: Look, p: Params, _ids: Ids) -> Prepared | None:
    profile = _profile(look, _user(look, p))
    return _next(look, profile, p["Password"]) if "Password" in p else None


def _next(look: Look, profile: LoginProfile, password: str) -> Prepared:
    """The profile's next password. Raises PASSWORD_POLICY, also for one of the former ones that the policy forbids."""
    policy = _checked(look, password)
    kept = (policy.reuse_prevention if policy is not None else None) or 0
    former = (profile.password_hash, *profile.former_hashes)[:kept]
    if former and passwords.uses_again(password, former):
        raise faults.password_policy()
    return Prepared(profile, passwords.hashed(password, passwords.salt_of(profile.password_hash)), former)


def update_login_profile(work: Work, p: Params) -> Answer:
    """What is not given stays."""
    profile = _profile(work, _user(work, p))
    if work.gathered is not None:
        profile = _with_next(work, profile)
    longest = p.get("MaxSigninSessionDuration", profile.max_signin_seconds)
    changed = replace(
        profile,
        reset_required=bool(p.get("PasswordResetRequired", profile.reset_required)),
        max_signin_seconds=None if p.get("ResetMaxSigninSessionDuration") else longest,
    )
    work.tx.replace(changed)
    return {}


def _with_next(work: Work, profile: LoginProfile) -> LoginProfile:
    prepared: Prepared = work.gathered
    before = prepared.before
    if before is None or (before.user_id, before.password_hash) != (profile.user_id, profile.password_hash):
        # Somebody was faster: what was checked was another password.
        raise DaypassError(ErrorKind.CONCURRENT_MODIFICATION, faults.MOVED)
    return replace(
        profile,
        password_hash=prepared.password_hash,
        former_hashes=prepared.former_hashes,
        password_changed_at=work.now,
        failures=0,
        locked_until=0,
    )


def delete_login_profile(work: Work, p: Params) -> Answer:
    work.tx.delete(_profile(work, _user(work, p)))
    return {}


# --- One's own -----------------------------------------------------------------------------------------------------


def own(look: Look, p: Params) -> Subject:
    """The calling user. Raises INVALID_USER_TYPE for whoever has no password of its own: roles, the root, sessions."""
    if look.caller.kind is not PrincipalKind.USER:
        raise faults.not_a_user()
    return subjects.user_or_caller(look, p)


def prepare_change(look: Look, p: Params, _ids: Ids) -> Prepared | None:
    """None when the old password is wrong. While the profile is locked, none is looked at."""
    profile = _profile(look, _user(look, {}))
    if look.now < profile.locked_until or not passwords.matches(p["OldPassword"], profile.password_hash):
        return None
    return _next(look, profile, p["NewPassword"])


def change_password(work: Work, _p: Params) -> Answer:
    """A wrong old password is counted, in turn with all others: guesses cannot run side by side."""
    profile = _profile(work, _user(work, {}))
    if work.now < profile.locked_until:
        return _WRONG
    if work.gathered is None:
        failures = profile.failures + 1
        locked = failures >= MAX_FAILURES
        until = work.now + LOCK_MS if locked else 0
        work.tx.replace(replace(profile, failures=0 if locked else failures, locked_until=until))
        return _WRONG
    work.tx.replace(replace(_with_next(work, profile), reset_required=False))
    return {}


def conclude_change(answer: Answer) -> None:
    """Raises ACCESS_DENIED, the same for a wrong password and a locked profile."""
    if REFUSED in answer:
        raise faults.wrong_old_password()
