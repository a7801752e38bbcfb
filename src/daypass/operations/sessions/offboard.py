"""Offboards a person: ends every session, blocks new ones, and disables the user's keys, password and MFA devices.

One transaction does all of it. The user itself stays, so that the record and the report can still name it; a second
call changes only what has come back since. Other principals of the same person (subjects of a provider, source
identities) are named in the request, because only the operator knows that they are one person.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from daypass.domain.arn import is_account_id
from daypass.domain.directory import (
    AccessKey,
    ChatLink,
    KeyStatus,
    LoginProfile,
    MfaDevice,
    Revocation,
    ScimToken,
    User,
)
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event, EventType
from daypass.domain.policy.model import Decision
from daypass.domain.ssf import CredentialChange
from daypass.operations.assume.mfa_code import open_seed, seal_seed
from daypass.operations.iam.credential_changes import ACCESS_KEY, MFA_DEVICE, PASSWORD, SCIM_TOKEN
from daypass.operations.management import allow
from daypass.operations.oauth import consent
from daypass.operations.outcome import served
from daypass.operations.sessions.outstanding_tokens import Outstanding, outstanding_tokens
from daypass.operations.sessions.revoke import Block, check_quota, check_reason, new_revocation
from daypass.operations.sessions.revoked_sessions import Ended, count_ended
from daypass.operations.sessions.subjects import subject_of
from daypass.operations.sign_in.passkeys import end_browsers, of_user, remove_all
from daypass.operations.ssf.queue import announce
from daypass.ports import Call, Env, Reader, Tx

MAX_SUBJECTS: Final = 20
_BLOCK: Final = Block(blocks=True)


@dataclass(frozen=True, slots=True)
class OffboardRequest:
    """Who leaves: `user`, a name in the account ("" for none), and further subjects, each as (kind, value).

    Kinds of `also` are principal, source_identity and access_key. `account`: "" is the caller's own.
    """

    user: str = ""
    also: Sequence[tuple[str, str]] = ()
    account: str = ""
    reason: str = ""
    dry_run: bool = False


class Holdings(NamedTuple):
    """What a user has that still works: active keys, a password, MFA devices, and the names of passkeys."""

    keys: tuple[str, ...] = ()
    password: bool = False
    devices: tuple[str, ...] = ()
    passkeys: tuple[str, ...] = ()


class Offboarded(NamedTuple):
    """The report.

    Attributes:
        removed: what this call disabled (with `dry_run`: what a call would disable).
        made: the new revocations.
        already_blocked: earlier revocations that already block a subject.
        ended: the sessions that ended; None when the database could not count them.
        outstanding: tokens for other clouds, which no revocation reaches; None when the database could not list them.
    """

    account: str
    user: User | None
    removed: Holdings
    made: tuple[Revocation, ...]
    already_blocked: tuple[Revocation, ...]
    ended: Ended | None
    outstanding: Outstanding | None = None


async def offboard(env: Env, call: Call, request: OffboardRequest) -> Offboarded:
    """daypass:Offboard on `user/NAME`, with iam:UpdateAccessKey, iam:DeleteLoginProfile and iam:DeactivateMFADevice on
    the user, and daypass:RevokeSession on each further subject.

    Raises DaypassError: ACCESS_DENIED, VALIDATION, NOT_FOUND, LIMIT_EXCEEDED.
    """
    _check(request)
    owner = request.account or call.caller.account
    user, decision = await _user(env, call, owner, request.user)
    subjects = [("principal", user.id)] if user is not None else []
    for kind, value in request.also:
        found = await subject_of(env, call, kind, value, owner)
        decision = await allow(env, call, "RevokeSession", kind.replace("_", "-"), found.value or value, owner)
        if found.fault is not None:
            raise found.fault
        subjects.append((kind, found.value))
    wanted = [
        new_revocation(env, call, owner, subject, block=_BLOCK, reason=request.reason)
        for subject in dict.fromkeys(subjects)
    ]
    ended = await count_ended(env, owner, wanted)
    outstanding = await outstanding_tokens(env, owner, subjects)

    def report_of(tx: Reader) -> Offboarded:
        removed = _holdings(tx, user) if user is not None else Holdings()
        blocks = {made.id: block for made in wanted if (block := _block_of(tx, made, call.now)) is not None}
        made = tuple(revocation for revocation in wanted if revocation.id not in blocks)
        return Offboarded(owner, user, removed, made, tuple(blocks.values()), ended, outstanding)

    def change(tx: Tx) -> tuple[Offboarded, Event]:
        report = report_of(tx)
        if user is not None:
            _disable(env, call, tx, user)
        for kind, value in subjects:
            if kind == "principal":
                consent.delete_all(tx, owner, value)
        for revocation in report.made:
            check_quota(tx, revocation)
            tx.insert(revocation)
        return report, _event(call, request, report, decision)

    if request.dry_run:
        report = await env.directory.read(report_of, account=call.caller.account, urgent=True)
        await env.journal.commit(_event(call, request, report, decision))
        return report
    return await env.journal.write(change, account=call.caller.account, urgent=True)


def _check(request: OffboardRequest) -> None:
    check_reason(request.reason)
    if not request.user and not request.also:
        raise DaypassError(ErrorKind.VALIDATION, "Name a user, or at least one principal or source identity.")
    if len(request.also) > MAX_SUBJECTS:
        raise DaypassError(ErrorKind.VALIDATION, f"At most {MAX_SUBJECTS} further subjects are possible.")
    if request.account and not is_account_id(request.account):
        raise DaypassError(ErrorKind.VALIDATION, "An account id is 12 digits.")
    if any(kind not in ("principal", "source_identity", "access_key") for kind, _ in request.also):
        raise DaypassError(ErrorKind.VALIDATION, "Further subjects are principals, source identities or access keys.")


async def _user(env: Env, call: Call, owner: str, name: str) -> tuple[User | None, Decision | None]:
    """The user, after authorization; (None, None) when the request names none."""
    if not name:
        return None, None
    user = await env.directory.read(
        lambda tx: tx.get(User, account=owner, name=name), account=call.caller.account, urgent=True
    )
    arn = user.arn if user is not None else f"arn:aws:iam::{owner}:user/{name}"  # the ARN includes the path
    decision = await allow(env, call, "Offboard", "user", name, owner, aws_arn=arn)
    if user is None:
        raise DaypassError(ErrorKind.NOT_FOUND, f"The user with name {name} cannot be found.")
    return user, decision


def _holdings(tx: Reader, user: User) -> Holdings:
    keys = [key.id for key in _keys(tx, user) if key.status is KeyStatus.ACTIVE]
    devices = [device.serial for device in _devices(tx, user)]
    passkeys = tuple(passkey.name for passkey in of_user(tx, user.id))
    return Holdings(tuple(keys), tx.get(LoginProfile, user_id=user.id) is not None, tuple(devices), passkeys)


def _keys(tx: Reader, user: User) -> list[AccessKey]:
    return tx.find(AccessKey, account=user.account, owner_id=user.id)


def _devices(tx: Reader, user: User) -> list[MfaDevice]:
    return tx.find(MfaDevice, account=user.account, owner_id=user.id)


def _block_of(tx: Reader, wanted: Revocation, now: int) -> Revocation | None:
    """A stored revocation that blocks the subject without an end: every session of it has ended already."""
    found = tx.find(Revocation, account=wanted.account, subject=wanted.subject, value=wanted.value)
    return next((made for made in found if made.block and made.block_until is None and made.created_at <= now), None)


def end_user(env: Env, call: Call, tx: Tx, user: User, reason: str) -> tuple[Holdings, tuple[Revocation, ...]]:
    """Disables a user and ends and blocks its sessions, in a transaction of a caller who may do it.

    Returns what was removed, and the new revocation. Raises DaypassError(LIMIT_EXCEEDED).
    """
    removed = _holdings(tx, user)
    _disable(env, call, tx, user)
    wanted = new_revocation(env, call, user.account, ("principal", user.id), block=_BLOCK, reason=reason)
    if _block_of(tx, wanted, call.now) is not None:
        return removed, ()
    check_quota(tx, wanted)
    tx.insert(wanted)
    return removed, (wanted,)


def _disable(env: Env, call: Call, tx: Tx, user: User) -> None:
    """Takes every credential from the user, and announces it."""
    changes: list[CredentialChange] = []

    def changed(kind: str, change: str, name: str = "") -> None:
        changes.append(CredentialChange(user.account, user.id, kind, change, name))

    for key in _keys(tx, user):
        if key.status is KeyStatus.ACTIVE:
            tx.replace(replace(key, status=KeyStatus.INACTIVE, status_changed_at=call.now))
            changed(ACCESS_KEY, "revoke", key.id)
    profile = tx.get(LoginProfile, user_id=user.id)
    if profile is not None:
        tx.delete(profile)
        changed(PASSWORD, "delete")
    for token in tx.find(ScimToken, account=user.account):
        if token.user_id == user.id:
            tx.delete(token)
            changed(SCIM_TOKEN, "delete", token.name)
    for link in tx.find(ChatLink, account=user.account, user_id=user.id):
        tx.delete(link)
    changes += remove_all(tx, user)
    end_browsers(tx, user)
    for device in _devices(tx, user):
        freed = seal_seed(env.sealer, open_seed(env.sealer, device), user.account, None, device.serial)
        tx.replace(replace(device, owner_id=None, enabled_at=None, sealed_seed=freed))
        changed(MFA_DEVICE, "revoke", device.serial)
    announce(env, tx, changes, call.now, actor_id=call.caller.principal_id)


def _event(call: Call, request: OffboardRequest, report: Offboarded, decision: Decision | None) -> Event:
    changed = report.made or any(report.removed)
    detail: dict[str, Any] = {
        "user": report.user.arn if report.user is not None else "",
        "keys": report.removed.keys,
        "password": report.removed.password,
        "mfa_devices": report.removed.devices,
        "passkeys": report.removed.passkeys,
        "revocations": [{"id": r.id, "subject": r.subject, "value": r.value} for r in report.made],
        "already_blocked": [r.id for r in report.already_blocked],
        "sessions_ended": report.ended.sessions if report.ended is not None else None,
        "outstanding_tokens": [token.jti for token in report.outstanding.tokens] if report.outstanding else [],
        "reason": request.reason,
        **({"dry_run": True} if request.dry_run else {}),
    }
    kind = EventType.OFFBOARDED if changed and not request.dry_run else EventType.REQUEST_ALLOWED
    return served(call, kind=kind, account=report.account, decision=decision, detail=detail)
