"""Offboards a person: ends every session, blocks new ones, takes the user's keys, password, MFA devices and passkeys, and
ends open access requests and grants.

One transaction does all of it. The user itself stays, so that the report can still name it, unless it is to be deleted
as well; a second call changes only what has come back since. Other principals of the same person (subjects of a
provider, source identities) are named in the request, because only the operator knows that they are one person.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple

from daypass.api.sessions import OffboardInput, OutstandingTokenOut
from daypass.domain.arn import is_account_id
from daypass.domain.directory import Revocation, User
from daypass.domain.errors import DaypassError, ErrorKind, ignored
from daypass.domain.events import Event, EventType
from daypass.domain.policy.model import Decision
from daypass.operations.grants.use import end_access
from daypass.operations.iam import faults
from daypass.operations.leaving import BLOCK, ActiveCredentials, delete_disabled, disable, holdings_of
from daypass.operations.management import InAws, allow
from daypass.operations.oauth import consent
from daypass.operations.oauth.web_identity_token import MAX_SECONDS
from daypass.operations.outcome import served
from daypass.operations.record.explore import pages_of
from daypass.operations.revocation import NO_BLOCK, block_of, new_revocation, store
from daypass.operations.sessions.revoke import Ended, check_reason, count_ended, counted_of
from daypass.operations.sessions.subjects import resource_of, subject_of
from daypass.ports import Call, Env, Reader, RecordFilter, Tx, Viewer

MAX_SUBJECTS: Final = 20
DELETING: Final = (
    "iam:DeleteUser",
    "iam:DeleteAccessKey",
    "iam:RemoveUserFromGroup",
    "iam:DetachUserPolicy",
    "iam:DeleteUserPolicy",
)
"""The further permissions, on the user, to delete it as well."""


class Offboarded(NamedTuple):
    """The report."""

    account: str
    user: User | None
    removed: ActiveCredentials  # what this call disabled (with `dry_run`: what a call would disable)
    made: tuple[Revocation, ...]  # the new revocations
    already_blocked: tuple[Revocation, ...]  # earlier revocations that already block a subject
    ended: Ended | None = None  # the sessions that ended; None when the database could not count them
    # Tokens for other clouds, which no revocation reaches; None when the database could not list them.
    outstanding: Outstanding | None = None


async def offboard(env: Env, call: Call, request: OffboardInput) -> Offboarded:
    """daypass:Offboard on `user/NAME`, with iam:UpdateAccessKey, iam:DeleteLoginProfile and iam:DeactivateMFADevice on
    the user (to delete it, also those of `DELETING`), and daypass:RevokeSession on each further subject.

    Raises DaypassError: ACCESS_DENIED, VALIDATION, NOT_FOUND, LIMIT_EXCEEDED.
    """
    _check(request)
    owner = request.account or call.caller.account
    user, decision = await _user(env, call, owner, request)
    subjects = [("principal", user.id)] if user is not None else []
    for each in request.also:
        kind, value = each.kind, each.value
        subject = await subject_of(env, call, kind, value, owner)
        resource, in_aws = resource_of(kind, subject.value or value), InAws(tags=subject.tags)
        decision = await allow(env, call, "RevokeSession", *resource, owner, in_aws=in_aws)
        if subject.fault is not None:
            raise subject.fault
        subjects.append((kind, subject.value))
    wanted = _revocations(env, call, request, owner, subjects)
    before = env.records.revocations()

    async def counted(report: Offboarded) -> Offboarded:
        outstanding = await outstanding_tokens(env, owner, subjects)
        return report._replace(ended=await count_ended(env, wanted, before), outstanding=outstanding)

    def report_of(tx: Reader) -> Offboarded:
        removed = holdings_of(tx, user) if user is not None else ActiveCredentials()
        blocks = {made.id: block for made in wanted if (block := block_of(tx, made)) is not None}
        made = tuple(revocation for revocation in wanted if revocation.id not in blocks)
        return Offboarded(owner, user, removed, made, tuple(blocks.values()))

    def change(tx: Tx) -> tuple[Offboarded, Event]:
        report = report_of(tx)
        if user is not None:
            _end(env, call, tx, user, delete=request.delete)
        for kind, value in subjects:
            if kind == "principal":
                end_access(env, call, tx, value, owner)
                consent.delete_all(tx, owner, value)
        report = report._replace(made=tuple(store(tx, made, call.caller.account) for made in report.made))
        return report, _event(call, request, report, decision)

    if request.dry_run:
        report = await counted(await env.directory.read(report_of, account=call.caller.account, urgent=True))
        await env.journal.commit(_event(call, request, report, decision))
        return report
    return await counted(await env.journal.write(change, account=call.caller.account, urgent=True))


def _revocations(
    env: Env, call: Call, request: OffboardInput, owner: str, subjects: Sequence[tuple[str, str]]
) -> list[Revocation]:
    """One for each subject. The id of a user that is deleted needs no block: it is the first subject."""
    gone = subjects[0] if request.user and request.delete else None
    made_by, reason = call.caller.arn, request.reason
    return [
        new_revocation(
            env.ids, owner, each, now=call.now, by=made_by, reason=reason, block=NO_BLOCK if each == gone else BLOCK
        )
        for each in dict.fromkeys(subjects)
    ]


def _check(request: OffboardInput) -> None:
    check_reason(request.reason)
    if not request.user and not request.also:
        raise DaypassError(ErrorKind.VALIDATION, "Name a user, or at least one principal or source identity.")
    if request.delete and not request.user:
        raise DaypassError(ErrorKind.VALIDATION, "Name the user that is to be deleted.")
    if len(request.also) > MAX_SUBJECTS:
        raise DaypassError(ErrorKind.VALIDATION, f"At most {MAX_SUBJECTS} further subjects are possible.")
    if request.account and not is_account_id(request.account):
        raise DaypassError(ErrorKind.VALIDATION, "An account id is 12 digits.")
    if any(each.kind not in ("principal", "source_identity", "access_key") for each in request.also):
        raise DaypassError(ErrorKind.VALIDATION, "Further subjects are principals, source identities or access keys.")


async def _user(env: Env, call: Call, owner: str, request: OffboardInput) -> tuple[User | None, Decision | None]:
    """The user, after authorization; (None, None) when the request names none."""
    name = request.user
    if not name:
        return None, None
    user = await env.directory.read(
        lambda tx: tx.get(User, account=owner, name=name), account=call.caller.account, urgent=True
    )
    known, arn = (user.name, user.arn) if user is not None else (name, f"arn:aws:iam::{owner}:user/{name}")
    in_aws = InAws(arn, DELETING if request.delete else (), user.tags if user is not None else ())
    decision = await allow(env, call, "Offboard", "user", known, owner, in_aws=in_aws, requested=name)
    if user is None:
        raise faults.no_such("user", name)
    return user, decision


def _end(env: Env, call: Call, tx: Tx, user: User, *, delete: bool) -> None:
    """Disables the user, and deletes it if the request says so. Raises DaypassError(NOT_FOUND): it was deleted meanwhile."""
    if tx.get(User, id=user.id) is None:
        raise faults.no_such("user", user.name)
    disable(env, call, tx, user)
    if delete:
        delete_disabled(env, call, tx, user)


def _event(call: Call, request: OffboardInput, report: Offboarded, decision: Decision | None) -> Event:
    changed = report.made or any(report.removed) or request.delete
    detail: dict[str, Any] = {
        "user": report.user.arn if report.user is not None else "",
        "keys": report.removed.keys,
        "password": report.removed.password,
        "mfa_devices": report.removed.devices,
        "passkeys": report.removed.passkeys,
        "access_requests": report.removed.requests,
        "grants": report.removed.grants,
        "scim_tokens": report.removed.scim_tokens,
        "consents": report.removed.consents,
        "chat_users": report.removed.chat_users,
        "revocations": [{"id": r.id, "subject": r.subject, "value": r.value} for r in report.made],
        "already_blocked": [r.id for r in report.already_blocked],
        "reason": request.reason,
        **({"deleted": True} if request.delete else {}),
        **(counted_of(report.ended) if request.dry_run else {}),
    }
    kind = EventType.OFFBOARDED if changed and not request.dry_run else EventType.REQUEST_ALLOWED
    return served(call, kind=kind, account=report.account, decision=decision, detail=detail)


# --- Tokens for other clouds that are still valid: a revocation does not reach them, so they are listed


MAX_RECORDS: Final = 10_000
"""Maximum number of records examined."""
_PAGE: Final = 1_000


class Outstanding(NamedTuple):
    """The tokens; there may be more when not `complete`."""

    tokens: tuple[OutstandingTokenOut, ...]
    complete: bool


async def outstanding_tokens(env: Env, account: str, subjects: Collection[tuple[str, str]]) -> Outstanding | None:
    """The valid tokens of these subjects of the account, as (kind, value) of a revocation; None when the database cannot
    answer.
    """
    now = env.clock.now()
    query = RecordFilter(
        account=account, type=EventType.WEB_IDENTITY_ISSUED.value, since=now - 1000 * MAX_SECONDS, limit=_PAGE
    )
    found: list[OutstandingTokenOut] = []
    looked_at = 0
    with ignored(ErrorKind.UNAVAILABLE):
        async for page in pages_of(env, Viewer(account), query):
            looked_at += len(page)
            tokens = (_token(view.body or {}, subjects) for view in page)
            found += [token for token in tokens if token is not None and token.expires_at > now]
            if looked_at >= MAX_RECORDS:
                return Outstanding(tuple(found), complete=False)
        return Outstanding(tuple(found), complete=True)
    return None


def _token(body: Mapping[str, Any], subjects: Collection[tuple[str, str]]) -> OutstandingTokenOut | None:
    actor, detail = body.get("actor", {}), body.get("detail", {})
    origin = actor.get("origin", {})
    named = {
        *(("principal", principal) for principal in detail.get("principals", ())),
        ("access_key", actor.get("access_key_id")),
        ("access_key", origin.get("access_key_id")),
        ("source_identity", actor.get("source_identity")),
    }
    if named.isdisjoint(subjects):
        return None
    return OutstandingTokenOut(
        detail.get("jti", ""), actor.get("arn", ""), list(detail.get("audience", ())), detail.get("expires_at", 0)
    )
