"""Simulates requests of any principal of the account and explains the decisions. It changes nothing.

It uses the runtime's own parts: the same views of the directory, the same evaluator, and `trust.admit` for assuming a
role. Policies of another account are not evaluated for it: the result names that account and leaves its decision open,
unless the operator asks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

import msgspec

from daypass.domain.arn import account_of, entity_named, parse_arn
from daypass.domain.assumption import Assumption
from daypass.domain.claims import PrincipalKind
from daypass.domain.context import merged, resource_context
from daypass.domain.directory import Role, User
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.hypothetical_principal import hypothetical_facts, hypothetical_keys
from daypass.domain.policy.budget import metered
from daypass.domain.policy.document import PolicyError, PolicyKind, compile_stored, parse
from daypass.domain.policy.explain import explain
from daypass.domain.policy.layers import NamedPolicy
from daypass.domain.policy.model import AccessQuery, Context, Decision, PrincipalFacts, Value
from daypass.domain.policy.pattern import fold
from daypass.domain.trust import ASSUME_ROLE, CallerPolicies, Target, admit
from daypass.operations import heavy
from daypass.operations.assume.admission import target_of
from daypass.operations.authorize import refresh_if_changed
from daypass.operations.blocks import NO_CREDENTIALS, Levels, in_force, under, without_credentials
from daypass.operations.management import allow, is_operator
from daypass.operations.outcome import served
from daypass.ports import Call, Env, PrincipalView, RoleView

_json = msgspec.json.encode
_USUAL_ASSUMPTION = Assumption("simulation")

MAX_PAIRS = 200
"""Maximum number of actions times resources in one request."""


@dataclass(frozen=True, slots=True)
class SimulationRequest:
    """The principal, its policies, and the context of the simulated requests.

    `principal`: ARN of a user or role, "" for none. `policies` are added to its identity policies, `boundary` replaces
    its own, each of `session_policies` is a separate level. `context` keys are folded. `session_name` selects one
    session of a role. All documents are text.
    """

    actions: tuple[str, ...]
    resources: tuple[str, ...] = ("*",)
    principal: str = ""
    policies: tuple[str, ...] = ()
    boundary: str = ""
    session_policies: tuple[str, ...] = ()
    resource_policy: str = ""
    resource_account: str = ""
    session_name: str = ""
    context: Mapping[str, Value] = field(default_factory=dict)
    assumption: Assumption = _USUAL_ASSUMPTION


@dataclass(frozen=True, slots=True)
class Simulated:
    """One result. `decision`: allowed, explicit_deny or implicit_deny. `open_with` is another account that must also
    allow it and was not evaluated; "" when there is none. `explanation` is JSON, written where the decision is made,
    because the explanations of one request may have 800 KB; b"" when there is none. `note` is what no policy says.
    """

    action: str
    resource: str
    decision: str
    open_with: str = ""
    explanation: bytes = b""
    note: str = ""


@dataclass(frozen=True, slots=True)
class _Stage:
    """The inputs of the decisions, read before they are made."""

    account: str
    facts: PrincipalFacts
    keys: Context
    policies: CallerPolicies  # as stored; those of the request are parsed where the decisions are made
    roles: Mapping[str, RoleView | None]  # roles that the requests may assume, by ARN
    blocks: Mapping[str, Levels]  # of these roles
    operator: bool
    note: str = ""


async def simulate(env: Env, call: Call, request: SimulationRequest) -> list[Simulated]:
    """daypass:SimulateAccess. One answer for each action on each resource, in this order.

    Raises DaypassError: ACCESS_DENIED, NOT_FOUND (no such principal), VALIDATION, MALFORMED_POLICY, LIMIT_EXCEEDED.
    """
    decision = await allow(env, call, "SimulateAccess", "access", "*")
    if len(request.actions) * len(request.resources) > MAX_PAIRS:
        raise DaypassError(ErrorKind.LIMIT_EXCEEDED, f"At most {MAX_PAIRS} actions times resources can be simulated.")
    for action in request.actions:
        check_action(action)
    await refresh_if_changed(env)
    stage = await _stage(env, call, request)
    answers = await heavy.compute(env, call.caller.account, _answers, stage, request)
    if stage.note:
        answers = [replace(answer, note=stage.note) for answer in answers]
    detail = {
        "principal": request.principal,
        "actions": list(request.actions[:10]),
        "resources": list(request.resources[:10]),
        "answers": len(answers),
    }
    await env.journal.commit(served(call, decision=decision, detail=detail))
    return answers


def check_action(action: str) -> None:
    """Raises DaypassError(VALIDATION) unless this is one action."""
    service, _, name = action.partition(":")
    if not (service and name) or ":" in name or "*" in action or "?" in action:
        raise DaypassError(ErrorKind.VALIDATION, f"An action is SERVICE:NAME, without wildcards: {action}")


# --- Gathering -----------------------------------------------------------------------------------------------------------


async def _stage(env: Env, call: Call, request: SimulationRequest) -> _Stage:
    own = call.caller.account
    account = await env.directory.account(own)
    guardrails = account.guardrails if account is not None else ((),)
    operator = await is_operator(env, call.caller)
    assumed = [arn for arn in request.resources if _assumes(request, arn)]
    roles = {arn: await _role(env, arn) if operator or account_of(arn) == own else None for arn in assumed}
    facts, keys, view = await _principal(env, own, request, roles)
    if facts.account != own:  # its policies; its guardrails are its account's
        policies = CallerPolicies(None, None, (), ())
    else:
        identity, boundary = (view.identity, view.boundary) if view is not None else ((), None)
        policies = CallerPolicies(identity, boundary, (), guardrails)
    return _Stage(
        account=own,
        facts=facts,
        keys=keys,
        policies=under(policies, in_force(env, call.now, view.entity)) if view is not None else policies,
        roles=roles,
        blocks={arn: in_force(env, call.now, role.role) for arn, role in roles.items() if role is not None},
        operator=operator,
        note=await note_on(env, view.entity) if view is not None else "",
    )


async def note_on(env: Env, entity: User | Role) -> str:
    """What no policy says about requests of this principal."""
    if isinstance(entity, Role):
        return ""
    without = await env.directory.read(lambda tx: without_credentials(tx, [entity]), account=entity.account)
    return NO_CREDENTIALS if without else ""


async def _principal(
    env: Env, own: str, request: SimulationRequest, roles: Mapping[str, RoleView | None]
) -> tuple[PrincipalFacts, dict[str, Value], PrincipalView | None]:
    if not request.principal:
        return PrincipalFacts(PrincipalKind.USER, own, ()), {"aws:principalaccount": own}, None
    word, name = principal_name(request.principal)
    account = account_of(request.principal)
    if account != own:
        if len(roles) != len(request.resources) or any(fold(a) != fold(ASSUME_ROLE) for a in request.actions):
            raise DaypassError(
                ErrorKind.VALIDATION,
                "Of another account's principals, only the assumption of your roles can be simulated.",
            )
        return (
            _foreign_principal(request.principal, account, word, roles.values()),
            {
                "aws:principalarn": request.principal,
                "aws:principalaccount": account,
            },
            None,
        )
    view = await find_principal(env, own, word, name)
    if view is None or view.entity.arn != request.principal:
        raise DaypassError(ErrorKind.NOT_FOUND, f"The {word} with name {name} cannot be found.")
    session = request.session_name
    return hypothetical_facts(view.entity, session), hypothetical_keys(view.entity, session), view


def _foreign_principal(arn: str, account: str, word: str, roles: Iterable[RoleView | None]) -> PrincipalFacts:
    """Another account's principal, taken to be the one that the trust policies named when they were written."""
    bound = next((view.bindings[arn] for view in roles if view is not None and arn in view.bindings), "")
    kind = PrincipalKind.USER if word == "user" else PrincipalKind.ROLE_SESSION
    return PrincipalFacts(kind, account, ((arn, bound),))


def principal_name(arn: str) -> tuple[str, str]:
    """("user" | "role", name) of a principal's ARN. Raises DaypassError(VALIDATION)."""
    named = entity_named(arn, ("user", "role"))
    if named is not None:
        return named
    raise DaypassError(ErrorKind.VALIDATION, f"This is not the ARN of a user or role: {arn}")


async def find_principal(env: Env, account: str, word: str, name: str) -> PrincipalView | None:
    """A user or role with its policies, as at runtime."""
    if word == "role":
        role = await env.directory.role(account, name)
        return role.principal if role is not None else None
    return await env.directory.user_by_name(account, name)


async def _role(env: Env, arn: str) -> RoleView | None:
    view = await env.directory.role(account_of(arn), parse_arn(arn).name)
    return view if view is not None and view.role.arn == arn else None


def _assumes(request: SimulationRequest, resource: str) -> bool:
    """Whether this resource is a role that the requests may assume."""
    return is_role_arn(resource) and any(fold(action) == fold(ASSUME_ROLE) for action in request.actions)


def is_role_arn(text: str) -> bool:
    return bool(account_of(text)) and text.startswith(f"arn:aws:iam::{account_of(text)}:role/")


def _parsed(text: str, kind: PolicyKind, label: str) -> NamedPolicy:
    try:
        return NamedPolicy(label, parse(text, kind))
    except PolicyError as error:
        raise DaypassError(
            ErrorKind.MALFORMED_POLICY, f"{label}, line {error.line}, column {error.column}: {error.message}"
        ) from None


def _resource_policy(request: SimulationRequest) -> NamedPolicy | None:
    if not request.resource_policy:
        return None
    return _parsed(request.resource_policy, PolicyKind.RESOURCE, "resource policy")


# --- Deciding -------------------------------------------------------------------------------------------------------------


def _answers(stage: _Stage, request: SimulationRequest) -> list[Simulated]:
    stage, resource_policy = _with_request_policies(stage, request), _resource_policy(request)
    with metered():
        return [
            _assume(stage, request, resource)
            if fold(action) == fold(ASSUME_ROLE) and resource in stage.roles
            else _do(stage, resource_policy, request, action, resource)
            for action in request.actions
            for resource in request.resources
        ]


def _with_request_policies(stage: _Stage, request: SimulationRequest) -> _Stage:
    """Adds the policies of the request, which are parsed here. Another account's principal gets none."""
    policies = tuple(_parsed(text, PolicyKind.IDENTITY, f"policy {n}") for n, text in enumerate(request.policies, 1))
    boundary = stage.policies.boundary
    if request.boundary:
        boundary = (_parsed(request.boundary, PolicyKind.IDENTITY, "boundary"),)
    levels = enumerate(request.session_policies, 1)
    session = tuple((_parsed(text, PolicyKind.SESSION, f"session policy {n}"),) for n, text in levels)
    stored = stage.policies
    if stored.identity is None:
        return stage
    return replace(stage, policies=CallerPolicies((*stored.identity, *policies), boundary, session, stored.guardrails))


def _do(
    stage: _Stage, resource_policy: NamedPolicy | None, request: SimulationRequest, action: str, resource: str
) -> Simulated:
    """Decides as `operations.authorize` does. A resource of another account without its policy is left open."""
    owner = account_of(resource) or request.resource_account or stage.account
    elsewhere = owner if owner != stage.account and resource_policy is None else ""
    query = AccessQuery(stage.facts, action, resource, merged(stage.keys, resource_context(owner), request.context))
    same_account = owner == stage.account or bool(elsewhere)
    layers = stage.policies.layers(same_account=same_account, resource=resource_policy)
    explanation = explain(query, layers)
    return Simulated(action, resource, _decision_name(explanation.decision), elsewhere, _json(explanation.to_json()))


def _assume(stage: _Stage, request: SimulationRequest, arn: str) -> Simulated:
    """Decides as `operations.assume.assume_role` does, each account's side with only that account's policies."""
    assumption = request.assumption
    view, account = stage.roles[arn], account_of(arn)
    policies = under(stage.policies, stage.blocks.get(arn, ()))
    foreign = account != stage.account and not stage.operator
    target = Target(arn, account, _allow_everyone()) if foreign else target_of(arn, account, view)
    context = merged(stage.keys, assumption.keys(), request.context)
    admission = admit(stage.facts, policies, target, assumption.actions(), context)
    if foreign and admission.decision.allowed:
        return Simulated(ASSUME_ROLE, arn, _decision_name(admission.decision), account)
    explanation = _json(explain(admission.query, admission.layers).to_json())
    open_with = stage.facts.account if stage.facts.account != stage.account and admission.decision.allowed else ""
    return Simulated(ASSUME_ROLE, arn, _decision_name(admission.decision), open_with, explanation)


def _decision_name(decision: Decision) -> str:
    if decision.allowed:
        return "allowed"
    return "explicit_deny" if decision.explicit else "implicit_deny"


@lru_cache(maxsize=1)
def _allow_everyone() -> NamedPolicy:
    """Replaces the trust policy of another account's role, so that only the caller's side decides."""
    text = (
        '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"*"},'
        '"Action":["sts:AssumeRole","sts:TagSession","sts:SetSourceIdentity"]}]}'
    )
    return NamedPolicy("elsewhere", compile_stored(text, PolicyKind.TRUST))
