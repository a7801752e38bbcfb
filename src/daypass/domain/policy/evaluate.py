"""The one evaluator: from a request and the policies that bear on it to a decision.

An explicit deny anywhere wins. Then every guardrail level must allow; then, in one account, the resource policy or the
identity's own policies, within boundary and session; between accounts, both. Nothing is allowed by default, and the
order of statements and policies never matters.
Source: IAM User Guide, "Policy evaluation logic", "How AWS enforcement code logic evaluates requests to allow or deny
access", "Cross-account policy evaluation logic".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from daypass.domain.claims import PrincipalKind
from daypass.domain.policy.compiled import PolicyDocument, PolicyKind, Statement
from daypass.domain.policy.model import AccessQuery, Context, Decision, Determining, Effect, Layer, Layers, NamedPolicy
from daypass.domain.policy.pattern import fold
from daypass.domain.policy.principal import Principals, Reach

# Bound once: before Python 3.12 every look-up of an enum's member runs Python code.
_GUARDRAIL, _RESOURCE, _IDENTITY, _BOUNDARY, _SESSION = Layer
_NOBODY, _ENTITY, _USER, _DIRECT = Reach.NONE, Reach.ENTITY, Reach.USER, Reach.DIRECT
_DENY = Effect.DENY
_ROOT = PrincipalKind.ROOT.value


class Match(NamedTuple):
    """A statement that applies to the request."""

    layer: Layer
    policy: str
    statement: Statement


class Verdict(NamedTuple):
    """The outcome by layers: a blocking layer or None, and whether the deny was explicit; who allowed or denied."""

    blocked_by: Layer | None
    explicit: bool
    matches: tuple[Match, ...]


class Survey:
    """Collects the statements that match a request; layer by layer, each statement at most once."""

    __slots__ = ("_action", "_bindings", "_query", "_service", "denies", "reach", "touched")

    def __init__(self, query: AccessQuery, layers: Layers) -> None:
        self._query = query
        self._bindings = layers.bindings
        self._action = fold(query.action)
        self._service = self._action.partition(":")[0]
        self.denies: list[Match] = []
        self.touched: list[Statement] = []  # action, resource and principal match, and it has context keys
        self.reach = _NOBODY  # the farthest of the resource policy's grants

    def of(self, layer: Layer, policies: Iterable[NamedPolicy]) -> list[Match]:
        """The allowing statements of these policies; denying ones go to `denies`."""
        allows: list[Match] = []
        context = self._query.context
        for policy in policies:
            for statement in self._candidates(policy.document):
                reach = _NOBODY
                if statement.principals is not None:
                    reach = self._reach(statement, statement.principals)
                    if reach is _NOBODY:
                        continue
                if statement.keys:
                    self.touched.append(statement)
                    if not holds(statement, context):
                        continue
                match = Match(layer, policy.name, statement)
                if statement.effect is _DENY:
                    self.denies.append(match)
                    continue
                allows.append(match)
                if layer is _RESOURCE and reach > self.reach:
                    self.reach = reach
        return allows

    def _candidates(self, document: PolicyDocument) -> list[Statement]:
        """The statements whose action and resource match."""
        index, action = document.index, self._action
        resource, context = self._query.resource, self._query.context
        found: list[Statement] = []
        for length, heads in index.exact.get(action, ()):
            for statement in heads.get(resource[:length], ()):
                resources = statement.resources
                if resources is None or resources.matches(resource, context) is not statement.not_resource:
                    found.append(statement)
        for length, heads in (*index.by_service.get(self._service, ()), *index.others):
            for statement in heads.get(resource[:length], ()):
                if statement.actions.matches(action, context) is statement.not_action:
                    continue
                resources = statement.resources
                if resources is None or resources.matches(resource, context) is not statement.not_resource:
                    found.append(statement)
        return found

    def _reach(self, statement: Statement, principals: Principals) -> Reach:
        """How far the statement reaches for the caller; NONE when it does not mean the caller."""
        who = self._query.principal
        if statement.not_principal:
            return _NOBODY if principals.excepts(who, self._bindings) else _DIRECT
        return principals.reach(who, self._bindings)


def holds(statement: Statement, context: Context) -> bool:
    """Whether every condition of the statement holds."""
    for condition in statement.conditions:  # noqa: SIM110 - a generator would double the time of the hot path
        if not condition.holds(context):
            return False
    return True


def evaluate(query: AccessQuery, layers: Layers) -> Decision:
    """The decision, by AWS's documented logic. Never raises on a request's values."""
    return decide(query, layers)[0]


def decide(query: AccessQuery, layers: Layers) -> tuple[Decision, tuple[Statement, ...]]:
    """`evaluate`, with the statements that apply or not as their conditions hold in the query's context."""
    survey = Survey(query, layers)
    verdict = judge(query, layers, survey)
    decision = Decision(
        verdict.blocked_by is None,
        verdict.blocked_by,
        verdict.explicit,
        tuple([_determining(match) for match in verdict.matches]),
        _consulted(survey.touched),
    )
    return decision, tuple(survey.touched)


def looks_through_variables(action: str, layers: Layers) -> bool:
    """Whether the context decides, for some statement on this action, which actions or resources it is about.

    Where it does not, two decisions about the same principal, action and resource differ only if some condition of
    `decide`'s statements holds in one context and not in the other.
    """
    policies = [policy for level in (*layers.guardrails, *layers.session) for policy in level]
    policies += (*(layers.identity or ()), *(layers.boundary or ()), *((layers.resource,) if layers.resource else ()))
    return any(
        statement.actions.keys or (statement.resources is not None and statement.resources.keys)
        for policy in policies
        for statement in policy.document.index.concerned(fold(action))
    )


def judge(query: AccessQuery, layers: Layers, survey: Survey) -> Verdict:
    """Which layers allow, and whether they suffice."""
    guardrails = [survey.of(_GUARDRAIL, level) for level in layers.guardrails]
    resource = survey.of(_RESOURCE, (layers.resource,)) if layers.resource is not None else []
    identity = survey.of(_IDENTITY, layers.identity) if layers.identity is not None else []
    boundary = survey.of(_BOUNDARY, layers.boundary) if layers.boundary is not None else None
    session = [survey.of(_SESSION, level) for level in layers.session]
    if survey.denies:
        denies = sorted(survey.denies, key=_order)
        return Verdict(denies[0].layer, True, tuple(denies))
    required: list[tuple[Layer, list[Match]]] = [(_GUARDRAIL, level) for level in guardrails]
    reach = survey.reach
    if reach is _NOBODY:
        resource = []  # nobody was named, so nothing was granted
    if resource or resource_required(layers, query):
        required.append((_RESOURCE, resource))
    bypassed = bypass(layers, query, reach)
    if bypassed < _ENTITY and query.principal.kind != _ROOT:
        required.append((_IDENTITY, identity))
    if bypassed < _USER and boundary is not None:
        required.append((_BOUNDARY, boundary))
    if bypassed < _DIRECT:
        required += [(_SESSION, level) for level in session]
    for layer, allows in required:
        if not allows:
            return Verdict(layer, False, ())
    return Verdict(None, False, tuple([match for _, allows in required for match in allows]))


def resource_required(layers: Layers, query: AccessQuery) -> bool:
    """Whether nothing is allowed unless the resource policy allows it."""
    return (
        not layers.same_account
        or (layers.resource is not None and layers.resource.document.kind is PolicyKind.TRUST)
        or (layers.identity is None and query.principal.kind != _ROOT)
    )


def bypass(layers: Layers, query: AccessQuery, reach: Reach) -> Reach:
    """Which of the caller's own layers need not allow, given the resource policy's grant."""
    if layers.identity is None and query.principal.kind != _ROOT:
        return _DIRECT  # no identity: the resource policy alone decides
    return reach if layers.same_account else _NOBODY


def _order(match: Match) -> tuple[int, str, int]:
    return _LAYER_ORDER[match.layer], match.policy, match.statement.index


_LAYER_ORDER = {layer: index for index, layer in enumerate(Layer)}


def _determining(match: Match) -> Determining:
    layer, policy, statement = match
    return Determining(
        layer, policy, statement.index, statement.sid, statement.effect, statement.line, statement.column
    )


def _consulted(touched: list[Statement]) -> tuple[str, ...]:
    if len(touched) < 2:
        return touched[0].keys if touched else ()
    return tuple(sorted({key for statement in touched for key in statement.keys}))
