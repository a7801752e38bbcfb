"""sts:GetFederationToken: credentials for a person who is not a user here, with some of the calling user's permissions."""

from __future__ import annotations

from typing import Final, TypeVar

from daypass.domain.arn import federated_user_arn
from daypass.domain.context import requested_tags
from daypass.domain.session import SessionKind
from daypass.domain.trust import TAG_SESSION
from daypass.operations.assume.applicant import signing_applicant
from daypass.operations.assume.assume import inherit
from daypass.operations.assume.compose import SessionOwner, compose
from daypass.operations.assume.forms import Form
from daypass.operations.assume.issue import Issued, issue
from daypass.operations.assume.request import SessionRequest
from daypass.operations.assume.session_policies import check_policies
from daypass.operations.authorize import authorize, check_credentials
from daypass.operations.sessions.get_session_token import long_term_seconds
from daypass.ports import Call, Env

C = TypeVar("C")

_ACTION: Final = "sts:GetFederationToken"


async def get_federation_token(env: Env, call: Call, request: SessionRequest, form: Form[C]) -> Issued[C]:
    """GetFederationToken (AWS STS API). Without a session policy the session has no permissions of its own."""
    caller = call.caller
    check_credentials(caller, _ACTION)
    await check_policies(env, caller.account, request.policy, request.policy_arns)
    applicant = signing_applicant(env, call)
    assumption = inherit(applicant.parent, request)
    arn = federated_user_arn(caller.account, request.name)
    context = requested_tags(assumption.tags)
    decision = await authorize(env, call, _ACTION, arn, context=context)
    if assumption.tags:
        await authorize(env, call, TAG_SESSION, arn, context=context)
    principal_id = f"{caller.account}:{request.name}"
    owner = SessionOwner(SessionKind.FEDERATED, caller.account, principal_id, caller.arn, user_id=caller.principal_id)
    session = await compose(env, applicant, owner, request, assumption, long_term_seconds(caller, request.duration))
    return await issue(env, applicant, session, request, form, decision)
