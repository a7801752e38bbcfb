"""Login profiles: users' passwords for the console.

Slow checks are done before the write, on a read thread (`gather`). The write only stores, and refuses when the profile
changed meanwhile. A password is never part of a response or of the record.
Source: IAM API Reference, CreateLoginProfile, UpdateLoginProfile, ChangePassword.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from daypass.domain.claims import PrincipalKind
from daypass.domain.directory import Account, LoginProfile, PasswordPolicy, User
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations.crud import REFUSED, Answer, AuthorizedResource, Params
from daypass.operations.iam import faults, find, resources
from daypass.operations.iam.context import ReadContext, WriteContext
from daypass.operations.ssf.logout import tell_of_end
from daypass.ports import Ids, Reader

MAX_FAILURES: Final = 5
LOCK_MS: Final = 900_000
"""This number of wrong old passwords in a row locks ChangePassword for this time."""

_WRONG: Final[Answer] = MappingProxyType({REFUSED: "wrong old password"})


@dataclass(frozen=True, slots=True)
class PreparedProfile:
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
    if not conforms(password, policy, account.name if account is not None else ""):
        raise faults.password_policy()
    return policy


# --- Administered by others ----------------------------------------------------------------------------------------


def prepare_create(ctx: ReadContext, p: Params, ids: Ids) -> PreparedProfile:
    user = _user(ctx, p)
    if ctx.tx.get(LoginProfile, user_id=user.id) is not None:
        raise faults.login_profile_exists(user.name)
    if "Password" not in p:
        raise faults.missing("password")
    _checked(ctx.tx, ctx.account, p["Password"])
    return PreparedProfile(None, hashed(p["Password"], ids.secret()))


def create_login_profile(ctx: WriteContext, p: Params) -> Answer:
    user = _user(ctx, p)
    prepared: PreparedProfile = ctx.gathered
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


def prepare_update(ctx: ReadContext, p: Params, _ids: Ids) -> PreparedProfile | None:
    profile = _profile(ctx, _user(ctx, p))
    return next_password(ctx.tx, profile, p["Password"]) if "Password" in p else None


def next_password(tx: Reader, profile: LoginProfile, password: str) -> PreparedProfile:
    """The profile's next password: slow. Raises PASSWORD_POLICY, also for a previous password that the policy forbids."""
    policy = _checked(tx, profile.account, password)
    kept = (policy.reuse_prevention if policy is not None else None) or 0
    former = (profile.password_hash, *profile.former_hashes)[:kept]
    if former and uses_again(password, former):
        raise faults.password_policy()
    return PreparedProfile(profile, hashed(password, salt_of(profile.password_hash)), former)


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


def with_next(profile: LoginProfile, prepared: PreparedProfile, now: int) -> LoginProfile:
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


def own(ctx: ReadContext, p: Params) -> AuthorizedResource:
    """The calling user. Raises INVALID_USER_TYPE for callers without a password: roles, the root, sessions."""
    if ctx.caller.kind is not PrincipalKind.USER:
        message = "The request was rejected because the type of user for the transaction was incorrect."
        raise DaypassError(ErrorKind.INVALID_USER_TYPE, message)
    return resources.user_or_caller(ctx, p)


def prepare_change(ctx: ReadContext, p: Params, _ids: Ids) -> PreparedProfile | None:
    """None when the old password is wrong. While the profile is locked, none is checked."""
    profile = _profile(ctx, _user(ctx, {}))
    if ctx.now < profile.locked_until or not matches(p["OldPassword"], profile.password_hash):
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


# --- Passwords: the requirements of a policy, and the slow hash, which is all that is stored


Cost: TypeAlias = tuple[int, int, int]
"""log2 of N, r, p."""

SYMBOLS: Final = frozenset("!@#$%^&*()_+-=[]{}|'")
_UPPER: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_LOWER: Final = frozenset("abcdefghijklmnopqrstuvwxyz")
_DIGITS: Final = frozenset("0123456789")

_DEFAULT_LENGTH: Final = 8
_DEFAULT_KINDS: Final = 3  # of the four kinds of characters

_SCHEME: Final = "scrypt"
_COST: Cost = (15, 8, 3)
RANDOM_COST: Final[Cost] = (1, 1, 1)
"""The lowest cost, for secrets of 256 random bits: nobody can find one by hashing, so a higher cost would only give work to
the server, and that for anyone who sends wrong secrets (attack A232; NIST SP 800-63B, 5.1.2.2).
"""

_MEMORY: Final = 1 << 26
_HASH_BYTES: Final = 32


def conforms(password: str, policy: PasswordPolicy | None, account_name: str) -> bool:
    """Whether the policy, or AWS's default policy without one, accepts a password."""
    used = set(password)
    if policy is None:
        kinds = sum(not used.isdisjoint(kind) for kind in (_UPPER, _LOWER, _DIGITS, SYMBOLS))
        return len(password) >= _DEFAULT_LENGTH and kinds >= _DEFAULT_KINDS and password != account_name
    required_kinds = (
        (policy.require_uppercase, _UPPER),
        (policy.require_lowercase, _LOWER),
        (policy.require_numbers, _DIGITS),
        (policy.require_symbols, SYMBOLS),
    )
    missing = any(required and used.isdisjoint(kind) for required, kind in required_kinds)
    return len(password) >= policy.minimum_length and not missing


def hashed(password: str, salt: str, cost: Cost | None = None) -> str:
    """The hash with its parameters: `scrypt$log2(N)$r$p$salt$hash`. `salt` contains no `$`."""
    n, r, p = cost or _COST
    digest = hashlib.scrypt(
        password.encode("utf-8", "surrogatepass"),
        salt=salt.encode("ascii"),
        n=1 << n,
        r=r,
        p=p,
        maxmem=_MEMORY,
        dklen=_HASH_BYTES,
    )
    return "$".join((_SCHEME, str(n), str(r), str(p), salt, base64.b64encode(digest).decode("ascii")))


def matches(password: str, stored: str) -> bool:
    """Whether a stored hash is that of this password."""
    return uses_again(password, (stored,))


def uses_again(password: str, stored: Iterable[str]) -> bool:
    """Whether one of these hashes is that of this password. Hashes with the same salt and cost take one computation."""
    again: dict[tuple[Cost, str], str] = {}
    found = False
    for one in stored:
        _, n, r, p, salt, _ = one.split("$")
        made_with = ((int(n), int(r), int(p)), salt)
        if made_with not in again:
            again[made_with] = hashed(password, salt, made_with[0])
        found |= hmac.compare_digest(again[made_with].encode("ascii"), one.encode("ascii"))
    return found


def salt_of(stored: str) -> str:
    return stored.split("$")[4]
