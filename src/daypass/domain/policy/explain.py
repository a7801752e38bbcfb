"""Explains a decision: each layer's result, the statements that matched or nearly did, and what would change it.

The decision in an explanation is `evaluate`'s own; this module only describes it. It is slow but bounded in size, and
it never runs for an allowed request. Only callers who may know the policies may see its result.
Source of the messages: IAM User Guide, "Troubleshoot access denied error messages".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from daypass.domain.claims import PrincipalKind
from daypass.domain.policy.administration import concerns, in_other_account, is_administrative
from daypass.domain.policy.budget import EVALUATION, OverBudget, charge
from daypass.domain.policy.compiled import Statement
from daypass.domain.policy.condition import Condition, split_operator
from daypass.domain.policy.evaluate import StatementMatcher, bypass, evaluate, resource_required
from daypass.domain.policy.explanation import (
    MAX_CHARACTERS,
    MAX_CONDITIONS,
    MAX_SENTENCE,
    MAX_STATEMENTS,
    MAX_VALUES,
    ConditionResult,
    Explanation,
    LayerResult,
    LayerVerdict,
    StatementResult,
    Step,
    cut,
    joined,
    some,
)
from daypass.domain.policy.layers import BLOCK, Layers, NamedPolicy
from daypass.domain.policy.model import AccessQuery, Decision, Effect, Layer
from daypass.domain.policy.pattern import fold
from daypass.domain.policy.principal import GrantScope

__all__ = ["Explanation", "denial_message", "explain"]

_STEPS = tuple(Step)
_TOO_MUCH = (
    f"the policies would have to take at most {EVALUATION} steps for this request: fewer patterns with wildcards, "
    "fewer policy variables, or shorter values in the request"
)


def explain(query: AccessQuery, layers: Layers) -> Explanation:
    """The explanation of the decision that `evaluate` makes for the same arguments."""
    decision = evaluate(query, layers)
    results: tuple[LayerResult, ...] = ()
    remedies: Iterable[str] = (_TOO_MUCH,)
    if not decision.over_budget:  # for one that was refused for its cost, to examine the policies would cost as much
        results = _fitted(tuple(_layers(query, layers)))
        remedies = () if decision.allowed else _remedies(query, decision, results)
    return Explanation(
        decision=decision,
        principal=cut(query.principal.arns[0][0] if query.principal.arns else query.principal.federated),
        action=cut(query.action),
        resource=cut(query.resource),
        layers=results,
        would_have_to_be_true=tuple(remedies),
    )


def _fitted(results: tuple[LayerResult, ...]) -> tuple[LayerResult, ...]:
    """The layers, each with as many of its nearest statements as fit in the size limit."""
    share = MAX_CHARACTERS // max(1, len(results))
    fitted = []
    for result in results:
        left, kept = share, 0
        for statement in result.statements:
            left -= len(repr(statement.to_json()))
            if left < 0 and kept:
                break
            kept += 1
        omitted = result.omitted + len(result.statements) - kept
        fitted.append(replace(result, statements=result.statements[:kept], omitted=omitted))
    return tuple(fitted)


# --- Layers --------------------------------------------------------------------------------------------------------


def _layers(query: AccessQuery, layers: Layers) -> Iterable[LayerResult]:
    matcher = StatementMatcher(query, layers, 2 * EVALUATION)  # the resource policy is examined twice
    resource = matcher.of(Layer.RESOURCE, (layers.resource,)) if layers.resource is not None else []
    scope = matcher.scope
    levels = tuple(_levels(layers))
    share = EVALUATION // max(1, len(levels))  # counts the steps of examining statements one by one
    bypassed = bypass(layers, query, scope)
    root = query.principal.kind == PrincipalKind.ROOT
    required = {
        Layer.GUARDRAIL: True,
        Layer.RESOURCE: resource_required(layers, query),
        Layer.IDENTITY: bypassed < GrantScope.ENTITY and not root,
        Layer.BOUNDARY: bypassed < GrantScope.USER,
        Layer.SESSION: bypassed < GrantScope.DIRECT,
    }
    for layer, level, policies in levels:
        granted = layer is not Layer.RESOURCE or bool(resource and scope is not GrantScope.NONE)
        needed = required[layer] or (layer is Layer.SESSION and layers.limits(level))
        verdict = _verdict(matcher, layer, policies, required=needed, granted=granted)
        near = StatementMatcher(query, layers, share)
        yield _layer(query, layers, layer, level, policies, verdict, near)
        charge(share - max(0, near.left))
    charge(2 * EVALUATION - max(0, matcher.left))


def _levels(layers: Layers) -> Iterable[tuple[Layer, int, tuple[NamedPolicy, ...]]]:
    yield from ((Layer.GUARDRAIL, level, policies) for level, policies in enumerate(layers.guardrails))
    singles = (
        (Layer.RESOURCE, (layers.resource,) if layers.resource is not None else None),
        (Layer.IDENTITY, layers.identity),
        (Layer.BOUNDARY, layers.boundary),
    )
    yield from ((layer, 0, policies) for layer, policies in singles if policies is not None)
    yield from ((Layer.SESSION, level, policies) for level, policies in enumerate(layers.session))


def _verdict(
    matcher: StatementMatcher, layer: Layer, policies: tuple[NamedPolicy, ...], *, required: bool, granted: bool
) -> LayerVerdict:
    denies = len(matcher.denies)
    allows = matcher.of(layer, policies)
    if len(matcher.denies) > denies:
        return LayerVerdict.EXPLICIT_DENY
    if allows and granted:
        return LayerVerdict.ALLOW
    return LayerVerdict.IMPLICIT_DENY if required else LayerVerdict.NOT_REQUIRED


def _layer(
    query: AccessQuery,
    layers: Layers,
    layer: Layer,
    level: int,
    policies: tuple[NamedPolicy, ...],
    verdict: LayerVerdict,
    near: StatementMatcher,
) -> LayerResult:
    """`near` limits how many statements are examined; the others count as omitted."""
    statements = [(policy.name, statement) for policy in policies for statement in policy.document.statements]
    results = []
    for name, statement in statements:
        try:
            near.examine(statement)
        except OverBudget:
            break
        results.append(_statement(query, layers, layer, name, statement))
    results.sort(key=lambda result: (-_STEPS.index(result.failed_at), result.policy, result.index))
    shown = [result for result in results if result.failed_at is not Step.ACTION][:MAX_STATEMENTS]
    return LayerResult(
        layer=layer,
        level=level,
        verdict=verdict,
        policies=tuple(cut(policy.name) for policy in policies[:MAX_STATEMENTS]),
        statements=tuple(shown),
        omitted=len(statements) - len(shown),
    )


# --- Statements ----------------------------------------------------------------------------------------------------


def _statement(query: AccessQuery, layers: Layers, layer: Layer, policy: str, statement: Statement) -> StatementResult:
    failed_at = _failed_at(query, layers, layer, statement)
    conditions: list[ConditionResult] = []
    if failed_at in (Step.CONDITION, Step.NONE):
        conditions = [_condition(query, condition) for condition in statement.conditions]
        conditions.sort(key=lambda result: result.held)
    return StatementResult(
        policy=cut(policy),
        index=statement.index,
        sid=cut(statement.sid),
        effect=statement.effect,
        line=statement.line,
        column=statement.column,
        failed_at=failed_at,
        would_have_to_be_true=cut(_SENTENCES[failed_at](query, statement), MAX_SENTENCE),
        conditions=tuple(conditions[:MAX_CONDITIONS]),
    )


def _failed_at(query: AccessQuery, layers: Layers, layer: Layer, statement: Statement) -> Step:
    """The first check that the statement fails."""
    context, action = query.context, fold(query.action)
    if statement.actions.matches(action, context) is statement.not_action:
        return Step.ACTION
    resources = statement.resources
    if resources is not None and resources.matches(query.resource, context) is statement.not_resource:
        return Step.RESOURCE
    if is_administrative(action) and not concerns(statement.effect, statement.administration, layer, query):
        return Step.ADMINISTRATION
    if not _concerns_principal(query, layers, statement):
        return Step.PRINCIPAL
    held = all(condition.holds(context) for condition in statement.conditions)
    return Step.NONE if held else Step.CONDITION


def _concerns_principal(query: AccessQuery, layers: Layers, statement: Statement) -> bool:
    if statement.principals is None:
        return True
    if statement.not_principal:
        return not statement.principals.excepts(query.principal, layers.bindings)
    return statement.principals.grant_scope(query.principal, layers.bindings) is not GrantScope.NONE


def _condition(query: AccessQuery, condition: Condition) -> ConditionResult:
    found = query.context.get(condition.key)
    return ConditionResult(
        operator=cut(condition.written),
        key=cut(condition.written_key),
        wanted=some(condition.values),
        found=cut(found) if isinstance(found, str) else None if found is None else some(found),
        held=condition.holds(query.context),
    )


# --- What would change the decision --------------------------------------------------------------------------------


def _action_sentence(query: AccessQuery, statement: Statement) -> str:
    if statement.not_action:
        return f"the action would have to be outside NotAction, which covers {cut(query.action)}"
    return f"the action would have to be one of {joined(statement.written['Action'])}"


def _administration_sentence(query: AccessQuery, _statement: Statement) -> str:
    if in_other_account(query):
        return "Action would have to name daypass: and Resource an ARN, because the resource belongs to another account"
    return "Action would have to name daypass: or be *, with Resource and without NotAction or NotResource"


def _resource_sentence(_query: AccessQuery, statement: Statement) -> str:
    if statement.not_resource:
        return f"the resource would have to be none of {joined(statement.written['NotResource'])}"
    return f"the resource would have to match one of {joined(statement.written['Resource'])}"


def _principal_sentence(_query: AccessQuery, statement: Statement) -> str:
    names = joined(value.value for value in statement.principal_values)
    if statement.not_principal:
        return f"the principal would have to be none of {names}"
    return (
        f"the principal would have to be one of {names}, as the same entity that was named when the policy was written"
    )


def _condition_sentence(query: AccessQuery, statement: Statement) -> str:
    failed = [condition for condition in statement.conditions if not condition.holds(query.context)]
    return "; and ".join(_demand(query, condition) for condition in failed[:MAX_VALUES])


def _demand(query: AccessQuery, condition: Condition) -> str:
    """The requirement of a failed condition, and the value found."""
    found = query.context.get(condition.key)
    split = split_operator(condition.written)
    key = cut(condition.written_key)
    if split is not None and split[1] == "Null":
        return f"{key} would have to be {'absent' if found is not None else 'present'}"
    instead = "absent" if found is None else f"'{cut(found)}'" if isinstance(found, str) else joined(found)
    return f"{key} would have to satisfy {condition.written} {joined(condition.values)}, but it is {instead}"


_SENTENCES: Mapping[Step, Callable[[AccessQuery, Statement], str]] = {
    Step.ACTION: _action_sentence,
    Step.ADMINISTRATION: _administration_sentence,
    Step.RESOURCE: _resource_sentence,
    Step.PRINCIPAL: _principal_sentence,
    Step.CONDITION: _condition_sentence,
    Step.NONE: lambda _query, _statement: "",
}


def _remedies(query: AccessQuery, decision: Decision, results: Iterable[LayerResult]) -> Iterable[str]:
    """One sentence for each obstacle."""
    if decision.explicit:
        for found in decision.determining[:MAX_STATEMENTS]:
            if found.policy.startswith(BLOCK):
                yield f"the {found.policy} would have to be lifted"
                continue
            name = f"'{cut(found.sid)}' " if found.sid else ""
            yield (
                f"statement {name}at line {found.line} of {cut(found.policy)} ({_noun(found.layer, query)}) "
                f"would have to stop denying {cut(query.action)}"
            )
        return
    missing = [result for result in results if result.verdict is LayerVerdict.IMPLICIT_DENY]
    if not missing:  # the request has no such layer
        yield f"{_one(decision.blocked_by or Layer.RESOURCE, query)} would have to allow {cut(query.action)}"
    for result in missing:
        what = f"would have to allow {cut(query.action)} on {cut(query.resource)}"
        yield f"{_one(result.layer, query)} {what}{_nearest(result)}"


def _nearest(result: LayerResult) -> str:
    allows = [near for near in result.statements if near.effect is Effect.ALLOW and not near.matched]
    if not allows:
        return ""
    near = allows[0]
    return f"; nearest is the statement at line {near.line} of {near.policy}: {near.would_have_to_be_true}"


# --- AWS's message -------------------------------------------------------------------------------------------------

NOUNS: Mapping[Layer, str] = {
    Layer.GUARDRAIL: "service control policy",
    Layer.RESOURCE: "resource-based policy",
    Layer.IDENTITY: "identity-based policy",
    Layer.BOUNDARY: "permissions boundary",
    Layer.SESSION: "session policy",
}
"""AWS's name for each kind of policy."""

_TRUST = "role trust policy"
_TRUST_ACTIONS = frozenset(
    {"sts:assumerole", "sts:assumerolewithsaml", "sts:assumerolewithwebidentity", "sts:tagsession"}
    | {"sts:setsourceidentity"}
)


def denial_message(query: AccessQuery, decision: Decision, caller_arn: str, shown: str = "") -> str:
    """AWS's AccessDenied message for a denial. `caller_arn` is the ARN that GetCallerIdentity shows. `shown` names the
    resource where AWS does not use its ARN.

    "User: ARN is not authorized to perform: ACTION on resource: RESOURCE because no identity-based policy allows the
    ACTION action", or "… with an explicit deny in an identity-based policy", and ": ARN" when that is a managed one.
    Source: AWS page "Troubleshoot access denied error messages".
    """
    action = query.action
    head = f"User: {caller_arn} is not authorized to perform: {action} on resource: {shown or query.resource}"
    layer = decision.blocked_by
    if decision.over_budget:
        return f"{head} because evaluating the policies takes too many steps"
    if layer is None:
        return head
    if decision.explicit:
        return f"{head} with an explicit deny in {_one(layer, query)}{_managed(decision)}"
    return f"{head} because no {_noun(layer, query)} allows the {action} action"


def _managed(decision: Decision) -> str:
    """The managed policy that denies, if any. Attached policies have ARNs as names, all others do not."""
    arn = next((found.policy for found in decision.determining if found.policy.startswith("arn:")), "")
    return f": {arn}" if arn else ""


def _noun(layer: Layer, query: AccessQuery) -> str:
    trust = layer is Layer.RESOURCE and fold(query.action) in _TRUST_ACTIONS
    return _TRUST if trust else NOUNS[layer]


def _one(layer: Layer, query: AccessQuery) -> str:
    """A policy of a layer, in words: "an identity-based policy", "the role trust policy"."""
    noun = _noun(layer, query)
    article = "the" if noun == _TRUST else "an" if noun.startswith("i") else "a"
    return f"{article} {noun}"
