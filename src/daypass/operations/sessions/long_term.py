"""Credentials that a long-term key asks for: sts:GetSessionToken, of the calling user, which needs no permission; and
sts:GetFederationToken, for a person who is not a user here, with some of the calling user's permissions.
"""

from __future__ import annotations

from typing import Final, TypeVar

from daypass.domain.arn import federated_user_arn
from daypass.domain.assumption import Assumption
from daypass.domain.claims import Caller, PrincipalKind
from daypass.domain.context import requested_tags
from daypass.domain.session import SessionKind
from daypass.domain.trust import TAG_SESSION
from daypass.operations.assume.applicant import signing_applicant
from daypass.operations.assume.assume import inherit
from daypass.operations.assume.forms import Form
from daypass.operations.assume.issue import Issued, SessionOwner, compose, issue
from daypass.operations.assume.mfa_code import NO_CODE, MfaCode, check_mfa
from daypass.operations.assume.request import SessionRequest, check_policies
from daypass.operations.authorize import authorize, check_credentials
from daypass.ports import Call, Env

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
