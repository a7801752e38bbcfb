"""Composes the claims of a session from the applicant, the owner and the request. It records nothing."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from daypass.domain.assumption import Assumption
from daypass.domain.directory import Role
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.session import Hop, SessionClaims, SessionKind, SessionRefused, extend_chain, role_session_seconds
from daypass.operations.assume.applicant import Applicant
from daypass.operations.assume.request import SessionRequest
from daypass.operations.assume.session_policies import keep_policies
from daypass.operations.outcome import OWNER
from daypass.ports import Env

_ROLE: Final = SessionKind.ROLE  # bound once: before Python 3.12 every look-up of an enum's member runs Python code


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
    try:
        hops = extend_chain(parent.hops, own, env.limits.chain_depth)
    except SessionRefused as refusal:
        raise DaypassError(ErrorKind.ACCESS_DENIED, refusal.message, private={OWNER: account}) from None
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


def _policies(request: SessionRequest, assumption: Assumption) -> tuple[str, ...]:
    """The inline policies, each of which limits the session: those of the request, and those of the access grant."""
    own = tuple(filter(None, (request.policy, request.scope_policy)))
    return own if assumption.grant is None else (*own, *assumption.grant.policies)


def narrower_hop(env: Env, session: SessionClaims, applicant: Applicant) -> Hop:
    """The hop of a session that narrows `session` and keeps its identity."""
    now, seen = applicant.snapshot.now, applicant.snapshot.seen
    ids = env.ids.session(), session.account, session.principal_id
    return Hop(*ids, now, seen, env.ids.access_key("ASIA"), session.name, session.grant_id, session.client_id)
