"""Caches the decisions that admitted callers to a role, so that the next request of a caller is not evaluated again.

For the same principal, policies, role and actions, two decisions differ only by the outcomes of conditions. Every
request tests the conditions that apply to it; the outcomes are the cache key. An entry must never be used for another
principal, other policies or another role, or when the context decides more than whether conditions hold. Refusals are
not cached.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from msgspec import Struct

from daypass.domain.policy.budget import EVALUATION
from daypass.domain.policy.compiled import Statement
from daypass.domain.policy.evaluate import depends_on_variables, holds, steps
from daypass.domain.policy.model import Context, Decision, PrincipalFacts, Value
from daypass.domain.trust import Admission, CallerPolicies

_MAX_PRINCIPALS: Final = 1024  # per role
_MAX_OUTCOMES: Final = 64  # per principal


class _Test(NamedTuple):
    """The statements to test, and the context keys that they test in addition to those of the request."""

    statements: tuple[Statement, ...]
    beside: Mapping[str, Value]


class CachedDecisions(Struct, frozen=True):
    """The decisions for one principal under the same policies, by test outcomes.

    `may_be_large`: whether the tests take too long for the event loop in some contexts.
    """

    principal: PrincipalFacts
    policies: CallerPolicies
    tests: tuple[_Test, ...]
    decisions: dict[tuple[bool, ...], Decision]
    may_be_large: bool

    def find(self, context: Callable[[], Context]) -> Decision | None:
        """The cached decision for this request; None when the request must be evaluated.

        `context` is called only if a policy tests it.
        """
        if not self.tests:
            return self.decisions.get(())
        outcomes = _outcomes(self.tests, context())
        return self.decisions.get(outcomes) if outcomes is not None else None


class DecisionCache:
    """The cache of one role. It belongs to one view of the role and is dropped with the view."""

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        self._entries: dict[object, CachedDecisions] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def clear(self) -> None:
        """Removes all entries."""
        self._entries.clear()

    def of(
        self, principal: PrincipalFacts, policies: CallerPolicies, actions: tuple[str, ...]
    ) -> CachedDecisions | None:
        """The decisions for this principal under exactly these policies."""
        cached = self._entries.get((principal.arns or (principal.federated, principal.service), actions))
        if cached is None or cached.policies is not policies:
            return None
        return cached if cached.principal is principal or cached.principal == principal else None

    def keep(
        self,
        principal: PrincipalFacts,
        policies: CallerPolicies,
        actions: tuple[str, ...],
        admission: Admission,
        context: Callable[[], Context],
        *,
        may_be_large: bool = False,
    ) -> None:
        """Caches an admission, unless its context decides more than whether conditions hold. `may_be_large`: see
        `CachedDecisions`.
        """
        cached = self.of(principal, policies, actions)
        if cached is None:
            cached = _entry_for(principal, policies, actions, admission, may_be_large=may_be_large)
            if cached is None:
                return
            if len(self._entries) >= _MAX_PRINCIPALS:
                self._entries.clear()
            self._entries[(principal.arns or (principal.federated, principal.service), actions)] = cached
        if len(cached.decisions) >= _MAX_OUTCOMES:
            cached.decisions.clear()
        outcomes = _outcomes(cached.tests, context()) if cached.tests else ()
        if outcomes is not None:
            cached.decisions[outcomes] = admission.decision


def _outcomes(tests: tuple[_Test, ...], context: Context) -> tuple[bool, ...] | None:
    """None when the tests take more steps than the budget of a decision: the evaluator refuses such a request."""
    outcomes: list[bool] = []
    left = EVALUATION
    for statements, beside in tests:
        whole = {**context, **beside} if beside else context
        for statement in statements:
            left -= steps(statement, whole)
            if left < 0:
                return None
            outcomes.append(holds(statement, whole))
    return tuple(outcomes)


def _entry_for(
    principal: PrincipalFacts,
    policies: CallerPolicies,
    actions: tuple[str, ...],
    admission: Admission,
    *,
    may_be_large: bool,
) -> CachedDecisions | None:
    """An empty entry for admissions like this one; None when the context decides too much of them."""
    if any(depends_on_variables(action, side.layers) for side in admission.sides for action in actions):
        return None
    tests = [
        _Test(side.statements, {key: value for key, value in side.where.items() if _tested(side.statements, key)})
        for side in admission.sides
        if side.statements
    ]
    return CachedDecisions(principal, policies, tuple(tests), {}, may_be_large)


def _tested(statements: tuple[Statement, ...], key: str) -> bool:
    return any(key in statement.keys for statement in statements)
