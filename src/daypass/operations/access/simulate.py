"""Simulates requests of any principal of the account and explains the decisions. It changes nothing.

It uses the runtime's own parts: the same views of the directory, the same evaluator, and `trust.admit` for assuming a
role. Policies of another account are not evaluated for it: the result names that account and leaves its decision open,
unless the operator asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from daypass.domain.arn import account_of, is_role_arn
from daypass.domain.assumption import Assumption
from daypass.domain.claims import PrincipalKind
from daypass.domain.directory import User
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.policy.budget import metered
from daypass.domain.policy.document import PolicyError, PolicyKind, compile_stored, parse
from daypass.domain.policy.layers import NamedPolicy
from daypass.domain.policy.model import PrincipalFacts, Value
from daypass.domain.policy.pattern import fold
from daypass.domain.question import Decided, Principal, decide, hypothetical
from daypass.domain.trust import ASSUME_ROLE, AssumedRole, CallerPolicies
from daypass.operations import heavy
from daypass.operations.access.snapshot import check_action, note_on, principal_name
from daypass.operations.access.subject import role_to_assume, view_named
from daypass.operations.blocks import Levels, in_force, under
from daypass.operations.management import allow, is_operator
from daypass.operations.outcome import served
from daypass.operations.principals import refresh_if_changed
from daypass.ports import Call, Env

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


class _Stage(Struct, frozen=True):
    """The common part of a simulation's requests, read before they are decided.

    `principal` has its stored policies; those of the request are parsed where the decisions are made. `roles`: that the
    requests may assume, with what blocks them, by ARN.
    """

    principal: Principal
    roles: Mapping[str, tuple[AssumedRole, Levels]]
    account: str
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
    answers = await heavy.compute_for(env, call, _answers, stage, request)
    detail = {
        "principal": request.principal,
        "actions": list(request.actions[:10]),
        "resources": list(request.resources[:10]),
        "answers": len(answers),
    }
    await env.journal.commit(served(call, decision=decision, detail=detail))
    return answers


# --- Gathering -----------------------------------------------------------------------------------------------------------


async def _stage(env: Env, call: Call, request: SimulationRequest) -> _Stage:
    own, now = call.caller.account, call.now
    operator = await is_operator(env, call.caller)
    roles: dict[str, tuple[AssumedRole, Levels]] = {}
    if any(map(_is_assumption, request.actions)):
        for arn in filter(is_role_arn, request.resources):
            evaluated = operator or account_of(arn) == own
            roles[arn] = await role_to_assume(env, now, arn) if evaluated else (_elsewhere(arn), ())
    principal, note = await _principal(env, call, request, roles)
    return _Stage(principal, roles, own, operator, note)


async def _principal(
    env: Env, call: Call, request: SimulationRequest, roles: Mapping[str, tuple[AssumedRole, Levels]]
) -> tuple[Principal, str]:
    """The principal, and what no policy says about it."""
    own, arn = call.caller.account, request.principal
    account = await env.directory.account(own)
    guardrails = account.guardrails if account is not None else ((),)
    if not arn:
        facts = PrincipalFacts(PrincipalKind.USER, own, ())
        return Principal(facts, {"aws:principalaccount": own}, CallerPolicies((), None, (), guardrails)), ""
    word, name = principal_name(arn)
    if account_of(arn) != own:
        if len(roles) != len(request.resources) or not all(map(_is_assumption, request.actions)):
            raise DaypassError(
                ErrorKind.VALIDATION,
                "For principals of another account, only the assumption of your roles can be simulated.",
            )
        return _foreign(arn, word, roles), ""
    view = await view_named(env, own, word, name, arn)
    if view is None:
        raise DaypassError(ErrorKind.NOT_FOUND, f"The {word} with name {name} cannot be found.")
    entity = view.entity
    policies = under(view.layers.under(guardrails), in_force(env, call.now, entity))
    note = ""
    if isinstance(entity, User):
        note = await env.directory.read(lambda tx: note_on(tx, entity), account=own)
    return hypothetical(entity, policies, request.session_name), note


def _foreign(arn: str, word: str, roles: Mapping[str, tuple[AssumedRole, Levels]]) -> Principal:
    """Another account's principal, taken to be the one that the trust policies named when they were written. Its policies
    and guardrails are its account's.
    """
    bound = next((found for target, _ in roles.values() if (found := (target.bindings or {}).get(arn))), "")
    kind, account = PrincipalKind.USER if word == "user" else PrincipalKind.ROLE_SESSION, account_of(arn)
    keys = {"aws:principalarn": arn, "aws:principalaccount": account}
    return Principal(PrincipalFacts(kind, account, ((arn, bound),)), keys, CallerPolicies(identity=None))


def _is_assumption(action: str) -> bool:
    return fold(action) == fold(ASSUME_ROLE)


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
    principal, resource_policy = _with_request(stage.principal, request), _resource_policy(request)
    with metered():
        return [
            _assume(stage, principal, request, resource)
            if _is_assumption(action) and resource in stage.roles
            else _do(stage, principal, resource_policy, request, action, resource)
            for action in request.actions
            for resource in request.resources
        ]


def _with_request(principal: Principal, request: SimulationRequest) -> Principal:
    """The principal with the policies and context keys of the request. Another account's principal gets no policies."""
    policies = tuple(_parsed(text, PolicyKind.IDENTITY, f"policy {n}") for n, text in enumerate(request.policies, 1))
    stored, boundary = principal.policies, principal.policies.boundary
    if request.boundary:
        boundary = (_parsed(request.boundary, PolicyKind.IDENTITY, "boundary"),)
    levels = enumerate(request.session_policies, 1)
    session = tuple((_parsed(text, PolicyKind.SESSION, f"session policy {n}"),) for n, text in levels)
    if stored.identity is not None:
        stored = CallerPolicies((*stored.identity, *policies), boundary, session, stored.guardrails)
    return replace(principal, keys={**principal.keys, **request.context}, policies=stored)


def _do(
    stage: _Stage,
    principal: Principal,
    resource_policy: NamedPolicy | None,
    request: SimulationRequest,
    action: str,
    resource: str,
) -> Simulated:
    """Decides as `operations.authorize` does. A resource of another account without its policy is left open."""
    owner = account_of(resource) or request.resource_account or stage.account
    alone = resource_policy is None
    answer = decide(principal.asks(action, resource, owner=owner, resource_policy=resource_policy, own_side=alone))
    open_with = owner if owner != stage.account and alone else ""
    return _simulated(stage, action, resource, answer, open_with)


def _assume(stage: _Stage, principal: Principal, request: SimulationRequest, arn: str) -> Simulated:
    """Decides as `operations.assume.proofs` does, each account's side with only that account's policies."""
    target, blocks = stage.roles[arn]
    keys = {**request.assumption.keys(), **principal.keys}
    principal = replace(principal, keys=keys, policies=under(principal.policies, blocks))
    answer = decide(replace(principal.asks(ASSUME_ROLE, arn, target), actions=request.assumption.actions()))
    allowed = answer.decision.allowed
    if allowed and target.account != stage.account and not stage.operator:
        return Simulated(ASSUME_ROLE, arn, answer.verdict, target.account, note=stage.note)
    open_with = principal.account if principal.account != stage.account and allowed else ""
    return _simulated(stage, ASSUME_ROLE, arn, answer, open_with)


def _simulated(stage: _Stage, action: str, resource: str, answer: Decided, open_with: str) -> Simulated:
    return Simulated(action, resource, answer.verdict, open_with, _json(answer.explained().to_json()), stage.note)


def _elsewhere(arn: str) -> AssumedRole:
    """Another account's role: it admits everyone, so that only the caller's side decides."""
    return AssumedRole(arn, account_of(arn), _allow_everyone())


@lru_cache(maxsize=1)
def _allow_everyone() -> NamedPolicy:
    text = (
        '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"*"},'
        '"Action":["sts:AssumeRole","sts:TagSession","sts:SetSourceIdentity"]}]}'
    )
    return NamedPolicy("elsewhere", compile_stored(text, PolicyKind.TRUST))
