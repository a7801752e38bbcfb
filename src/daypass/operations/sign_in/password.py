"""Sign-in of a local user: the password of the login profile, then a second factor, then a new password if one is due.

Hashes wait for their turn, and people for their devices. So the transaction that signs a user in reads lock, password and
devices again, and refuses if they are not those that were proven.

Every wrong attempt gets the same answer: unknown account, unknown user, no password, wrong password, locked. A hash is
computed in every case, in the processes for heavy work, in turns by network; only the count of wrong attempts is written for users alone. The account's next
requirement (a code or passkey, a new password) is shown only after the right password.
Source: IAM User Guide, "How IAM users sign in to AWS", "Setting an account password policy".
"""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Final

from msgspec import Struct
from msgspec.structs import replace as replace_struct

from daypass.domain.directory import LoginProfile, Passkey, PasswordPolicy, User
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event, EventType
from daypass.domain.jws import text_digest
from daypass.domain.session import PASSWORD as PASSWORD_METHOD
from daypass.domain.session import FeedPosition
from daypass.domain.ssf import CredentialChange
from daypass.operations import heavy
from daypass.operations.assume.mfa_code import MfaCode, check_mfa
from daypass.operations.authenticate import caller_of_sign_in
from daypass.operations.iam import faults, login_profiles
from daypass.operations.iam.granting import PASSWORD
from daypass.operations.iam.mfa import enabled_devices
from daypass.operations.outcome import OWNER, event_of, served
from daypass.operations.principals import account_by_alias
from daypass.operations.sign_in import browser_session, webauthn
from daypass.operations.sign_in.ticket import CODE, LIFETIME_MS, NEW_PASSWORD, SignInTicket, open_ticket, seal
from daypass.operations.ssf.logout import tell_of_end
from daypass.operations.ssf.push import announce
from daypass.ports import Call, Env, Reader, Scene, Tx

MAX_PASSWORD: Final = 128  # characters (IAM API, passwordType)
_DAY_MS: Final = 86_400_000
_NOBODY: Final = f"scrypt$15$8$3$nobody${base64.b64encode(bytes(32)).decode('ascii')}"
"""A stored hash that no password has: checked where there is no user, so that the answer takes as long."""

_WRONG: Final = "The account, the user name or the password is wrong, or there were too many attempts. Wait a while, then try again."
_WRONG_CODE: Final = "The code is wrong or was used before, or there were too many attempts. Wait for the next code."
_EXPIRED: Final = "The password has expired. Only an administrator of the account can set a new one."
_CHANGED: Final = "The password or the MFA devices were changed meanwhile. Sign in again."


class Candidate(Struct, frozen=True):
    """A user who may sign in with a password, as read."""

    user: User
    profile: LoginProfile
    policy: PasswordPolicy | None
    devices: tuple[str, ...]  # the serial numbers of enabled MFA devices
    passkeys: tuple[Passkey, ...] = ()

    @property
    def needs_mfa(self) -> bool:
        """Whether a password is not enough. A blocked passkey counts: a copy must not remove the requirement."""
        return bool(self.devices or self.passkeys)

    @property
    def version(self) -> str:
        """Identifies what a sign-in proves: the password and the devices. If it changes, a sign-in that has begun ends."""
        passkeys = (f"{each.id} {each.blocked_at}" for each in self.passkeys)
        required = str(self.profile.reset_required)
        return text_digest("\0".join((self.profile.password_hash, required, *sorted(self.devices), *passkeys)))[:32]


class SignInStep(Struct, frozen=True):
    """The result of a step of a sign-in: `cookie` when it is complete, otherwise a ticket and its next stage.

    `devices`: the serial numbers that a code can be of. `prompt`: asks for a passkey, if the user has one.
    """

    cookie: str = ""
    stage: str = ""
    ticket: str = ""
    devices: tuple[str, ...] = ()
    prompt: webauthn.Prompt | None = None


class Browser(Struct, frozen=True):
    """The browser that signs in: its cookie up to now."""

    cookie: str

    @property
    def id(self) -> str:
        return browser_session.digest(self.cookie)


# --- The steps -------------------------------------------------------------------------------------------------------


async def with_password(
    env: Env, call: Call, browser: Browser, account: str, user_name: str, unverified_password: str
) -> SignInStep:
    """The first step. `account`: its id or alias. Raises DaypassError: ACCESS_DENIED, THROTTLED, UNAVAILABLE."""
    seen, lane = env.directory.seen(), call.source.lane

    def find(tx: Reader) -> Candidate | None:
        return candidate_of(tx, tx.get(User, account=account_by_alias(tx, account), name=user_name))

    candidate = await env.directory.read(find, account=lane)
    stored = candidate.profile.password_hash if candidate is not None else _NOBODY
    right = await heavy.compute(env, lane, login_profiles.matches, unverified_password[: MAX_PASSWORD + 1], stored)
    if candidate is None:
        raise DaypassError(ErrorKind.ACCESS_DENIED, _WRONG, private={"reason": "no such user with a password"})
    candidate = await _count(env, call, candidate, right=right)
    if not right:
        raise refusal(candidate, _WRONG, "wrong password")
    if _has_expired(candidate, call.now) and candidate.policy is not None and candidate.policy.hard_expiry:
        raise refusal(candidate, _EXPIRED, "expired password")
    must_change = candidate.profile.reset_required or _has_expired(candidate, call.now)
    return await next_step(env, call, browser, candidate, seen, must_change=must_change, mfa_at=0)


async def with_code(
    env: Env, call: Call, browser: Browser, unverified_ticket: str, serial_number: str, unverified_code: str
) -> SignInStep:
    """The second step, for a user with MFA devices. Raises DaypassError."""
    ticket = open_ticket(env, CODE, browser.id, unverified_ticket, call.now)
    candidate, seen = await user_of_ticket(env, call, ticket)
    try:
        mfa_at = await check_mfa(env, as_user(call, candidate.user, seen), MfaCode(serial_number, unverified_code))
    except DaypassError as error:
        if error.kind is not ErrorKind.ACCESS_DENIED:
            raise
        raise refusal(candidate, _WRONG_CODE, str(error.private.get("mfa", ""))) from None
    if not mfa_at:
        raise refusal(candidate, _WRONG_CODE, "no code")
    return await next_step(env, call, browser, candidate, seen, must_change=ticket.must_change, mfa_at=mfa_at)


async def with_new_password(
    env: Env, call: Call, browser: Browser, unverified_ticket: str, unverified_password: str
) -> SignInStep:
    """The last step, where the password has expired or must be reset. Raises DaypassError: PASSWORD_POLICY and others."""
    ticket = open_ticket(env, NEW_PASSWORD, browser.id, unverified_ticket, call.now)
    candidate, seen = await user_of_ticket(env, call, ticket)
    of_user = as_user(call, candidate.user, seen)
    changed = replace_struct(
        candidate, profile=await _set_password(env, of_user, candidate.profile, unverified_password)
    )
    return await next_step(env, of_user, browser, changed, seen, must_change=False, mfa_at=ticket.mfa_at)


async def _set_password(env: Env, call: Call, profile: LoginProfile, password: str) -> LoginProfile:
    """Needs no permission: the account requires the change. Raises DaypassError: PASSWORD_POLICY, CONCURRENT_MODIFICATION."""
    prepared = await heavy.read(env, call, _prepared, profile, password)
    if prepared.password_hash == profile.password_hash:  # they have the same salt
        raise faults.password_policy()

    def change(tx: Tx) -> LoginProfile:
        current = tx.get(LoginProfile, user_id=profile.user_id)
        if current is None:
            raise DaypassError(ErrorKind.CONCURRENT_MODIFICATION, _CHANGED)
        following = replace(login_profiles.with_next(current, prepared, call.now), reset_required=False)
        tx.replace(following)
        updated = CredentialChange(profile.account, profile.user_id, PASSWORD, "update")
        announce(env, tx, (updated,), call.now, actor_id=profile.user_id)
        tell_of_end(env.ids, tx, profile.account, call.now, principal_id=profile.user_id)
        return following

    event = served(call, kind=EventType.DIRECTORY_CHANGED, detail={"user": call.caller.arn, "password": "changed"})
    return await env.journal.write(lambda tx: (change(tx), event), account=call.caller.account)


def _prepared(scene: Scene, profile: LoginProfile, password: str) -> login_profiles.PreparedProfile:
    return login_profiles.next_password(scene.tx, profile, password)


async def next_step(
    env: Env, call: Call, browser: Browser, candidate: Candidate, seen: FeedPosition, *, must_change: bool, mfa_at: int
) -> SignInStep:
    """The next page, or the session."""
    if (candidate.needs_mfa and not mfa_at) or must_change:
        stage = CODE if candidate.needs_mfa and not mfa_at else NEW_PASSWORD
        ticket = SignInTicket(
            stage, candidate.user.id, browser.id, candidate.version, call.now + LIFETIME_MS, must_change, mfa_at
        )
        sealed = seal(env, stage, ticket)
        if stage == CODE:
            return second_stage(env, call, browser, candidate, sealed)
        return SignInStep(stage=stage, ticket=sealed)
    return await start(env, as_user(call, candidate.user, seen), browser, candidate, mfa_at)


def _check_unchanged(before: Candidate, current: Candidate | None, now: int, *, by_password: bool = True) -> Candidate:
    """The user as read again, after work that may have waited long. Raises DaypassError(ACCESS_DENIED)."""
    if current is None or current.version != before.version:
        raise refusal(before, _CHANGED, "changed meanwhile")
    if by_password and now < current.profile.locked_until:
        raise refusal(before, _WRONG, "locked after wrong passwords")
    return current


def second_stage(env: Env, call: Call, browser: Browser, candidate: Candidate, ticket: str) -> SignInStep:
    """The page that asks for a code of a device, a passkey or a recovery code."""
    usable = [passkey for passkey in candidate.passkeys if not passkey.blocked_at]
    prompt = None
    if usable and webauthn.available(env):
        prompt = webauthn.ask(env, webauthn.SECOND_FACTOR, browser.id, call.now, usable, user_id=candidate.user.id)
    return SignInStep(stage=CODE, ticket=ticket, devices=candidate.devices, prompt=prompt)


def as_user(call: Call, user: User, seen: FeedPosition, method: str = PASSWORD_METHOD) -> Call:
    """The call, with the user as its caller. `seen`: from before the user was read."""
    return Call(caller_of_sign_in(user, call.now, seen, method), call.facts, call.now)


async def start(
    env: Env, call: Call, browser: Browser, candidate: Candidate, mfa_at: int, *, by_password: bool = True
) -> SignInStep:
    """Signs the user in, who is `call.caller`, if the transaction finds what was proven. `by_password`: not by a passkey
    alone, which wrong passwords of others do not lock. Raises DaypassError(ACCESS_DENIED).
    """

    def check(tx: Tx) -> None:
        _check_unchanged(candidate, _again(tx, candidate), call.now, by_password=by_password)

    seconds = candidate.profile.max_signin_seconds or env.limits.browser_session_ms // 1000
    return SignInStep(cookie=await browser_session.start(env, call, mfa_at, seconds, check, browser.cookie))


# --- The user --------------------------------------------------------------------------------------------------------


def candidate_of(tx: Reader, user: User | None) -> Candidate | None:
    """The user, if a password is set: without one, nobody signs in with a browser, whatever they have registered."""
    profile = tx.get(LoginProfile, user_id=user.id) if user is not None else None
    if user is None or profile is None:
        return None
    enabled = enabled_devices(tx, user.account, user.id)
    policy = tx.get(PasswordPolicy, account=user.account)
    return Candidate(user, profile, policy, enabled, tuple(tx.find(Passkey, user_id=user.id, order="name")))


def _again(tx: Reader, candidate: Candidate) -> Candidate | None:
    return candidate_of(tx, tx.get(User, id=candidate.user.id))


async def user_of_ticket(env: Env, call: Call, ticket: SignInTicket) -> tuple[Candidate, FeedPosition]:
    """The user of a ticket, if password and devices are still those of that time. Raises DaypassError(ACCESS_DENIED)."""
    seen = env.directory.seen()
    candidate = await env.directory.read(
        lambda tx: candidate_of(tx, tx.get(User, id=ticket.user_id)), account=call.source.lane
    )
    if candidate is None or candidate.version != ticket.version:
        raise DaypassError(ErrorKind.ACCESS_DENIED, _CHANGED, private={"reason": "changed meanwhile"})
    return candidate, seen


async def _count(env: Env, call: Call, candidate: Candidate, *, right: bool) -> Candidate:
    """Counts a wrong attempt, and forgets the count after a right one; the user as they are afterwards. A locked profile takes
    no password, and one that was changed while the hash was computed not the former one.

    Writes are serialised, so guesses that run in parallel are all counted before the first of them is answered.
    Raises DaypassError(ACCESS_DENIED).
    """
    account = candidate.user.account
    if right:
        current = await env.directory.read(lambda tx: _again(tx, candidate), account=call.source.lane)
        current = _check_unchanged(candidate, current, call.now)
        if not current.profile.failures:
            return current
    event = event_of(
        EventType.DIRECTORY_CHANGED,
        call.facts,
        {},
        at=call.now,
        account=account,
        detail={"user": candidate.user.arn, "password": "right" if right else "wrong"},
    )

    def change(tx: Tx) -> tuple[Candidate, Event]:
        current = _check_unchanged(candidate, _again(tx, candidate), call.now)
        failures = 0 if right else current.profile.failures + 1
        locked = failures >= login_profiles.MAX_FAILURES
        until = call.now + login_profiles.LOCK_MS if locked else 0
        profile = replace(current.profile, failures=0 if locked else failures, locked_until=until)
        tx.replace(profile)
        return replace_struct(current, profile=profile), event

    return await env.journal.write(
        change, account=call.source.lane
    )  # whoever guesses does not occupy the user's account


def _has_expired(candidate: Candidate, now: int) -> bool:
    days = candidate.policy.max_age_days if candidate.policy is not None else None
    return days is not None and now >= candidate.profile.password_changed_at + days * _DAY_MS


def refusal(candidate: Candidate, public: str, reason: str) -> DaypassError:
    """A refusal on the record of the user's account. Its actor is unknown: nobody has proved to be the user."""
    private = {OWNER: candidate.user.account, "unverified_user": candidate.user.arn, "reason": reason}
    return DaypassError(ErrorKind.ACCESS_DENIED, public, private=private)
