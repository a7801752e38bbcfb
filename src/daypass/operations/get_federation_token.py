"""sts:GetFederationToken: a user's key vouches for someone who is no user here, with a part of the user's permissions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from daypass.domain.arn import federated_user_arn
from daypass.domain.context import requested_tags
from daypass.domain.session import SessionClaims, SessionKind
from daypass.domain.trust import TAG_SESSION
from daypass.operations.assume_role import session_request
from daypass.operations.authorize import authorize, check_credentials
from daypass.operations.get_session_token import long_term_seconds
from daypass.operations.issue import (
    Origin,
    SessionRequest,
    Started,
    check_policies,
    inherit,
    issue,
    keep_policies,
    new_hop,
    origin_of,
    start,
)
from daypass.ports import Call, Env

_ACTION = "sts:GetFederationToken"


async def get_federation_token(env: Env, call: Call, params: Mapping[str, Any]) -> Mapping[str, Any]:
    """GetFederationToken (AWS STS API). Without any session policy the session may do nothing of its own."""
    caller = call.caller
    check_credentials(caller, _ACTION)
    request = session_request(params, params["Name"])
    check_policies(request)
    started = start(env)
    origin = origin_of(caller)
    tags = inherit(origin, request).tags
    arn = federated_user_arn(caller.account, request.name)
    context = requested_tags(tags)
    decision = await authorize(env, call, _ACTION, arn, context=context)
    if tags:
        await authorize(env, call, TAG_SESSION, arn, context=context)
    claims = await _claims(env, call, origin, request, started)
    issued = await issue(env, call.facts, origin.actor, claims, request, decision=decision)
    return {
        "Credentials": issued.credentials(),
        "FederatedUser": {"FederatedUserId": claims.principal_id, "Arn": arn},
        "PackedPolicySize": issued.utilization,
        **issued.sizes(),
    }


async def _claims(env: Env, call: Call, origin: Origin, request: SessionRequest, started: Started) -> SessionClaims:
    caller = call.caller
    principal_id = f"{caller.account}:{request.name}"
    own = new_hop(env, caller.account, principal_id, request.name, started)
    expires_at = started.now + long_term_seconds(caller, request.duration) * 1000
    return SessionClaims(
        kind=SessionKind.FEDERATED,
        session_id=own.session_id,
        account=caller.account,
        principal_id=principal_id,
        arn=caller.arn,
        name=request.name,
        issued_at=started.now,
        expires_at=expires_at,
        seen=started.seen,
        hops=(*caller.hops, own),
        tags=request.tags,
        policies=(request.policy,) if request.policy else (),
        base_policy=bool(request.policy),
        policy_hashes=await keep_policies(
            env, call.facts, origin.actor, caller.account, request.policy_arns, expires_at
        ),
        user_id=caller.principal_id,
        derivation_key=env.sealer.derivation_key(),
        auth_method=caller.auth_method,
    )
