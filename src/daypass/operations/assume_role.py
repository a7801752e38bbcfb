"""sts:AssumeRole: an identity borrows a role. `assume_role` is the whole story, in order.

Every way out leaves an event: a refusal is raised and recorded by `outcome.refused`, a session is recorded by `issue`
before it is handed out. Nothing that depends on the role is said before the caller has been admitted to it, and between
accounts a refusal reads the same whether the role exists or not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Final

from daypass.domain.arn import assumed_role_arn, is_account_id, parse_arn
from daypass.domain.claims import Caller, PrincipalKind
from daypass.domain.context import assumption_context, principal_facts, request_context
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.policy.explain import denial_message, explain
from daypass.domain.policy.model import Context, Decision, PrincipalFacts
from daypass.domain.settled import Settled, settle
from daypass.domain.trust import ASSUME_ROLE, Admission, CallerPolicies, Target, actions_for, admit
from daypass.operations.authorize import check_credentials, feed_moved, layers_for
from daypass.operations.issue import (
    Inheritance,
    Issued,
    SessionRequest,
    check_policies,
    inherit,
    issue_role_session,
    origin_of,
    start,
)
from daypass.operations.mfa_code import check_mfa, mfa_context
from daypass.operations.outcome import OWNER
from daypass.ports import Call, Env, RoleView

_MOST_KNOWN: Final = 1024  # callers that are remembered beside a role
_ROOT: Final = PrincipalKind.ROOT  # bound once: before Python 3.12 every look-up of a member runs Python code


async def assume_role(env: Env, call: Call, params: Mapping[str, Any]) -> Mapping[str, Any]:
    """AssumeRole (AWS STS API 2011-06-15). `params` and the answer are in the service model's member names."""
    check_credentials(call.caller, ASSUME_ROLE)
    if call.caller.kind is _ROOT:
        raise DaypassError(ErrorKind.ACCESS_DENIED, "Roles may not be assumed by root accounts.")
    role = requested_role(params["RoleArn"])
    request = session_request(params, params["RoleSessionName"])
    check_policies(request)
    mfa_at = await check_mfa(env, call, params.get("SerialNumber", ""), params.get("TokenCode", ""))

    started = start(env)
    origin = origin_of(call.caller)
    inherited = inherit(origin, request)
    actions = actions_for(inherited.tags, inherited.source_identity)
    context = partial(_context, call, request.name, params.get("ExternalId", ""), inherited, mfa_at)
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
    arns, tags = params.get("PolicyArns"), params.get("Tags")
    return SessionRequest(
        name,
        params.get("DurationSeconds"),
        params.get("Policy", ""),
        tuple([item.get("arn", "") for item in arns]) if arns else (),
        tuple([(tag["Key"], tag["Value"]) for tag in tags]) if tags else (),
        tuple(params.get("TransitiveTagKeys") or ()),
        params.get("SourceIdentity", ""),
        params.get("MinimumSessionTokenSize") or 0,
    )


# --- May they --------------------------------------------------------------------------------------------------------


def _context(call: Call, session_name: str, external_id: str, inherited: Inheritance, mfa_at: int) -> Context:
    """What the policies may look at."""
    context = request_context(call.caller, call.facts, call.now)
    context |= mfa_context(mfa_at)
    context |= assumption_context(
        session_name=session_name,
        external_id=external_id,
        source_identity=inherited.source_identity,
        tags=inherited.tags,
        transitive_keys=inherited.transitive_keys,
    )
    return context


async def _admitted(
    env: Env, caller: Caller, role: RequestedRole, actions: tuple[str, ...], context: Callable[[], Context]
) -> tuple[RoleView, Decision]:
    """The role and the decision that lets the caller have it. Raises DaypassError(ACCESS_DENIED).

    `context` is asked for only when some policy may look at it.
    """
    view, policies = await _role(env, role), await layers_for(env, caller)
    principal = principal_facts(caller)
    known = _known(view, principal, policies, actions)
    decision = known.recall(context) if known is not None else None
    if view is not None and decision is not None:
        return view, decision
    admission = admit(principal, policies, _target(role, view), actions, context())
    if not admission.decision.allowed and await feed_moved(env):
        view, policies = await _role(env, role), await layers_for(env, caller)
        known = _known(view, principal, policies, actions)
        admission = admit(principal, policies, _target(role, view), actions, context())
    if view is None or not admission.decision.allowed:
        raise _denied(caller, role, view, admission)
    if not policies.session:  # those are another object each time
        _remember(view, known or settle(principal, policies, actions, admission), actions, admission.decision, context)
    return view, admission.decision


def _known(
    view: RoleView | None, principal: PrincipalFacts, policies: CallerPolicies, actions: tuple[str, ...]
) -> Settled | None:
    """What is remembered of this very caller, under these very policies, at this very role."""
    known: Settled | None = view.memo.get((principal.arns, actions)) if view is not None else None
    if known is None or known.policies is not policies:
        return None
    return known if known.principal is principal or known.principal == principal else None


def _remember(
    view: RoleView,
    settled: Settled | None,
    actions: tuple[str, ...],
    decision: Decision,
    context: Callable[[], Context],
) -> None:
    if settled is None:
        return
    if len(view.memo) >= _MOST_KNOWN:
        view.memo.clear()
    view.memo[(settled.principal.arns, actions)] = settled
    settled.keep(decision, context)


def _target(role: RequestedRole, view: RoleView | None) -> Target:
    if view is None:
        return Target(role.arn, role.account)
    return Target(role.arn, role.account, view.trust, view.bindings, view.role.tags)


async def _role(env: Env, role: RequestedRole) -> RoleView | None:
    """The role with exactly this ARN: another path, or the name in other letters, is not the role that was asked for."""
    view = await env.directory.role(role.account, role.name)
    return view if view is not None and view.role.arn == role.arn else None


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
