"""sts:AssumeRole: an identity borrows a role. `assume_role` is the whole story, in order.

Every way out leaves an event: a refusal is raised and recorded by `outcome.refused`, a session is recorded by `issue`
before it is handed out. Nothing that depends on the role is said before the caller has been admitted to it, and between
accounts a refusal reads the same whether the role exists or not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from daypass.domain.arn import assumed_role_arn, is_account_id, parse_arn
from daypass.domain.claims import Caller, PrincipalKind
from daypass.domain.context import assumption_context, merged, principal_facts, request_context
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.policy.explain import denial_message, explain
from daypass.domain.policy.model import Context, Decision
from daypass.domain.trust import ASSUME_ROLE, Admission, Target, actions_for, admit
from daypass.operations.authorize import check_credentials, feed_moved, layers_for
from daypass.operations.issue import (
    Issued,
    SessionRequest,
    check_mfa,
    check_policies,
    inherit,
    issue_role_session,
    origin_of,
    start,
)
from daypass.operations.outcome import OWNER
from daypass.ports import Call, Env, RoleView


async def assume_role(env: Env, call: Call, params: Mapping[str, Any]) -> Mapping[str, Any]:
    """AssumeRole (AWS STS API 2011-06-15). `params` and the answer are in the service model's member names."""
    check_credentials(call.caller, ASSUME_ROLE)
    if call.caller.kind is PrincipalKind.ROOT:
        raise DaypassError(ErrorKind.ACCESS_DENIED, "Roles may not be assumed by root accounts.")
    role = requested_role(params["RoleArn"])
    request = session_request(params, params["RoleSessionName"])
    check_mfa(params.get("SerialNumber", ""), params.get("TokenCode", ""))
    check_policies(request)

    started = start(env)
    origin = origin_of(call.caller)
    inherited = inherit(origin, request)
    context = merged(
        request_context(call.caller, call.facts, call.now),
        assumption_context(
            session_name=request.name,
            external_id=params.get("ExternalId", ""),
            source_identity=inherited.source_identity,
            tags=inherited.tags,
            transitive_keys=inherited.transitive_keys,
        ),
    )
    actions = actions_for(inherited.tags, inherited.source_identity)
    view, decision = await _admitted(env, call.caller, role, actions, context)

    issued = await issue_role_session(env, call.facts, origin, view, request, inherited, started, decision)
    return _answer(issued, view)


# --- What was asked --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RequestedRole:
    arn: str
    account: str
    name: str


@lru_cache(maxsize=4096)  # only what is well-formed is remembered
def requested_role(text: str) -> RequestedRole:
    """Account and name from a role's ARN; whether path and spelling are right shows against the role itself."""
    try:
        arn = parse_arn(text)
    except ValueError:
        arn = None
    if arn is None or (arn.partition, arn.service, arn.region) != ("aws", "iam", "") or not is_account_id(arn.account):
        raise DaypassError(ErrorKind.VALIDATION, f"{text} is invalid")
    if not arn.resource.startswith("role/") or not arn.name:
        raise DaypassError(ErrorKind.VALIDATION, f"{text} is invalid")
    return RequestedRole(text, arn.account, arn.name)


def session_request(params: Mapping[str, Any], name: str) -> SessionRequest:
    """The request's members that say what the session is to be. Context assertions are not taken, rather than ignored."""
    if params.get("ProvidedContexts"):
        raise DaypassError(ErrorKind.INVALID_PARAMETER, "ProvidedContexts is not supported.")
    return SessionRequest(
        name=name,
        duration=params.get("DurationSeconds"),
        policy=params.get("Policy", ""),
        policy_arns=tuple(item.get("arn", "") for item in params.get("PolicyArns") or ()),
        tags=tuple((tag["Key"], tag["Value"]) for tag in params.get("Tags") or ()),
        transitive_keys=tuple(params.get("TransitiveTagKeys") or ()),
        source_identity=params.get("SourceIdentity", ""),
        minimum_size=params.get("MinimumSessionTokenSize") or 0,
    )


# --- May they --------------------------------------------------------------------------------------------------------


async def _admitted(
    env: Env, caller: Caller, role: RequestedRole, actions: tuple[str, ...], context: Context
) -> tuple[RoleView, Decision]:
    """The role and the decision that lets the caller have it. Raises DaypassError(ACCESS_DENIED)."""
    view, admission = await _decide(env, caller, role, actions, context)
    if not admission.decision.allowed and await feed_moved(env):
        view, admission = await _decide(env, caller, role, actions, context)
    if view is None or not admission.decision.allowed:
        raise _denied(caller, role, view, admission)
    return view, admission.decision


async def _decide(
    env: Env, caller: Caller, role: RequestedRole, actions: tuple[str, ...], context: Context
) -> tuple[RoleView | None, Admission]:
    view = await env.directory.role(role.account, role.name)
    if view is not None and view.role.arn != role.arn:
        view = None  # another path, or the name in other letters: not the role that was asked for
    target = Target(role.arn, role.account)
    if view is not None:
        target = Target(role.arn, role.account, view.trust, view.bindings, view.role.tags)
    return view, admit(principal_facts(caller), await layers_for(env, caller), target, actions, context)


def _denied(caller: Caller, role: RequestedRole, view: RoleView | None, admission: Admission) -> DaypassError:
    """One text between accounts, and for a role that is not there; AWS's reason within the account."""
    query = admission.query
    message = f"User: {caller.arn} is not authorized to perform: {query.action} on resource: {role.arn}"
    explanation = explain(query, admission.layers).to_json()
    if view is not None and caller.account == role.account:
        message = denial_message(query, admission.decision, caller.arn)
    if view is None and admission.owner == role.account:
        explanation = {**explanation, "role": "there is no role with this ARN"}
    return DaypassError(
        ErrorKind.ACCESS_DENIED,
        message,
        private={OWNER: admission.owner, "resource": role.arn, "action": query.action},
        explanation=explanation,
    )


# --- The answer ------------------------------------------------------------------------------------------------------


def _answer(issued: Issued, view: RoleView) -> dict[str, Any]:
    claims, role = issued.claims, view.role
    answer: dict[str, Any] = {
        "Credentials": issued.credentials(),
        "AssumedRoleUser": {
            "AssumedRoleId": f"{role.id}:{claims.name}",
            "Arn": assumed_role_arn(role.account, role.name, claims.name),
        },
        "PackedPolicySize": issued.utilization,
        **issued.sizes(),
    }
    if claims.source_identity:
        answer["SourceIdentity"] = claims.source_identity
    return answer
