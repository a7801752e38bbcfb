"""sts:GetScopedCredentials: a session creates a narrower or shorter session with the same identity.

The new session can never do more than the calling session or outlive it, and it ends with it: it is the next hop of the
same chain. It keeps that session's identity, tags, source identity, MFA time and issue time, so no value that policies
read improves. It therefore needs no permission, but a policy can deny it.
"""

from __future__ import annotations

from typing import Final, TypeVar

from msgspec.structs import replace

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.session import MAX_HOPS, MAX_SCOPE_DOWNS, Hop, SessionClaims, scope_downs
from daypass.operations.assume.applicant import Applicant, signing_applicant
from daypass.operations.assume.forms import Form
from daypass.operations.assume.issue import Issued, issue, narrower_hop
from daypass.operations.assume.request import SessionRequest, check_policy
from daypass.operations.authorize import Own, authorize_own
from daypass.ports import Call, Env

C = TypeVar("C")

_ACTION: Final = "sts:GetScopedCredentials"


async def get_scoped_credentials(
    env: Env, call: Call, policy: str, duration: int | None, form: Form[C], description: str = ""
) -> Issued[C]:
    """GetScopedCredentials (AWS STS API). At least one of `policy` and `duration` (seconds) is required."""
    session = call.caller.session
    if session is None:
        raise DaypassError(
            ErrorKind.INVALID_SUBJECT_CREDENTIALS, "GetScopedCredentials must be called with temporary credentials."
        )
    if not policy and duration is None:
        raise DaypassError(ErrorKind.VALIDATION, "A policy or a duration must be specified.")
    decision = await authorize_own(env, call, _ACTION, "*", Own.RESTRICTED)
    applicant = signing_applicant(env, call)
    narrowed = replace(
        await narrow(env, session, applicant, (policy,) if policy else (), duration), description=description
    )
    return await issue(env, applicant, narrowed, SessionRequest(session.name, policy=policy), form, decision)


def _check_depth(session: SessionClaims, policies: int, acting: int) -> None:
    if policies and len(scope_downs(session)) + policies > MAX_SCOPE_DOWNS:
        raise DaypassError(
            ErrorKind.ACCESS_DENIED, f"A session can have at most {MAX_SCOPE_DOWNS} scope down policies."
        )
    if len(session.hops) + acting >= MAX_HOPS:
        raise DaypassError(ErrorKind.ACCESS_DENIED, "This session has been scoped down too often.")


async def narrow(
    env: Env,
    session: SessionClaims,
    applicant: Applicant,
    policies: tuple[str, ...],
    seconds: int | None,
    acting: tuple[Hop, ...] = (),
) -> SessionClaims:
    """The claims of `session` with one more hop, further policies that each limit it, and no later end.

    `acting`: the chain of the party that receives the new session. Raises DaypassError: MALFORMED_POLICY,
    ACCESS_DENIED, INSUFFICIENT_SESSION_LIFETIME.
    """
    for policy in policies:
        await check_policy(env, session.account, policy)
    _check_depth(session, len(policies), len(acting))
    now, seen = applicant.snapshot.now, applicant.snapshot.seen
    remaining = session.expires_at - now
    if seconds is not None and seconds * 1000 > remaining:
        raise DaypassError(
            ErrorKind.INSUFFICIENT_SESSION_LIFETIME,
            "The requested duration is greater than the remaining lifetime of the calling session.",
        )
    own = narrower_hop(env, session, applicant)
    return replace(
        session,
        session_id=own.session_id,
        issued_at=now,
        expires_at=session.expires_at if seconds is None else now + seconds * 1000,
        seen=seen,
        hops=(*session.hops, *acting, own),
        first_issued_at=session.first_issued_at or session.issued_at,
        policies=(*session.policies, *policies),
        derivation_key=env.sealer.derivation_key(),
    )
