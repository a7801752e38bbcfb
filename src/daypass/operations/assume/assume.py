"""Assuming a role: the one path to a role session, for every proof and every form of credential.

Every exit records an event: `outcome.refused` records a refusal, and `issue` records a session before it is returned.
"""

from __future__ import annotations

from typing import Final, TypeVar

from msgspec.structs import replace

from daypass.domain.access.request import latest_end
from daypass.domain.assumption import Assumption
from daypass.domain.directory import Grant
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.session import SessionRefused, session_tags
from daypass.operations.assume.applicant import Applicant, SessionParent, admitted
from daypass.operations.assume.forms import Form
from daypass.operations.assume.issue import Also, Issued, Overtaken, compose, issue, role_owner
from daypass.operations.assume.request import AssumeRequest, SessionRequest, check
from daypass.operations.grants.use import GrantMoved, GrantRefused, GrantUse, candidates, end_now
from daypass.operations.outcome import OWNER
from daypass.ports import Env

C = TypeVar("C")

_ATTEMPTS: Final = 5  # another request may start the clock of a grant, or use it up, at the same time


async def assume(
    env: Env, applicant: Applicant, request: AssumeRequest, form: Form[C], also: Also[C] | None = None
) -> Issued[C]:
    """Issues a session of the requested role to the applicant, in the given form. `also`: see `issue`.

    Raises DaypassError: VALIDATION, INVALID_PARAMETER, MALFORMED_POLICY, ACCESS_DENIED, INVALID_IDENTITY_TOKEN when a
    one-time proof was used before, PACKED_POLICY_TOO_LARGE when the session does not fit the form, UNAVAILABLE.
    """
    role = await check(env, applicant.home_account, request)
    assumption = inherit(applicant.parent, request.session, request.external_id)
    refused: dict[str, DaypassError] = {}  # by grant
    ends: dict[str, int] = {}  # by grant, as a use found it
    for attempt in range(_ATTEMPTS):
        decided = env.directory.seen() if not attempt else None  # decided once more at most: everybody's changes count
        try:
            view, decision, grant = await admitted(env, applicant, role, assumption, request.action, refused)
        except DaypassError as error:
            denied = error.kind is ErrorKind.ACCESS_DENIED and refused
            raise next(iter(refused.values())) if denied else error from None
        owner, seconds = role_owner(view.role, request.session, chained=applicant.parent.chained)
        use = _use_of(grant, applicant, ends.get(grant.id)) if grant is not None else None
        granted = replace(assumption, grant=grant) if grant is not None else assumption
        not_after = use.not_after if use is not None else 0
        session = await compose(env, applicant, owner, request.session, granted, seconds, not_after)
        try:
            return await issue(env, applicant, session, request.session, form, decision, also, use, decided)
        except Overtaken:
            continue
        except (GrantMoved, GrantRefused) as error:
            assert grant is not None
            assert use is not None
            if isinstance(error, GrantMoved):
                ends[grant.id] = error.ends_at
            else:
                refused[grant.id] = await _void(env, use, applicant, error)
                if not any(candidates(view, applicant.parent.hops, applicant.snapshot.now, refused)):
                    raise refused[grant.id] from None
            await env.directory.refresh()  # a grant that gives no session does not hide another of the person
    raise DaypassError(ErrorKind.CONCURRENT_MODIFICATION, "The access grant kept changing. Try again.")


def _use_of(grant: Grant, applicant: Applicant, ends_at: int | None) -> GrantUse:
    """The use of a grant by an applicant, now. `ends_at`: its end, if an earlier attempt found it."""
    ids = tuple(dict.fromkeys(hop.principal_id for hop in applicant.parent.hops))
    return GrantUse(grant, ids, ends_at or latest_end(grant, applicant.snapshot.now))


async def _void(env: Env, use: GrantUse, applicant: Applicant, error: GrantRefused) -> DaypassError:
    """Ends a grant that a use found void, records it, and returns the refusal for the person."""
    grant = use.grant
    if error.reason is not None:
        await end_now(env, grant.id, error.reason, str(error), applicant.facts.request_id)
    role = grant.role_arn
    actor = applicant.parent.actor.get("arn", "anonymous")
    return DaypassError(
        ErrorKind.ACCESS_DENIED,
        f"User: {actor} is not authorized to perform: sts:AssumeRole on resource: {role}. The access grant {grant.id} "
        f"cannot be used: {error}",
        private={OWNER: grant.account, "reason": "grant", "grant": grant.id, "resource": role},
        explanation={"allowed": False, "reason": str(error), "grant": grant.id},
    )


def inherit(parent: SessionParent, session: SessionRequest, external_id: str = "") -> Assumption:
    """The properties of the new session: those requested and those inherited from the chain.

    A chain never allows overriding a transitive tag or changing the source identity.
    Raises DaypassError with AWS's messages: VALIDATION, INVALID_PARAMETER.
    """
    if parent.source_identity and session.source_identity not in ("", parent.source_identity):
        raise DaypassError(ErrorKind.VALIDATION, "The source identity is already set for this assume role session")
    tags, transitive = session.tags, session.transitive_keys
    if tags or transitive or parent.tags:
        try:
            tags, transitive = session_tags(session.tags, session.transitive_keys, parent.tags)
        except SessionRefused as refusal:
            raise DaypassError(ErrorKind.INVALID_PARAMETER, refusal.message) from None
    return Assumption(
        session.name,
        external_id,
        parent.source_identity or session.source_identity,
        tags,
        transitive,
        client_id=parent.client_id,
    )
