"""What would the service decide? Any request of any principal of the account, explained; nothing is done.

The decisions are the runtime's own: the same views of the directory, the same evaluator, and for assuming a role the same
`trust.admit`. What belongs to another account is not evaluated on its behalf: its decision is left open, and named so,
unless the operator asks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from daypass.domain.arn import account_of, is_account_id, parse_arn
from daypass.domain.claims import PrincipalKind
from daypass.domain.context import assumption_context, merged, resource_context
from daypass.domain.directory import Tags, User
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.policy.document import PolicyError, PolicyKind, compile_stored, parse
from daypass.domain.policy.explain import explain
from daypass.domain.policy.model import AccessQuery, Context, Decision, Layers, NamedPolicy, PrincipalFacts, Value
from daypass.domain.policy.pattern import fold
from daypass.domain.standing import standing_facts, standing_keys
from daypass.domain.trust import ASSUME_ROLE, CallerPolicies, Target, actions_for, admit
from daypass.operations.authorize import feed_moved
from daypass.operations.management import allow, is_operator
from daypass.operations.outcome import served
from daypass.ports import Call, Env, PrincipalView, RoleView

MAX_PAIRS = 200
"""Most actions times resources of one request."""


@dataclass(frozen=True, slots=True)
class Assumption:
    """What a request to assume a role would say of the session."""

    session_name: str = "simulation"
    external_id: str = ""
    source_identity: str = ""
    tags: Tags = ()
    transitive_keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SimulationRequest:
    """Who would do what, with which policies, in which circumstances.

    `principal`: ARN of a user or role, "" for nobody in particular. `policies` come on top of its identity policies,
    `boundary` takes the place of its own, each of `session_policies` is a level of its own. `context` keys are folded.
    `session_name` makes a role's session a certain one. All documents are text.
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
    assumption: Assumption = Assumption()


@dataclass(frozen=True, slots=True)
class Simulated:
    """One answer. `open_with` is another account that must allow it too, and was not asked; "" when there is none."""

    action: str
    resource: str
    decision: Decision
    open_with: str = ""
    explanation: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class _Stage:
    """All that the decisions rest on, gathered before they are taken."""

    account: str
    facts: PrincipalFacts
    keys: Context
    policies: CallerPolicies
    resource: NamedPolicy | None
    roles: Mapping[str, RoleView | None]  # roles that might be assumed, by ARN
    operator: bool


async def simulate(env: Env, call: Call, request: SimulationRequest) -> list[Simulated]:
    """daypass:SimulateAccess. One answer for each action on each resource, in this order.

    Raises DaypassError: ACCESS_DENIED, NOT_FOUND (no such principal), VALIDATION, MALFORMED_POLICY, LIMIT_EXCEEDED.
    """
    decision = await allow(env, call, "SimulateAccess", "access", "*")
    if len(request.actions) * len(request.resources) > MAX_PAIRS:
        raise DaypassError(ErrorKind.LIMIT_EXCEEDED, f"At most {MAX_PAIRS} actions times resources can be simulated.")
    for action in request.actions:
        _check_action(action)
    await feed_moved(env)
    stage = await _stage(env, call, request)
    answers = await env.directory.read(lambda _: list(_answers(stage, request)))  # on a thread: explaining takes time
    detail = {
        "principal": request.principal,
        "actions": list(request.actions[:10]),
        "resources": list(request.resources[:10]),
        "answers": len(answers),
    }
    await env.journal.commit(served(call, decision=decision, detail=detail))
    return answers


def _check_action(action: str) -> None:
    service, colon, name = action.partition(":")
    if not (service and colon and name) or ":" in name or "*" in action or "?" in action:
        raise DaypassError(ErrorKind.VALIDATION, f"An action is SERVICE:NAME, without wildcards: {action}")


# --- Gathering -----------------------------------------------------------------------------------------------------------


async def _stage(env: Env, call: Call, request: SimulationRequest) -> _Stage:
    own = call.caller.account
    account = await env.directory.account(own)
    given = tuple(_parsed(text, PolicyKind.IDENTITY, f"policy {n}") for n, text in enumerate(request.policies, 1))
    boundary: tuple[NamedPolicy, ...] | None = None
    if request.boundary:
        boundary = (_parsed(request.boundary, PolicyKind.IDENTITY, "boundary"),)
    levels = enumerate(request.session_policies, 1)
    session = tuple((_parsed(text, PolicyKind.SESSION, f"session policy {n}"),) for n, text in levels)
    guardrails = account.guardrails if account is not None else ((),)
    operator = await is_operator(env, call.caller)
    asked = [arn for arn in request.resources if _assumes(request, arn)]
    roles = {arn: await _role(env, arn) if operator or account_of(arn) == own else None for arn in asked}
    facts, keys, view = await _principal(env, own, request, roles)
    identity: tuple[NamedPolicy, ...] | None = (*(view.identity if view is not None else ()), *given)
    if facts.account != own:  # its policies, its guardrails are its account's
        identity, boundary, session, guardrails = None, None, (), ()
    elif boundary is None and view is not None:
        boundary = view.boundary
    return _Stage(
        account=own,
        facts=facts,
        keys=keys,
        policies=CallerPolicies(identity, boundary, session, guardrails),
        resource=_resource_policy(request),
        roles=roles,
        operator=operator,
    )


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
            _outsider(request.principal, account, word, roles.values()),
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
    return standing_facts(view.entity, session), standing_keys(view.entity, session), view


def _outsider(arn: str, account: str, word: str, roles: Iterable[RoleView | None]) -> PrincipalFacts:
    """Another account's principal, taken for the one that the trust policies named when they were written."""
    bound = next((view.bindings[arn] for view in roles if view is not None and arn in view.bindings), "")
    kind = PrincipalKind.USER if word == "user" else PrincipalKind.ROLE_SESSION
    return PrincipalFacts(kind, account, ((arn, bound),))


def principal_name(arn: str) -> tuple[str, str]:
    """("user" | "role", name) of a principal's ARN. Raises DaypassError(VALIDATION)."""
    try:
        parsed = parse_arn(arn)
    except ValueError:
        parsed = None
    if parsed is not None and parsed.service == "iam" and is_account_id(parsed.account):
        word, slash, _ = parsed.resource.partition("/")
        if slash and parsed.name and word in ("user", "role"):
            return word, parsed.name
    raise DaypassError(ErrorKind.VALIDATION, f"This is not the ARN of a user or role: {arn}")


async def find_principal(env: Env, account: str, word: str, name: str) -> PrincipalView | None:
    """A user or role with its policies as the runtime sees them."""
    if word == "role":
        role = await env.directory.role(account, name)
        return role.principal if role is not None else None
    user = await env.directory.read(lambda tx: tx.get(User, account=account, name=name))
    return await env.directory.user(user.id) if user is not None else None


async def _role(env: Env, arn: str) -> RoleView | None:
    view = await env.directory.role(account_of(arn), parse_arn(arn).name)
    return view if view is not None and view.role.arn == arn else None


def _assumes(request: SimulationRequest, resource: str) -> bool:
    """Whether this resource is a role that might be assumed."""
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


def _answers(stage: _Stage, request: SimulationRequest) -> Iterable[Simulated]:
    for action in request.actions:
        for resource in request.resources:
            if fold(action) == fold(ASSUME_ROLE) and resource in stage.roles:
                yield _assume(stage, request, resource)
            else:
                yield _do(stage, request, action, resource)


def _do(stage: _Stage, request: SimulationRequest, action: str, resource: str) -> Simulated:
    """As `operations.authorize` decides. A foreign resource without its policy is left open."""
    owner = account_of(resource) or request.resource_account or stage.account
    elsewhere = owner if owner != stage.account and stage.resource is None else ""
    query = AccessQuery(stage.facts, action, resource, merged(stage.keys, resource_context(owner), request.context))
    layers = Layers(
        same_account=owner == stage.account or bool(elsewhere),
        identity=stage.policies.identity,
        resource=stage.resource,
        boundary=stage.policies.boundary,
        session=stage.policies.session,
        guardrails=stage.policies.guardrails,
    )
    explanation = explain(query, layers)
    return Simulated(action, resource, explanation.decision, elsewhere, explanation.to_json())


def _assume(stage: _Stage, request: SimulationRequest, arn: str) -> Simulated:
    """As `operations.assume_role` decides, each account's side with that account's policies alone."""
    asked = request.assumption
    view, account = stage.roles[arn], account_of(arn)
    foreign = account != stage.account and not stage.operator
    target = Target(arn, account)
    if foreign:
        target = Target(arn, account, _anyone())
    elif view is not None:
        target = Target(arn, account, view.trust, view.bindings, view.role.tags)
    keys = assumption_context(
        session_name=asked.session_name,
        external_id=asked.external_id,
        source_identity=asked.source_identity,
        tags=asked.tags,
        transitive_keys=asked.transitive_keys,
    )
    context = merged(stage.keys, keys, request.context)
    admission = admit(stage.facts, stage.policies, target, actions_for(asked.tags, asked.source_identity), context)
    if foreign and admission.decision.allowed:
        return Simulated(ASSUME_ROLE, arn, admission.decision, account)
    explanation = explain(admission.query, admission.layers).to_json()
    open_with = stage.facts.account if stage.facts.account != stage.account and admission.decision.allowed else ""
    return Simulated(ASSUME_ROLE, arn, admission.decision, open_with, explanation)


@lru_cache(maxsize=1)
def _anyone() -> NamedPolicy:
    """In place of a foreign role's trust policy, so that only the caller's own side decides."""
    text = (
        '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"*"},'
        '"Action":["sts:AssumeRole","sts:TagSession","sts:SetSourceIdentity"]}]}'
    )
    return NamedPolicy("elsewhere", compile_stored(text, PolicyKind.TRUST))
