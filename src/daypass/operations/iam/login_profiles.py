"""Login profiles: users' passwords for the console.

Slow checks are done before the write, on a read thread (`gather`). The write only stores, and refuses when the profile
changed meanwhile. A password is never part of a response or of the record.
Source: IAM API Reference, CreateLoginProfile, UpdateLoginProfile, ChangePassword.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

from daypass.domain.claims import PrincipalKind
from daypass.domain.directory import Account, LoginProfile, PasswordPolicy, User
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations.crud.operation import REFUSED, Answer, Params, Resource
from daypass.operations.iam import faults, find, passwords, resources
from daypass.operations.iam.context import ReadContext, WriteContext
from daypass.operations.ssf.logout import tell_of_end
from daypass.ports import Ids, Reader

MAX_FAILURES: Final = 5
LOCK_MS: Final = 900_000
"""This number of wrong old passwords in a row locks ChangePassword for this time."""

_WRONG: Final[Answer] = MappingProxyType({REFUSED: "wrong old password"})


@dataclass(frozen=True, slots=True)
class Prepared:
    """A login profile as read (None: it did not exist), and the new values of its current and previous passwords."""

    before: LoginProfile | None
    password_hash: str
    former_hashes: tuple[str, ...] = ()


def _user(ctx: ReadContext, p: Params) -> User:
    user = find.user_or_caller(ctx, p)
    if isinstance(user, Account):
        raise faults.invalid("Must specify userName when calling with non-User credentials")
    return user


def _profile(ctx: ReadContext, user: User) -> LoginProfile:
    profile = ctx.tx.get(LoginProfile, user_id=user.id)
    if profile is None:
        raise faults.not_found(f"Login Profile for User {user.name} cannot be found.")
    return profile


def _checked(tx: Reader, account_id: str, password: str) -> PasswordPolicy | None:
    """The account's policy, which the password satisfies. Raises PASSWORD_POLICY."""
    policy = tx.get(PasswordPolicy, account=account_id)
    account = tx.get(Account, id=account_id)
    if not passwords.conforms(password, policy, account.name if account is not None else ""):
        raise faults.password_policy()
    return policy


# --- Administered by others ----------------------------------------------------------------------------------------


def prepare_create(ctx: ReadContext, p: Params, ids: Ids) -> Prepared:
    user = _user(ctx, p)
    if ctx.tx.get(LoginProfile, user_id=user.id) is not None:
        raise faults.login_profile_exists(user.name)
    if "Password" not in p:
        raise faults.missing("password")
    _checked(ctx.tx, ctx.account, p["Password"])
    return Prepared(None, passwords.hashed(p["Password"], ids.secret()))


def create_login_profile(ctx: WriteContext, p: Params) -> Answer:
    user = _user(ctx, p)
    prepared: Prepared = ctx.gathered
    profile = LoginProfile(
        user_id=user.id,
        account=ctx.account,
        created_at=ctx.now,
        password_hash=prepared.password_hash,
        password_changed_at=ctx.now,
        reset_required=bool(p.get("PasswordResetRequired")),
        max_signin_seconds=p.get("MaxSigninSessionDuration"),
    )
    if ctx.tx.get(LoginProfile, user_id=user.id) is not None:
        raise faults.login_profile_exists(user.name)
    ctx.tx.insert(profile)
    return {"LoginProfile": _profile_members(profile, user)}


def get_login_profile(ctx: ReadContext, p: Params) -> Answer:
    user = _user(ctx, p)
    return {"LoginProfile": _profile_members(_profile(ctx, user), user)}


def _profile_members(profile: LoginProfile, user: User) -> dict[str, Any]:
    longest = {} if profile.max_signin_seconds is None else {"MaxSigninSessionDuration": profile.max_signin_seconds}
    return {
        "UserName": user.name,
        "CreateDate": profile.created_at,
        "PasswordResetRequired": profile.reset_required,
        **longest,
    }


def prepare_update(ctx: ReadContext, p: Params, _ids: Ids) -> Prepared | None:
    profile = _profile(ctx, _user(ctx, p))
    return next_password(ctx.tx, profile, p["Password"]) if "Password" in p else None


def next_password(tx: Reader, profile: LoginProfile, password: str) -> Prepared:
    """The profile's next password: slow. Raises PASSWORD_POLICY, also for a previous password that the policy forbids."""
    policy = _checked(tx, profile.account, password)
    kept = (policy.reuse_prevention if policy is not None else None) or 0
    former = (profile.password_hash, *profile.former_hashes)[:kept]
    if former and passwords.uses_again(password, former):
        raise faults.password_policy()
    return Prepared(profile, passwords.hashed(password, passwords.salt_of(profile.password_hash)), former)


def update_login_profile(ctx: WriteContext, p: Params) -> Answer:
    """Values that are not given are not changed."""
    profile = _profile(ctx, _user(ctx, p))
    if ctx.gathered is not None:
        profile = with_next(profile, ctx.gathered, ctx.now)
        tell_of_end(ctx.ids, ctx.tx, ctx.account, ctx.now, principal_id=profile.user_id)
    longest = p.get("MaxSigninSessionDuration", profile.max_signin_seconds)
    changed = replace(
        profile,
        reset_required=bool(p.get("PasswordResetRequired", profile.reset_required)),
        max_signin_seconds=None if p.get("ResetMaxSigninSessionDuration") else longest,
    )
    ctx.tx.replace(changed)
    return {}


def with_next(profile: LoginProfile, prepared: Prepared, now: int) -> LoginProfile:
    """The current profile with its next password. Raises CONCURRENT_MODIFICATION when it is not the one that was read."""
    before = prepared.before
    if before is None or (before.user_id, before.password_hash) != (profile.user_id, profile.password_hash):
        # Another request was faster: the checked password is no longer the current one.
        raise DaypassError(ErrorKind.CONCURRENT_MODIFICATION, faults.CONCURRENT)
    return replace(
        profile,
        password_hash=prepared.password_hash,
        former_hashes=prepared.former_hashes,
        password_changed_at=now,
        failures=0,
        locked_until=0,
    )


def delete_login_profile(ctx: WriteContext, p: Params) -> Answer:
    profile = _profile(ctx, _user(ctx, p))
    ctx.tx.delete(profile)
    tell_of_end(ctx.ids, ctx.tx, ctx.account, ctx.now, principal_id=profile.user_id)
    return {}


# --- The caller's own ----------------------------------------------------------------------------------------------


def own(ctx: ReadContext, p: Params) -> Resource:
    """The calling user. Raises INVALID_USER_TYPE for callers without a password: roles, the root, sessions."""
    if ctx.caller.kind is not PrincipalKind.USER:
        message = "The request was rejected because the type of user for the transaction was incorrect."
        raise DaypassError(ErrorKind.INVALID_USER_TYPE, message)
    return resources.user_or_caller(ctx, p)


def prepare_change(ctx: ReadContext, p: Params, _ids: Ids) -> Prepared | None:
    """None when the old password is wrong. While the profile is locked, none is checked."""
    profile = _profile(ctx, _user(ctx, {}))
    if ctx.now < profile.locked_until or not passwords.matches(p["OldPassword"], profile.password_hash):
        return None
    return next_password(ctx.tx, profile, p["NewPassword"])


def change_password(ctx: WriteContext, _p: Params) -> Answer:
    """Counts a wrong old password. Writes are serialised, so guesses cannot run in parallel."""
    profile = _profile(ctx, _user(ctx, {}))
    if ctx.now < profile.locked_until:
        return _WRONG
    if ctx.gathered is None:
        failures = profile.failures + 1
        locked = failures >= MAX_FAILURES
        until = ctx.now + LOCK_MS if locked else 0
        ctx.tx.replace(replace(profile, failures=0 if locked else failures, locked_until=until))
        return _WRONG
    ctx.tx.replace(replace(with_next(profile, ctx.gathered, ctx.now), reset_required=False))
    tell_of_end(ctx.ids, ctx.tx, ctx.account, ctx.now, principal_id=profile.user_id)
    return {}


def refuse_wrong_password(answer: Answer) -> None:
    """Raises ACCESS_DENIED, the same for a wrong password and a locked profile."""
    if REFUSED in answer:
        raise DaypassError(ErrorKind.ACCESS_DENIED, "The old password was incorrect.")
