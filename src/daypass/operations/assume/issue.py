"""Issues sessions. Every session of the installation is issued here.

A credential is prepared, its session is recorded, and only then is it returned. No credential is returned before its event
is durable, and no blocked subject gets one. A session that does not fit its form is refused before it is recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Generic, TypeAlias, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from daypass.domain.assumption import Assumption
from daypass.domain.directory import Revocation, Role
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event, EventType
from daypass.domain.policy.model import Decision
from daypass.domain.session import (
    FeedPosition,
    Hop,
    SessionClaims,
    SessionKind,
    SessionRefused,
    extend_chain,
    role_session_seconds,
)
from daypass.operations.assume.applicant import Applicant, SessionParent, check_again
from daypass.operations.assume.forms import Deferred, Form
from daypass.operations.assume.request import SessionRequest, commit_once, consume, keep_policies
from daypass.operations.grants.use import GrantMoved, GrantRefused, GrantUse, consume_grant
from daypass.operations.outcome import ACTOR, OWNER, source_of
from daypass.ports import Env, Tx

C = TypeVar("C")

# Bound once: before Python 3.12 every look-up of an enum's member runs Python code.
_ROLE: Final = SessionKind.ROLE
_ISSUED: Final = EventType.SESSION_ISSUED


class Issued(Struct, Generic[C], frozen=True):
    """A recorded session, and its credential in the requested form."""

    session: SessionClaims
    credential: C


Also: TypeAlias = Callable[[Tx, Issued[C]], None]
"""Writes more in the transaction that records the session. A DaypassError that it raises rolls all of it back."""


class Overtaken(Exception):
    """The directory has changed since what `issue` was told had been decided."""


async def issue(  # noqa: PLR0913, PLR0917  # each is a part of the session's transaction
    env: Env,
    applicant: Applicant,
    session: SessionClaims,
    request: SessionRequest,
    form: Form[C],
    decision: Decision | None = None,
    also: Also[C] | None = None,
    use: GrantUse | None = None,
    decided: FeedPosition | None = None,
) -> Issued[C]:
    """Prepares a credential, records its session, and returns both, in that order. `use`: the access grant that it uses.
    `decided`: the directory's position when the decision began; Overtaken if there is a later one.

    Raises DaypassError: ACCESS_DENIED when a subject in the chain is blocked, PACKED_POLICY_TOO_LARGE, UNAVAILABLE,
    INVALID_IDENTITY_TOKEN and the other kinds of `replay` when a one-time proof was used before; GrantRefused and
    GrantMoved for a grant; and the errors of `also`.
    """
    block = env.directory.blocked(session.hops, session.source_identity, session.issued_at)
    if block is not None:
        raise _blocked(block, applicant, session)
    if form.listed:
        session = replace(session, status_index=env.statuses.allocate(session))
    credential = Deferred(await form.prepare(env, session))
    await check_again(env, applicant)
    if decided is not None and env.directory.seen() != decided:
        raise Overtaken
    facts = applicant.facts
    event = Event(
        _ISSUED,
        session.issued_at,
        session.account,
        applicant.parent.actor,
        source_of(facts),
        facts.request_id,
        facts.trace_id,
        facts.operation,
        "",  # no error
        session.session_id,
        decision.recorded if decision is not None else None,
        session_detail(session, request.policy, request.policy_arns, form.record),
        session.grant_id,
        session.client_id,
    )
    if not applicant.parent.replays and also is None and use is None:
        await env.journal.commit(event, session, (), credential.make)
    else:
        await _commit_together(env, applicant.parent, event, session, credential, also, use)
    return Issued(session, credential.make())


async def _commit_together(  # each is a part of the transaction
    env: Env,
    parent: SessionParent,
    event: Event,
    session: SessionClaims,
    credential: Deferred[C],
    also: Also[C] | None,
    use: GrantUse | None,
) -> None:
    """Records the session, the use of its one-time proofs and of its grant, and what `also` writes in one transaction."""

    def change(tx: Tx) -> tuple[None, Event]:
        for entry in parent.replays:
            consume(tx, entry)
        if also is not None:
            also(tx, Issued(session, credential.make()))
        if use is None:
            return None, event
        used = consume_grant(env, tx, use, session)
        return None, replace(event, detail={**event.detail, "grant": used})

    try:
        if also is None and use is None:
            await commit_once(env, event, parent.replays, session, credential.make)
        else:
            credential.make()  # the writer's thread only reads it
            await env.journal.write(change, session, account=session.account)
    except (GrantMoved, GrantRefused):
        raise
    except DaypassError as error:
        known = {OWNER: session.account, ACTOR: parent.actor}
        raise DaypassError(error.kind, error.public, private={**known, **error.private}) from None


def _blocked(block: Revocation, applicant: Applicant, session: SessionClaims) -> DaypassError:
    actor = applicant.parent.actor.get("arn", "anonymous")
    resource = f" on resource: {session.arn}" if session.kind is _ROLE else ""
    return DaypassError(
        ErrorKind.ACCESS_DENIED,
        f"User: {actor} is not authorized to perform: {applicant.facts.operation}{resource}",
        private={OWNER: block.account, "reason": "blocked", "revocation": block.id},
        explanation={"allowed": False, "reason": "a revocation blocks new sessions", "revocation": block.id},
    )


def session_detail(
    claims: SessionClaims, policy: str, policy_arns: tuple[str, ...], form: Mapping[str, Any] | None = None
) -> Mapping[str, Any]:
    """Details of the event about a session, in addition to the session itself: the request and the result, never a
    secret. `form`: see `forms.Form.record`.
    """
    detail: dict[str, Any] = {
        "kind": claims.kind,
        "principal": claims.arn,
        "principal_id": claims.principal_id,
        "name": claims.name,
        "access_key_id": claims.hops[-1].access_key_id,
        "expires_at": claims.expires_at,
        "hops": len(claims.hops),
    }
    if claims.tags:
        detail["tags"] = dict(claims.tags)
        detail["transitive_keys"] = claims.transitive_keys
    if claims.source_identity:
        detail["source_identity"] = claims.source_identity
    if policy:
        detail["policy"] = policy
    if claims.policy_hashes:
        detail["policy_arns"] = policy_arns
        detail["policy_hashes"] = claims.policy_hashes
    if claims.may_act is not None:
        detail["may_act"] = claims.may_act._asdict()
    if claims.description:
        detail["description"] = claims.description
    if len(claims.hops) > 1 and claims.hops[-2].session_id:
        detail["parent_session_id"] = claims.hops[-2].session_id
    if claims.status_index >= 0:
        detail["status_index"] = claims.status_index
    if form:
        detail.update(form)
    return detail


# --- Composes the claims of a session from the applicant, the owner and the request


class SessionOwner(Struct, frozen=True):
    """The owner of the session. The fields are those of `SessionClaims`."""

    kind: SessionKind
    account: str
    principal_id: str
    arn: str
    user_id: str = ""
    mfa_at: int = 0


def role_owner(role: Role, request: SessionRequest, *, chained: bool) -> tuple[SessionOwner, int]:
    """The role as the owner of a session, and the session's lifetime in seconds. Raises DaypassError(VALIDATION)."""
    try:
        seconds = role_session_seconds(request.duration, role, chained=chained)
    except SessionRefused as refusal:
        raise DaypassError(ErrorKind.VALIDATION, refusal.message, private={OWNER: role.account}) from None
    return SessionOwner(_ROLE, role.account, role.id, role.arn), seconds


async def compose(
    env: Env,
    applicant: Applicant,
    owner: SessionOwner,
    request: SessionRequest,
    assumption: Assumption,
    seconds: int,
    not_after: int = 0,
) -> SessionClaims:
    """The claims of a new session at the end of the applicant's chain. `not_after`: ms; its latest end; 0: no limit.

    Raises DaypassError: ACCESS_DENIED if the chain is too deep, VALIDATION if a managed policy does not exist.
    """
    parent, now, seen = applicant.parent, applicant.snapshot.now, applicant.snapshot.seen
    wanted = now + min(seconds, request.max_seconds or seconds) * 1000
    expires_at = min(wanted, parent.not_after or wanted, not_after or wanted)
    session_id, key_id = env.ids.session(), env.ids.access_key("ASIA")
    account, grant_id, client_id = owner.account, assumption.grant_id, assumption.client_id
    own = Hop(session_id, account, owner.principal_id, now, seen, key_id, request.name, grant_id, client_id)
    hops = _extended(env, parent.hops, own)
    arns = request.policy_arns
    hashes = await keep_policies(env, applicant.facts, parent.actor, account, arns, expires_at) if arns else ()
    return SessionClaims(  # mostly positional: so many keywords would cost more than the rest of the function
        owner.kind,
        session_id,
        account,
        owner.principal_id,
        owner.arn,
        request.name,
        now,
        expires_at,
        seen,
        hops,
        assumption.tags,
        assumption.transitive_keys,
        assumption.source_identity,
        owner.mfa_at,
        _policies(request, assumption),
        bool(request.policy),
        hashes,
        owner.user_id,
        grant_id,
        derivation_key=env.sealer.derivation_key(),
        auth_method=parent.auth_method,
        keys=parent.keys,
        client_id=client_id,
        audiences=parent.audiences,
        scopes=parent.scopes,
        may_act=parent.may_act,
    )


def _extended(env: Env, hops: tuple[Hop, ...], own: Hop) -> tuple[Hop, ...]:
    """The chain with one more hop. Raises DaypassError(ACCESS_DENIED) if it is too deep."""
    try:
        return extend_chain(hops, own, env.limits.chain_depth)
    except SessionRefused as refusal:
        raise DaypassError(ErrorKind.ACCESS_DENIED, refusal.message, private={OWNER: own.account}) from None


def _policies(request: SessionRequest, assumption: Assumption) -> tuple[str, ...]:
    """The inline policies, each of which limits the session: those of the request, and those of the access grant."""
    own = tuple(filter(None, (request.policy, request.scope_policy)))
    return own if assumption.grant is None else (*own, *assumption.grant.policies)


def narrower_hop(env: Env, session: SessionClaims, applicant: Applicant) -> Hop:
    """The hop of a session that narrows `session` and keeps its identity."""
    now, seen = applicant.snapshot.now, applicant.snapshot.seen
    ids = env.ids.session(), session.account, session.principal_id
    return Hop(*ids, now, seen, env.ids.access_key("ASIA"), session.name, session.grant_id, session.client_id)
