"""sts:GetSessionToken: temporary credentials of the calling user. It needs no permission."""

from __future__ import annotations

from typing import Final, TypeVar

from daypass.domain.assumption import Assumption
from daypass.domain.claims import Caller, PrincipalKind
from daypass.domain.session import SessionKind
from daypass.operations.assume.applicant import signing_applicant
from daypass.operations.assume.compose import SessionOwner, compose
from daypass.operations.assume.forms import Form
from daypass.operations.assume.issue import Issued, issue
from daypass.operations.assume.mfa_code import NO_CODE, MfaCode, check_mfa
from daypass.operations.assume.request import SessionRequest
from daypass.operations.authorize import check_credentials
from daypass.ports import Call, Env

C = TypeVar("C")

_DEFAULT_SECONDS: Final = 43_200
_ROOT_SECONDS: Final = 3_600


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
    session = await compose(
        env, applicant, owner, request, Assumption(caller.name), long_term_seconds(caller, duration)
    )
    return await issue(env, applicant, session, request, form)


def long_term_seconds(caller: Caller, requested: int | None) -> int:
    """The lifetime of a session that a long-term key creates for itself: by default twelve hours, for a root at most one."""
    seconds = requested or _DEFAULT_SECONDS
    return min(seconds, _ROOT_SECONDS) if caller.kind is PrincipalKind.ROOT else seconds
