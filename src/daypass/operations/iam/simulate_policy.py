"""SimulatePrincipalPolicy and SimulateCustomPolicy: AWS's policy simulator, using the same evaluator as the service.

Each action on each resource is one `evaluate`. The result of each kind of policy is the same `evaluate` over only that
kind. Source: IAM API Reference, "EvaluationResult", "ResourceSpecificResult", "Statement".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from daypass.domain.arn import account_of
from daypass.domain.directory import Group, Role, User
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.policy.budget import metered, within_budget
from daypass.domain.policy.compiled import PolicyDocument
from daypass.domain.policy.document import PolicyKind
from daypass.domain.policy.evaluate import evaluate
from daypass.domain.policy.layers import Layers, NamedPolicy, context_keys
from daypass.domain.policy.model import AccessQuery, Decision, Layer
from daypass.domain.policy.pattern import fold
from daypass.domain.question import decide
from daypass.operations.crud import Answer, AuthorizedResource, Params
from daypass.operations.iam import faults, lint, scenario
from daypass.operations.iam.context import ReadContext
from daypass.operations.iam.holdings import Gatherer, Holdings, PolicySource, policies_in
from daypass.operations.iam.owners import Owner
from daypass.operations.iam.paging import DEFAULT_ITEMS, page_of
from daypass.operations.iam.scenario import SimulatedScenario

MAX_PAIRS: Final = 2_000
"""Maximum number of actions times resources evaluated for one answer; the rest is on the next page."""

_ALLOWED, _EXPLICIT, _IMPLICIT = "allowed", "explicitDeny", "implicitDeny"
_SEVERITY: Final = (_ALLOWED, _IMPLICIT, _EXPLICIT)
_IAM_POLICY, _RESOURCE_POLICY, _BOUNDARY_POLICY = "IAM Policy", "Resource Policy", "Permissions Boundary Policy"


_TYPES: Final = {Layer.IDENTITY: _IAM_POLICY, Layer.RESOURCE: _RESOURCE_POLICY, Layer.BOUNDARY: _BOUNDARY_POLICY}


class _Result(Struct, frozen=True):
    """One action on one resource."""

    resource: str
    decision: str
    statements: tuple[dict[str, Any], ...]
    missing: tuple[str, ...]
    by_boundary: bool | None
    by_organizations: bool | None
    details: dict[str, str] | None  # None: not shown


# --- The operations ----------------------------------------------------------------------------------------------------


def principal(ctx: ReadContext, p: Params) -> AuthorizedResource:
    """The user, group or role in the request. Raises INVALID_INPUT unless it is an ARN of the caller's account."""
    arn = p["PolicySourceArn"]
    entity = _entity(ctx, arn)
    return AuthorizedResource(arn, tags=() if entity is None or isinstance(entity, Group) else entity.tags)


def existing_principal(ctx: ReadContext, p: Params) -> Owner:
    """The same; raises NoSuchEntity."""
    entity = _entity(ctx, p["PolicySourceArn"])
    if entity is None:
        raise faults.not_found("Unable to retrieve specified IAM entity.")
    return entity


def simulate_principal_policy(ctx: ReadContext, p: Params) -> Answer:
    """PolicySourceArn's own policies, and those in the request."""
    entity = existing_principal(ctx, p)
    excluded = lint.excluded(p.get("PolicyExclusionList"))
    gatherer = Gatherer(ctx)
    holdings = lint.without(gatherer.of(entity), excluded)
    levels = (lint.remaining(level, excluded) for level in gatherer.guardrails())
    boundary = scenario.request_boundary(p)
    given = scenario.request_policies(p.get("PolicyInputList"), "PolicyInputList", PolicyKind.IDENTITY)
    holdings = Holdings((*holdings.identity, *given), holdings.boundary if boundary is None else boundary)
    guardrails = tuple(level for level in levels if level)
    return _answer(p, scenario.read(ctx, p, entity).under(holdings, guardrails))


def simulate_custom_policy(ctx: ReadContext, p: Params) -> Answer:
    """Only the policies in the request, none from the directory."""
    given = scenario.request_policies(p["PolicyInputList"], "PolicyInputList", PolicyKind.IDENTITY)
    holdings = Holdings(given, scenario.request_boundary(p))
    return _answer(p, scenario.read(ctx, p, None).under(holdings, scenario.request_guardrails(p)))


def _entity(ctx: ReadContext, arn: str) -> Owner | None:
    word, name = scenario.entity_type_and_name(arn)
    if account_of(arn) != ctx.account:
        raise faults.invalid_input(
            f"Invalid Policy Source Arn: caller's account {ctx.account} does not have access to policies in "
            f"account {account_of(arn)}"
        )
    kind: type[Owner] = {"user": User, "group": Group, "role": Role}[word]
    entity: Owner | None = ctx.tx.get(kind, account=ctx.account, name=name)
    return entity if entity is not None and entity.arn == arn else None


# --- The answer ----------------------------------------------------------------------------------------------------------


def _answer(p: Params, simulation: SimulatedScenario) -> Answer:
    _check_whole(simulation)
    results: list[dict[str, Any]] = []
    room = max(1, MAX_PAIRS // len(simulation.resources))
    size = min(int(p.get("MaxItems") or DEFAULT_ITEMS), room)
    numbered = [f"{number:04d} {action}" for number, action in enumerate(simulation.actions)]
    for _ in range(2):
        shown, more = page_of({"Marker": p.get("Marker"), "MaxItems": size}, "simulation", numbered, lambda item: item)
        results = results or _evaluations(simulation, [item[5:] for item in shown])
        size = len(results)  # fewer when the budget was used up: the rest is on the next page
    return {"EvaluationResults": results, **more}


def _evaluations(simulation: SimulatedScenario, actions: Iterable[str]) -> list[dict[str, Any]]:
    """The actions that the budget of an operation is enough for. Raises DaypassError(LIMIT_EXCEEDED) when there is none."""
    with metered():
        return [*within_budget(actions, partial(_evaluation, simulation))[0]]


def _check_whole(simulation: SimulatedScenario) -> None:
    """A stored policy that cannot be compiled denies at runtime, and no simulation can name the denying statement."""
    levels = (simulation.holdings.identity, simulation.holdings.boundary or (), *simulation.guardrails)
    broken = [source.id for level in levels for source in level if source.policy.document.broken]
    if broken:
        raise DaypassError(
            ErrorKind.POLICY_EVALUATION, f"Policy {broken[0]} could not be evaluated: it is not a valid policy."
        )


def _evaluation(simulation: SimulatedScenario, action: str) -> dict[str, Any]:
    """One action: its strictest decision, and the decision of each resource."""
    results = [_simulate(simulation, action, resource) for resource in simulation.resources]
    strictest = max((result.decision for result in results), key=_SEVERITY.index)
    shown: dict[str, Any] = {
        "EvalActionName": action,
        "EvalResourceName": results[0].resource if len(results) == 1 else scenario.EVERY_RESOURCE,
        "EvalDecision": strictest,
        "MatchedStatements": _without_duplicates(s for r in results if r.decision == strictest for s in r.statements),
        "MissingContextValues": list(dict.fromkeys(key for result in results for key in result.missing)),
        **_details(_merged(results)),
    }
    if results[0].by_organizations is not None:
        allowed = all(result.by_organizations for result in results)
        shown["OrganizationsDecisionDetail"] = {"AllowedByOrganizations": allowed}
    if not simulation.everything:
        shown["ResourceSpecificResults"] = [_resource_result(result) for result in results]
    return shown


def _resource_result(result: _Result) -> dict[str, Any]:
    return {
        "EvalResourceName": result.resource,
        "EvalResourceDecision": result.decision,
        "MatchedStatements": list(result.statements),
        "MissingContextValues": list(result.missing),
        **_details(replace(result, details=result.details or None)),
    }


def _details(result: _Result) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    if result.by_boundary is not None:
        shown["PermissionsBoundaryDecisionDetail"] = {"AllowedByPermissionsBoundary": result.by_boundary}
    if result.details is not None:
        shown["EvalDecisionDetails"] = result.details
    return shown


def _merged(results: list[_Result]) -> _Result:
    """The details of all resources together: the strictest of each kind of policy."""
    first = results[0]
    details: dict[str, str] | None = None
    for result in results:
        for kind, decision in (result.details or {}).items():
            details = details or {}
            details[kind] = max(details.get(kind, _ALLOWED), decision, key=_SEVERITY.index)
    shown = any(result.details is not None for result in results)
    by_boundary = None if first.by_boundary is None else all(result.by_boundary for result in results)
    return replace(first, by_boundary=by_boundary, details=(details or {}) if shown else None)


def _without_duplicates(statements: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return list({repr(statement): statement for statement in statements}.values())


# --- One action on one resource ------------------------------------------------------------------------------------------


def _simulate(simulation: SimulatedScenario, action: str, resource: str) -> _Result:
    given = simulation.resource.policy if simulation.resource is not None else None
    # Without a resource policy and an owner, the question is what the caller's side allows.
    own_side = given is None and simulation.owner == ""
    answer = decide(
        simulation.principal.asks(action, resource, owner=simulation.owner, resource_policy=given, own_side=own_side)
    )
    query, layers, decision = answer.query, answer.layers, answer.decision
    by_organizations = _by_organizations(query, layers)
    details: dict[str, str] | None = None
    if not simulation.everything and by_organizations is not False:
        details = {} if layers.same_account else dict(_by_kind(query, layers))
    return _Result(
        resource=resource,
        decision=_decision_name(decision),
        statements=(*_overruled(simulation, query, decision), *_statements(simulation, decision)),
        missing=tuple(_missing_keys(simulation, query)),
        by_boundary=_decide_by(query, layers.boundary).allowed if layers.boundary is not None else None,
        by_organizations=by_organizations,
        details=details,
    )


def _decision_name(decision: Decision) -> str:
    if decision.allowed:
        return _ALLOWED
    return _EXPLICIT if decision.explicit else _IMPLICIT


def _decide_by(query: AccessQuery, policies: tuple[NamedPolicy, ...]) -> Decision:
    """The decision if there were only these policies."""
    return evaluate(query, Layers(same_account=True, identity=policies))


def _by_organizations(query: AccessQuery, layers: Layers) -> bool | None:
    if not layers.guardrails:
        return None
    return all(_decide_by(query, level).allowed for level in layers.guardrails)


def _by_kind(query: AccessQuery, layers: Layers) -> Iterator[tuple[str, str]]:
    """The decision of each kind of policy, for a request between accounts."""
    if layers.identity is not None:
        yield _IAM_POLICY, _decision_name(_decide_by(query, layers.identity))
    theirs = Layers(same_account=False, identity=None, resource=layers.resource, bindings=layers.bindings)
    yield _RESOURCE_POLICY, _decision_name(evaluate(query, theirs))
    if layers.boundary is not None:
        yield _BOUNDARY_POLICY, _decision_name(_decide_by(query, layers.boundary))


def _missing_keys(simulation: SimulatedScenario, query: AccessQuery) -> Iterator[str]:
    """Keys that an identity or resource policy reads and the request does not give, spelled as written."""
    seen: set[str] = set()
    sources = (*simulation.holdings.identity, *((simulation.resource,) if simulation.resource is not None else ()))
    for source in sources:
        for key in context_keys(source.policy.document):
            folded = fold(key)
            if folded not in query.context and folded not in seen:
                seen.add(folded)
                yield key


def _statements(simulation: SimulatedScenario, decision: Decision) -> Iterator[dict[str, Any]]:
    """The statements that determined a decision. Guardrail statements are not shown; of a boundary only denying ones are."""
    for found in decision.determining:
        if found.layer is Layer.GUARDRAIL or (found.layer is Layer.BOUNDARY and decision.allowed):
            continue
        source = simulation.find(found.layer, found.policy)
        start, end = _positions(source.policy.document, found.statement)
        yield {
            "SourcePolicyId": source.id,
            "SourcePolicyType": _TYPES[found.layer],
            "StartPosition": {"Line": start[0], "Column": start[1]},
            "EndPosition": {"Line": end[0], "Column": end[1]},
        }


def _overruled(simulation: SimulatedScenario, query: AccessQuery, decision: Decision) -> Iterator[dict[str, Any]]:
    """The decision of the identity's own policies, when only a boundary denies."""
    if decision.explicit and all(found.layer is Layer.BOUNDARY for found in decision.determining):
        yield from _statements(simulation, _decide_by(query, policies_in(simulation.holdings.identity)))


def _positions(document: PolicyDocument, index: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """The start and end of a statement as AWS gives them: after the preceding token, and after its own closing brace.

    The first statement of a list starts after the bracket, a later one after the previous statement (at the comma), and
    a single statement without a list after its opening brace. Lines and columns count from 1.
    """
    statement = document.statements[index]
    end = statement.end_line, statement.end_column
    if index:
        before = document.statements[index - 1]
        return (before.end_line, before.end_column), end
    lines = document.text.split("\n")
    head = "\n".join((*lines[: statement.line - 1], lines[statement.line - 1][: statement.column - 1]))
    opening = head.rstrip(" \t\r\n")
    if not opening.endswith("["):
        return (statement.line, statement.column + 1), end
    return (opening.count("\n") + 1, len(opening) - (opening.rfind("\n") + 1) + 1), end


# --- GetContextKeysForCustomPolicy and GetContextKeysForPrincipalPolicy: which keys a simulation needs


def get_context_keys_for_custom_policy(_ctx: ReadContext, p: Params) -> Answer:
    """The keys of the policies in the request."""
    return _key_names(_request_policies(p))


def get_context_keys_for_principal_policy(ctx: ReadContext, p: Params) -> Answer:
    """The keys of a principal's own policies and of the policies in the request."""
    return _key_names((*Gatherer(ctx).of(existing_principal(ctx, p)).identity, *_request_policies(p)))


def _request_policies(p: Params) -> tuple[PolicySource, ...]:
    return scenario.request_policies(p.get("PolicyInputList"), "PolicyInputList", PolicyKind.IDENTITY)


def _key_names(sources: Iterable[PolicySource]) -> Answer:
    names: dict[str, str] = {}
    for source in sources:
        for key in context_keys(source.policy.document):
            names.setdefault(fold(key), key)
    return {"ContextKeyNames": list(names.values())}
