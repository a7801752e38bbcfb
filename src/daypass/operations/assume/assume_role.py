"""sts:AssumeRole, AssumeRoleWithWebIdentity and AssumeRoleWithSAML: who applies, by which proof."""

from __future__ import annotations

from typing import Final, TypeVar

from daypass.domain.claims import PrincipalKind
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.trust import ASSUME_ROLE
from daypass.operations.assume.applicant import signing_applicant
from daypass.operations.assume.assume import assume
from daypass.operations.assume.forms import Form
from daypass.operations.assume.issue import Issued
from daypass.operations.assume.mfa_code import NO_CODE, MfaCode, check_mfa
from daypass.operations.assume.request import AssumeRequest, check
from daypass.operations.authorize import check_credentials
from daypass.ports import Call, Env

C = TypeVar("C")

_ROOT: Final = PrincipalKind.ROOT  # bound once: before Python 3.12 every look-up of a member runs Python code


async def assume_role(env: Env, call: Call, request: AssumeRequest, form: Form[C], mfa: MfaCode = NO_CODE) -> Issued[C]:
    """AssumeRole (AWS STS API). An invalid request is refused before its MFA code is consumed."""
    check_credentials(call.caller, ASSUME_ROLE)
    if call.caller.kind is _ROOT:
        raise DaypassError(ErrorKind.ACCESS_DENIED, "Roles may not be assumed by root accounts.")
    mfa_at = 0
    if mfa is not NO_CODE:
        await check(env, call.caller.account, request)
        mfa_at = await check_mfa(env, call, mfa)
    return await assume(env, signing_applicant(env, call, mfa_at), request, form)
