"""The one evaluator: takes a request and the policies that apply to it, returns a decision.

An explicit deny anywhere wins. Every guardrail level must allow. Within one account, the resource policy or the
identity's own policies must allow, limited by boundary and session. Between accounts, both must allow. Nothing is
allowed by default, and the order of statements and policies never matters.
Source: IAM User Guide, "Policy evaluation logic", "How AWS enforcement code logic evaluates requests to allow or deny
access", "Cross-account policy evaluation logic".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from daypass.domain.claims import PrincipalKind
from daypass.domain.policy.administration import concerns, is_administrative
from daypass.domain.policy.budget import EVALUATION, OverBudget, charge
from daypass.domain.policy.compiled import PolicyDocument, PolicyKind, Statement
from daypass.domain.policy.layers import Layers, NamedPolicy
from daypass.domain.policy.model import AccessQuery, Context, Decision, Determining, Effect, Layer
from daypass.domain.policy.pattern import fold
from daypass.domain.policy.principal import GrantScope, Principals

# Bound once: before Python 3.12 every look-up of an enum's member runs Python code.
_GUARDRAIL, _RESOURCE, _IDENTITY, _BOUNDARY, _SESSION = Layer
_NONE, _ENTITY, _USER, _DIRECT = GrantScope.NONE, GrantScope.ENTITY, GrantScope.USER, GrantScope.DIRECT
_DENY = Effect.DENY
_ROOT = PrincipalKind.ROOT.value


class Match(NamedTuple):
    """A statement that applies to the request."""

    layer: Layer
    policy: str
    statement: Statement


class Verdict(NamedTuple):
    """The outcome of the layers: the blocking layer or None, whether the deny was explicit, and the determining statements."""

    blocked_by: Layer | None
    explicit: bool
    matches: tuple[Match, ...]


class StatementMatcher:
    """Collects the statements that match a request, layer by layer, each statement at most once.

    `left`: the remaining steps. It raises OverBudget before a statement that takes more.
    """

    __slots__ = (
        "_action",
        "_administrative",
        "_bindings",
        "_query",
        "_service",
        "conditional",
        "denies",
        "left",
        "scope",
    )

    def __init__(self, query: AccessQuery, layers: Layers, budget: int = EVALUATION) -> None:
        self._query = query
        self.left = budget
        self._bindings = layers.bindings
        self._action = fold(query.action)
        self._service = self._action.partition(":")[0]
        self._administrative = is_administrative(self._action)
        self.denies: list[Match] = []
        self.conditional: list[Statement] = []  # action, resource and principal match, and it has context keys
        self.scope = _NONE  # the widest scope among the resource policy's grants

    def of(self, layer: Layer, policies: Iterable[NamedPolicy]) -> list[Match]:
        """The allowing statements of these policies; appends the denying ones to `denies`."""
        allows: list[Match] = []
        context = self._query.context
        for policy in policies:
            candidates = self._candidates(policy.document)
            if self._administrative:
                candidates = [s for s in candidates if concerns(s.effect, s.administration, layer, self._query)]
            for statement in candidates:
                scope = _NONE
                if statement.principals is not None:
                    scope = self._scope(statement, statement.principals)
                    if scope is _NONE:
                        continue
                if statement.keys:
                    self.conditional.append(statement)
                    if not self._holds(statement, context):
                        continue
                match = Match(layer, policy.name, statement)
                if statement.effect is _DENY:
                    self.denies.append(match)
                    continue
                allows.append(match)
                if layer is _RESOURCE and scope > self.scope:
                    self.scope = scope
        return allows

    def _holds(self, statement: Statement, context: Context) -> bool:
        for condition in statement.conditions:
            if condition.light and context.get(condition.key).__class__ is str:  # the common case
                self.left -= condition.light
            else:
                self._spend(condition.steps(context))
            if not condition.holds(context):
                return False
        return True

    def examine(self, statement: Statement) -> None:
        """Counts the steps of examining all of a statement, as explanations do. Raises OverBudget."""
        context = self._query.context
        self._spend(statement.steps(self._query.resource, context) + 3 * steps(statement, context))

    def check_budget(self) -> None:
        """Raises OverBudget if the work counted afterwards exceeds the budget."""
        self._spend(0)

    def _spend(self, steps: int) -> None:
        self.left -= steps
        if self.left < 0:
            raise OverBudget

    def _candidates(self, document: PolicyDocument) -> list[Statement]:
        """The statements whose action and resource match."""
        index, action = document.index, self._action
        resource, context = self._query.resource, self._query.context
        statements: list[Statement] = []
        for length, by_prefix in index.exact.get(action, ()):
            for statement in by_prefix.get(resource[:length], ()):
                self.left -= statement.cost
                if statement.wild is not None:
                    self._spend(statement.wild.steps(1, len(resource), context))
                resources = statement.resources
                if resources is None or resources.matches(resource, context) is not statement.not_resource:
                    statements.append(statement)
        for length, by_prefix in (*index.by_service.get(self._service, ()), *index.others):
            for statement in by_prefix.get(resource[:length], ()):
                self.left -= statement.cost
                if statement.wild is not None:
                    self._spend(statement.wild.steps(1, len(resource), context))
                if statement.actions.matches(action, context) is statement.not_action:
                    continue
                resources = statement.resources
                if resources is None or resources.matches(resource, context) is not statement.not_resource:
                    statements.append(statement)
        return statements

    def _scope(self, statement: Statement, principals: Principals) -> GrantScope:
        """The grant scope of the statement for the caller; NONE when its principals do not match the caller."""
        who = self._query.principal
        if statement.not_principal:
            return _NONE if principals.excepts(who, self._bindings) else _DIRECT
        return principals.grant_scope(who, self._bindings)


def steps(statement: Statement, context: Context) -> int:
    """The maximum number of steps of `holds`."""
    total = 0
    for condition in statement.conditions:
        if condition.light and context.get(condition.key).__class__ is str:  # the common case
            total += condition.light
        else:
            total += condition.steps(context)
    return total


def holds(statement: Statement, context: Context) -> bool:
    """Whether every condition of the statement holds."""
    for condition in statement.conditions:  # noqa: SIM110 - a generator would double the time of the hot path
        if not condition.holds(context):
            return False
    return True


def evaluate(query: AccessQuery, layers: Layers) -> Decision:
    """The decision, by AWS's documented logic. Never raises on a request's values, except for `budget.metered`."""
    return decide(query, layers)[0]


def decide(query: AccessQuery, layers: Layers) -> tuple[Decision, tuple[Statement, ...]]:
    """`evaluate`, with statements that apply according to their conditions in the query's context.

    A decision over the budget is a denial: the statements that were not evaluated may contain a Deny.
    """
    matcher = StatementMatcher(query, layers)
    verdict = _judged(query, layers, matcher)
    if verdict is None:
        return Decision(False, over_budget=True), ()
    decision = Decision(
        verdict.blocked_by is None,
        verdict.blocked_by,
        verdict.explicit,
        tuple([_determining(match) for match in verdict.matches]),
        _consulted(matcher.conditional),
    )
    return decision, tuple(matcher.conditional)


def allows(query: AccessQuery, layers: Layers) -> bool:
    """Whether `evaluate` allows it: for whoever needs no reason."""
    verdict = _judged(query, layers, StatementMatcher(query, layers))
    return verdict is not None and verdict.blocked_by is None


def _judged(query: AccessQuery, layers: Layers, matcher: StatementMatcher) -> Verdict | None:
    """The verdict; None if it is over the budget."""
    try:
        verdict = judge(query, layers, matcher)
        matcher.check_budget()
    except OverBudget:
        charge(EVALUATION)
        return None
    charge(EVALUATION - matcher.left)
    return verdict


def depends_on_variables(action: str, layers: Layers) -> bool:
    """Whether variables in some statement on this action decide which actions or resources it matches.

    Otherwise two decisions about the same principal, action and resource differ only if a condition of `decide`'s
    statements holds in one context and not in the other.
    """
    return any(
        statement.actions.keys or (statement.resources is not None and statement.resources.keys)
        for _, policy in layers.policies()
        for statement in policy.document.index.concerned(fold(action))
    )


def judge(query: AccessQuery, layers: Layers, matcher: StatementMatcher) -> Verdict:
    """Determines which layers allow, and whether that is sufficient."""
    guardrails = [matcher.of(_GUARDRAIL, level) for level in layers.guardrails]
    resource = matcher.of(_RESOURCE, (layers.resource,)) if layers.resource is not None else []
    identity = matcher.of(_IDENTITY, layers.identity) if layers.identity is not None else []
    boundary = matcher.of(_BOUNDARY, layers.boundary) if layers.boundary is not None else None
    session = [matcher.of(_SESSION, level) for level in layers.session]
    if matcher.denies:
        denies = sorted(matcher.denies, key=_order)
        return Verdict(denies[0].layer, True, tuple(denies))
    required: list[tuple[Layer, list[Match]]] = [(_GUARDRAIL, level) for level in guardrails]
    scope = matcher.scope
    if scope is _NONE:
        resource = []  # no principal was named, so nothing was granted
    if resource or resource_required(layers, query):
        required.append((_RESOURCE, resource))
    bypassed = bypass(layers, query, scope)
    if bypassed < _ENTITY and query.principal.kind != _ROOT:
        required.append((_IDENTITY, identity))
    if bypassed < _USER and boundary is not None:
        required.append((_BOUNDARY, boundary))
    if bypassed < _DIRECT:
        required += [(_SESSION, level) for level in session]
    elif layers.scope_downs:
        required += [(_SESSION, allows) for level, allows in enumerate(session) if layers.limits(level)]
    matches: list[Match] = []
    for layer, allows in required:
        if not allows:
            return Verdict(layer, False, ())
        matches += allows
    return Verdict(None, False, tuple(matches))


def resource_required(layers: Layers, query: AccessQuery) -> bool:
    """Whether the resource policy must allow the request."""
    return (
        not layers.same_account
        or (layers.resource is not None and layers.resource.document.kind is PolicyKind.TRUST)
        or (layers.identity is None and query.principal.kind != _ROOT)
    )


def bypass(layers: Layers, query: AccessQuery, scope: GrantScope) -> GrantScope:
    """The caller's layers that need not allow, given the resource policy's grant."""
    if layers.identity is None and query.principal.kind != _ROOT:
        return _DIRECT  # without an identity the resource policy alone decides
    return scope if layers.same_account else _NONE


def _order(match: Match) -> tuple[int, str, int]:
    return _LAYER_ORDER[match.layer], match.policy, match.statement.index


_LAYER_ORDER = {layer: index for index, layer in enumerate(Layer)}


def _determining(match: Match) -> Determining:
    layer, policy, statement = match
    return Determining(
        layer, policy, statement.index, statement.sid, statement.effect, statement.line, statement.column
    )


def _consulted(conditional: list[Statement]) -> tuple[str, ...]:
    if len(conditional) < 2:
        return conditional[0].keys if conditional else ()
    return tuple(sorted({key for statement in conditional for key in statement.keys}))
