"""Revokes sessions: a revocation on the record and on the feed ends them everywhere within a second.

The owner of a revocation is the account whose hops it can end. Revoked sessions stay revoked; see `lift` for blocks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

from daypass.api.sessions import RevokeSessionInput
from daypass.domain.arn import is_account_id, role_arn
from daypass.domain.directory import ReplayEntry, Revocation, Role
from daypass.domain.errors import DaypassError, ErrorKind, ignored
from daypass.domain.events import Event, EventType
from daypass.domain.policy.model import Decision
from daypass.domain.revocation_index import RevocationIndex
from daypass.domain.session import SessionClaims
from daypass.operations.assume.request import consume
from daypass.operations.grants.use import end_revoked_grant
from daypass.operations.management import EVERY_ACCOUNT, InAws, allow, is_operator, read_page, read_recorded
from daypass.operations.outcome import served
from daypass.operations.principals import arn_of_principal
from daypass.operations.revocation import Block, new_revocation, store
from daypass.operations.sessions.subjects import (
    SUBJECTS,
    ResolvedSubject,
    resource_of,
    subject_in_memory,
    subject_of,
    tags_of_principal,
)
from daypass.operations.ssf.logout import tell_of_revocation
from daypass.ports import Call, Env, Offline, Reader, Tx

MAX_REASON = 256
SECONDS_TO_FIND = 0.1
"""How long a value that names no entity is looked for among the active sessions. It delays the revocation."""


class Revoked(NamedTuple):
    """The revocation, and the sessions that it ended; `ended` is None when they could not be counted."""

    revocation: Revocation
    ended: Ended | None


async def revoke(env: Env, call: Call, request: RevokeSessionInput, replays: tuple[ReplayEntry, ...] = ()) -> Revoked:
    """daypass:RevokeSession on `KIND/VALUE`. Raises DaypassError: ACCESS_DENIED, VALIDATION, NOT_FOUND, LIMIT_EXCEEDED.

    A value without an entity and without active sessions in the owning account is NOT_FOUND unless `force` is set. So is
    the id of a session that is not on the record; it may be in the spool of another process. Sessions are counted after
    the revocation. A dry run needs the same permission and gives the same answer, but revokes nothing.
    `replays`: the one-time proofs of the request. They need the database, so such a request is refused without it.
    """
    _check(call, request)
    subject = await _subject(env, call, request)
    kind, name = resource_of(request.subject, subject.value or request.value)
    decision = await allow(env, call, "RevokeSession", kind, name, subject.owner, in_aws=InAws(tags=subject.tags))
    if subject.fault is not None and not (request.force and subject.value):
        raise subject.fault
    revocation = new_revocation(
        env.ids,
        subject.owner,
        (request.subject, subject.value),
        now=call.now,
        by=call.caller.arn,
        reason=request.reason,
        block=Block(request.block or request.block_until is not None, request.block_until),
    )
    before = env.records.revocations()
    if not subject.known and not request.force:
        found = await count_ended(env, (revocation,), before, seconds=SECONDS_TO_FIND)
        if found is not None and not found.sessions:
            raise _unknown(request)
    if request.dry_run:
        ended = await count_ended(env, (revocation,), before)
        await env.journal.commit(_event(call, request, (revocation, subject.arn), decision, ended))
        return Revoked(revocation, ended)

    def change(tx: Tx) -> tuple[Revocation, Event]:
        for entry in replays:
            consume(tx, entry)
        stored = store(tx, revocation, call.caller.account)
        tell_of_revocation(env.ids, tx, stored, call.now)
        if stored.subject == "grant":
            end_revoked_grant(env, call, tx, stored)
        return stored, _event(call, request, (stored, subject.arn), decision)

    event = _event(call, request, (revocation, subject.arn), decision)
    offline = None if replays else Offline(revocation, event, revocation)
    made = await env.journal.write(change, account=call.caller.account, urgent=True, offline=offline)
    return Revoked(made, await count_ended(env, (revocation,), before))


def _event(
    call: Call,
    request: RevokeSessionInput,
    made: tuple[Revocation, str],
    decision: Decision,
    ended: Ended | None = None,
) -> Event:
    """`made`: the revocation, and the ARN of whom it is about; "": none is known."""
    revocation, arn = made
    return served(
        call,
        kind=EventType.REQUEST_ALLOWED if request.dry_run else EventType.SESSION_REVOKED,
        account=revocation.account,
        session_id=revocation.value if revocation.subject == "session" else "",
        decision=decision,
        detail={
            **detail_of(revocation),
            **({"arn": arn} if arn else {}),
            "reason": request.reason,
            **(counted_of(ended) if request.dry_run else {}),
        },
    )


async def _subject(env: Env, call: Call, request: RevokeSessionInput) -> ResolvedSubject:
    """The subject; from memory while the database is unavailable."""
    with ignored(ErrorKind.UNAVAILABLE):
        return await subject_of(env, call, request.subject, request.value, request.account)
    return await subject_in_memory(env, call, request.subject, request.value, request.account)


def counted_of(ended: Ended | None) -> dict[str, Any]:
    """Details of the event about a dry run. A revocation is on the record before its sessions are counted."""
    count, complete = (ended.sessions, ended.complete) if ended is not None else (None, False)
    return {"dry_run": True, "sessions_ended": count, "sessions_complete": complete}


def detail_of(revocation: Revocation) -> dict[str, Any]:
    """A revocation as the record shows it."""
    return {
        "revocation": revocation.id,
        "subject": revocation.subject,
        "value": revocation.value,
        "block": revocation.block,
        "block_until": revocation.block_until,
    }


async def list_revocations(
    env: Env, call: Call, account: str = "", after: str = "", limit: int = 100, *, blocks: bool = False
) -> tuple[list[Revocation], str]:
    """daypass:ListRevocations of one account, oldest first; and the `after` of the next page, "" at the end. `blocks`: only
    those that keep their subject from getting sessions now; a page may have fewer than `limit`.
    """
    if account == EVERY_ACCOUNT:
        raise DaypassError(ErrorKind.VALIDATION, "Revocations are listed account by account.")

    def query(tx: Reader, owner: str) -> tuple[list[Revocation], str]:
        if not blocks:
            return read_page(tx, Revocation, "position", after, limit, account=owner)
        found, following = read_page(tx, Revocation, "position", after, limit, account=owner, block=True)
        return [revocation for revocation in found if revocation.blocks_at(call.now)], following

    return await read_recorded(env, call, "ListRevocations", "revocation", "*", account, query)


def _check(call: Call, request: RevokeSessionInput) -> None:
    if request.subject not in SUBJECTS:
        raise DaypassError(ErrorKind.VALIDATION, f"The subject must be one of: {', '.join(SUBJECTS)}.")
    if request.account and not is_account_id(request.account):
        raise DaypassError(ErrorKind.VALIDATION, "An account id is 12 digits.")
    if request.block_until is not None and request.block_until <= call.now:
        raise DaypassError(ErrorKind.VALIDATION, "block_until must be in the future.")
    check_reason(request.reason)


def check_reason(reason: str) -> None:
    """Raises DaypassError(VALIDATION) for a reason that is too long or not printable."""
    if len(reason) > MAX_REASON or not reason.isprintable():  # "" is printable
        raise DaypassError(ErrorKind.VALIDATION, f"A reason is at most {MAX_REASON} printable characters.")


def _unknown(request: RevokeSessionInput) -> DaypassError:
    what = request.subject.replace("_", " ")
    return DaypassError(
        ErrorKind.NOT_FOUND,
        f"The {what} {request.value} is not known in this account, and no active session has it. To revoke it "
        "nevertheless, set force (--force).",
    )


# --- Counts the active sessions that revocations ended: for display, and to check that a value is known


MAX_SESSIONS: Final = 20_000
"""Maximum number of active sessions examined."""
MAX_SECONDS: Final = 0.5
"""How long counting may take."""


class Ended(NamedTuple):
    """`sessions` active sessions match; there may be more when not `complete`. `last_expiry`: of those, in ms; 0 for none.

    A verifier that does not follow revocations accepts access tokens of these sessions until then.
    """

    sessions: int
    complete: bool
    last_expiry: int = 0


async def count_ended(
    env: Env,
    revocations: Sequence[Revocation],
    before: Sequence[Revocation],
    *,
    most: int = MAX_SESSIONS,
    seconds: float = MAX_SECONDS,
) -> Ended | None:
    """The active sessions, in any account, that `revocations` end; None when none was found and not all were examined.

    `before`: the revocations that were known before. A session that one of them ended is not counted.
    """
    index, earlier = RevocationIndex(), _Earlier(before, env.directory.seen().epoch)
    for revocation in revocations:
        index.add(revocation)
    count = looked_at = last_expiry = 0
    complete = False
    with ignored(ErrorKind.UNAVAILABLE, ErrorKind.THROTTLED):
        try:
            async with asyncio.timeout(seconds):
                async for claims in env.records.may_be_ended(revocations, most + 1):
                    if index.revoked(claims) is not None and not earlier.ended(claims):
                        count += 1
                        last_expiry = max(last_expiry, claims.expires_at)
                    looked_at += 1
                complete = looked_at <= most
        except TimeoutError:
            pass
    return Ended(count, complete, last_expiry) if complete or count else None


class _Earlier:
    """Earlier revocations, by their values: of an account's many, few are about one session."""

    def __init__(self, revocations: Sequence[Revocation], epoch: str) -> None:
        self._epoch = epoch
        self._by_value: dict[str, list[Revocation]] = {}
        for revocation in revocations:
            self._by_value.setdefault(revocation.value, []).append(revocation)

    def ended(self, claims: SessionClaims) -> bool:
        values = {claims.source_identity}
        for hop in claims.hops:
            values |= {hop.session_id, hop.account, hop.principal_id, hop.access_key_id, hop.grant_id, hop.client_id}
        index = RevocationIndex(self._epoch)
        for value in values & self._by_value.keys():
            for revocation in self._by_value[value]:
                index.add(revocation)
        return index.revoked(claims) is not None


# --- Lifts a block: the subject of a revocation may get new sessions again


async def lift_block(env: Env, call: Call, revocation_id: str, reason: str = "") -> Revocation:
    """daypass:LiftBlock on `KIND/VALUE` of the blocked subject, with iam:DeleteRolePolicy on the affected roles.

    Returns the revocation after the change.

    Raises DaypassError: ACCESS_DENIED; NOT_FOUND, also for those of other accounts; VALIDATION when it does not block.
    """
    check_reason(reason)
    revocation = await _visible(env, call, revocation_id)
    if revocation is None:
        await _allow_any(env, call, revocation_id)
        raise _missing(revocation_id)
    kind, name = resource_of(revocation.subject, revocation.value)
    in_aws, arn = await _in_aws(env, revocation, kind, call.caller.account)
    try:
        decision = await allow(env, call, "LiftBlock", kind, name, revocation.account, in_aws=in_aws)
    except DaypassError:
        await _allow_any(env, call, revocation_id)  # a caller that may lift no block must not learn the subject
        raise
    detail = {
        "revocation": revocation.id,
        "subject": revocation.subject,
        "value": revocation.value,
        **({"arn": arn} if arn else {}),
        "block_until_before": revocation.block_until,
        "reason": reason,
    }
    event = served(call, kind=EventType.BLOCK_LIFTED, account=revocation.account, decision=decision, detail=detail)

    def change(tx: Tx) -> Revocation:
        stored = tx.get(Revocation, id=revocation.id)
        if stored is None:
            raise _missing(revocation_id)
        if not stored.blocks_at(call.now):
            raise DaypassError(ErrorKind.VALIDATION, f"Revocation {revocation.id} does not block anyone.")
        lifted = replace(stored, block_until=call.now)
        tx.replace(lifted)
        return lifted

    return await env.journal.write(lambda tx: (change(tx), event), account=call.caller.account, urgent=True)


async def _allow_any(env: Env, call: Call, revocation_id: str) -> None:
    """Refuses those who may lift no block of their account, alike for one that exists and one that does not."""
    await allow(env, call, "LiftBlock", "revocation", revocation_id, in_aws=InAws(_every_role(call.caller.account)))


async def _visible(env: Env, call: Call, revocation_id: str) -> Revocation | None:
    """The revocation, if it belongs to the caller's account or the caller to the operator account."""
    revocation = await env.directory.read(
        lambda tx: tx.get(Revocation, id=revocation_id), account=call.caller.account, urgent=True
    )
    if revocation is None or revocation.account == call.caller.account or await is_operator(env, call.caller):
        return revocation
    return None


async def _in_aws(env: Env, revocation: Revocation, kind: str, account: str) -> tuple[InAws, str]:
    """The roles that may be assumed again: the blocked role, otherwise any role of the account. With the tags of the
    blocked role or user. And the ARN of whom the revocation is about; "": none.
    """

    def query(tx: Reader) -> tuple[InAws, str]:
        role = tx.get(Role, id=revocation.value) if kind == "role" else None
        tags = tags_of_principal(tx, revocation.value) if kind in ("role", "principal") else ()
        arn = arn_of_principal(tx, revocation.value) if kind in ("role", "principal") else ""
        return InAws(role.arn if role is not None else _every_role(revocation.account), tags=tags), arn

    return await env.directory.read(query, account=account, urgent=True)


def _every_role(account: str) -> str:
    return role_arn(account, "/", "*")


def _missing(revocation_id: str) -> DaypassError:
    return DaypassError(ErrorKind.NOT_FOUND, f"The revocation {revocation_id} cannot be found.")
