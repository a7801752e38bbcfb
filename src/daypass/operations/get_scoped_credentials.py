"""sts:GetScopedCredentials: a session makes a narrower or shorter one of itself, and stays who it is.

The new session can never do more than the one that asks, nor outlive it, and it dies with it: it is the next link of
the same chain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.session import MAX_HOPS, MAX_SCOPE_DOWNS, SessionClaims
from daypass.operations.authorize import authorize
from daypass.operations.issue import SessionRequest, Started, check_policy, issue, new_hop, origin_of, start
from daypass.ports import Call, Env

_ACTION: Final = "sts:GetScopedCredentials"


async def get_scoped_credentials(env: Env, call: Call, params: Mapping[str, Any]) -> Mapping[str, Any]:
    """GetScopedCredentials (AWS STS API). At least one of Policy and DurationSeconds is required."""
    caller = call.caller
    session = caller.session
    if session is None:
        raise DaypassError(
            ErrorKind.INVALID_SUBJECT_CREDENTIALS, "GetScopedCredentials must be called with temporary credentials."
        )
    policy, seconds = params.get("Policy", ""), params.get("DurationSeconds")
    if not policy and seconds is None:
        raise DaypassError(ErrorKind.VALIDATION, "At least one of Policy and DurationSeconds must be specified.")
    if policy:
        check_policy(policy)
    started = start(env)
    decision = await authorize(env, call, _ACTION, caller.arn)
    _check_depth(session, policy)
    request = SessionRequest(session.name, policy=policy, minimum_size=params.get("MinimumSessionTokenSize") or 0)
    claims = replace(
        _narrowed(env, session, started, policy, seconds), description=params.get("ScopedSessionDescription", "")
    )
    issued = await issue(env, call.facts, origin_of(caller).actor, claims, request, decision=decision)
    answer: dict[str, Any] = {
        "Credentials": issued.credentials(),
        "SessionInfo": {"ScopedSessionId": caller.user_id, "Arn": caller.arn},
        "ScopedPoliciesCount": len(_scope_downs(claims)),
        **issued.sizes(),
    }
    if claims.source_identity:
        answer["SourceIdentity"] = claims.source_identity
    return answer


def _scope_downs(session: SessionClaims) -> tuple[str, ...]:
    return session.policies[1:] if session.base_policy else session.policies


def _check_depth(session: SessionClaims, policy: str) -> None:
    if policy and len(_scope_downs(session)) >= MAX_SCOPE_DOWNS:
        raise DaypassError(
            ErrorKind.ACCESS_DENIED, f"A session can have at most {MAX_SCOPE_DOWNS} scope down policies."
        )
    if len(session.hops) >= MAX_HOPS:
        raise DaypassError(ErrorKind.ACCESS_DENIED, "This session has been scoped down too often.")


def _narrowed(env: Env, session: SessionClaims, started: Started, policy: str, seconds: int | None) -> SessionClaims:
    """The claims of the session that asks, with one more link, one more policy, and no later end."""
    remaining = session.expires_at - started.now
    if seconds is not None and seconds * 1000 > remaining:
        raise DaypassError(
            ErrorKind.INSUFFICIENT_SESSION_LIFETIME,
            "The requested DurationSeconds is greater than the remaining lifetime of the calling session.",
        )
    own = new_hop(env, session.account, session.principal_id, session.name, started)
    return replace(
        session,
        session_id=own.session_id,
        issued_at=started.now,
        expires_at=session.expires_at if seconds is None else started.now + seconds * 1000,
        seen=started.seen,
        hops=(*session.hops, own),
        policies=(*session.policies, policy) if policy else session.policies,
        derivation_key=env.sealer.derivation_key(),
    )
