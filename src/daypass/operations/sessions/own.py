"""The caller's own identity and session, and sessions of the same identity: GetSessionToken, GetFederationToken and
GetScopedCredentials. Nobody needs a permission to ask who signed the request, and no policy can deny it.
"""

from __future__ import annotations

from typing import Final, TypeVar

from msgspec.structs import replace

from daypass.domain.arn import federated_user_arn
from daypass.domain.assumption import Assumption
from daypass.domain.claims import Caller, PrincipalKind
from daypass.domain.context import requested_tags
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.session import MAX_HOPS, MAX_SCOPE_DOWNS, Hop, SessionClaims, SessionKind, scope_downs
from daypass.domain.trust import TAG_SESSION
from daypass.operations.assume.applicant import Applicant, signing_applicant
from daypass.operations.assume.assume import inherit
from daypass.operations.assume.forms import Form
from daypass.operations.assume.issue import Issued, SessionOwner, compose, issue, narrower_hop
from daypass.operations.assume.mfa_code import NO_CODE, MfaCode, check_mfa
from daypass.operations.assume.request import SessionRequest, check_policies, check_policy
from daypass.operations.authenticate import authenticated_again
from daypass.operations.authorize import Own, authorize, authorize_own, check_credentials
from daypass.operations.outcome import served
from daypass.operations.principals import find_current
from daypass.ports import Call, Env


async def get_caller_identity(env: Env, call: Call) -> Caller:
    """GetCallerIdentity (AWS STS API). Others take its presigned form as a proof, so a blocked key is refused (attack A618).

    Raises DaypassError(UNKNOWN_CREDENTIALS), as for an inactive key.
    """
    await authenticated_again(env, call.caller)
    await env.journal.commit(served(call))
    return call.caller


async def get_caller_session(env: Env, call: Call) -> SessionClaims:
    """daypass:GetCallerSession. Raises DaypassError: NOT_FOUND for a long-term key, which has no session."""
    claims = call.caller.session
    if claims is None:
        raise DaypassError(ErrorKind.NOT_FOUND, "The request was signed with a long-term key, not by a session.")
    await env.journal.commit(served(call, session_id=claims.session_id))
    return claims


async def get_access_key_info(env: Env, call: Call, key_id: str) -> str:
    """GetAccessKeyInfo (AWS STS API): the account of a key. Raises DaypassError: ACCESS_DENIED, UNKNOWN_CREDENTIALS.

    Access key ids of Daypass contain no account. Long-term keys are looked up; temporary keys are known only from the
    caller's own chain. Any other id gets AWS's answer for a key that does not exist.
    """
    decision = await authorize(env, call, "sts:GetAccessKeyInfo", "*")
    account = await _account(env, call, key_id)
    if account is None:
        raise DaypassError(
            ErrorKind.UNKNOWN_CREDENTIALS,
            "The X.509 certificate or AWS access key ID provided does not exist in our records.",
        )
    await env.journal.commit(served(call, decision=decision, detail={"access_key_id": key_id}))
    return account


async def _account(env: Env, call: Call, key_id: str) -> str | None:
    for hop in call.caller.hops:
        if hop.access_key_id == key_id:
            return hop.account
    if key_id.startswith("ASIA"):
        return None
    view = await find_current(env, lambda: env.directory.access_key(key_id))
    return view.key.account if view is not None else None


# --- sts:GetSessionToken for a long-term key, and sts:GetFederationToken for a person who is not a user here


C = TypeVar("C")

_DEFAULT_SECONDS: Final = 43_200
_ROOT_SECONDS: Final = 3_600
_FEDERATION: Final = "sts:GetFederationToken"


async def get_session_token(
    env: Env, call: Call, duration: int | None, form: Form[C], mfa: MfaCode = NO_CODE
) -> Issued[C]:
    """GetSessionToken (AWS STS API). Only long-term keys may call it; policies do not control it, as AWS documents.

    `duration`: seconds; None: the default.
    """
    caller = call.caller
    check_credentials(caller, "sts:GetSessionToken")
    mfa_at = await check_mfa(env, call, mfa)
    applicant = signing_applicant(env, call)
    owner = SessionOwner(SessionKind.USER, caller.account, caller.principal_id, caller.arn, mfa_at=mfa_at)
    request = SessionRequest(caller.name)
    session = await compose(env, applicant, owner, request, Assumption(caller.name), _seconds(caller, duration))
    return await issue(env, applicant, session, request, form)


async def get_federation_token(env: Env, call: Call, request: SessionRequest, form: Form[C]) -> Issued[C]:
    """GetFederationToken (AWS STS API). Without a session policy the session has no permissions of its own."""
    caller = call.caller
    check_credentials(caller, _FEDERATION)
    await check_policies(env, caller.account, request.policy, request.policy_arns)
    applicant = signing_applicant(env, call)
    assumption = inherit(applicant.parent, request)
    arn = federated_user_arn(caller.account, request.name)
    context = requested_tags(assumption.tags)
    decision = await authorize(env, call, _FEDERATION, arn, context=context)
    if assumption.tags:
        await authorize(env, call, TAG_SESSION, arn, context=context)
    principal_id = f"{caller.account}:{request.name}"
    owner = SessionOwner(SessionKind.FEDERATED, caller.account, principal_id, caller.arn, user_id=caller.principal_id)
    session = await compose(env, applicant, owner, request, assumption, _seconds(caller, request.duration))
    return await issue(env, applicant, session, request, form, decision)


def _seconds(caller: Caller, requested: int | None) -> int:
    """The lifetime of a session that a long-term key creates for itself: by default twelve hours, for a root at most one."""
    seconds = requested or _DEFAULT_SECONDS
    return min(seconds, _ROOT_SECONDS) if caller.kind is PrincipalKind.ROOT else seconds


# --- sts:GetScopedCredentials: a session creates a narrower or shorter session with the same identity


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
