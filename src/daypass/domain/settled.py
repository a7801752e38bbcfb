"""What is remembered of an admission, so that the next request of the same caller is not evaluated from the beginning.

With the same principal, policies, role and actions only conditions make one decision differ from another. All of them
that bear on the request are tested each time; the decision over their outcomes is taken once for each outcome. It must
never be used for another caller, policy or role, nor where the context decides more than whether conditions hold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from daypass.domain.policy.compiled import Statement
from daypass.domain.policy.evaluate import holds, looks_through_variables
from daypass.domain.policy.model import Context, Decision, PrincipalFacts, Value
from daypass.domain.trust import Admission, CallerPolicies

_MOST_OUTCOMES: Final = 64


class _Test(NamedTuple):
    """Statements to test, with what the context has beside the request's own keys, as far as they look at it."""

    statements: tuple[Statement, ...]
    beside: Mapping[str, Value]


class Settled(NamedTuple):
    """The admissions of one caller to one role, by the outcomes of the tests that they hang on."""

    principal: PrincipalFacts
    policies: CallerPolicies
    tests: tuple[_Test, ...]
    decisions: dict[tuple[bool, ...], Decision]

    def recall(self, context: Callable[[], Context]) -> Decision | None:
        """The decision that admits a request in this context; None when it must be evaluated. It asks for a context only
        if some policy looks at it.
        """
        return self.decisions.get(self._outcomes(context()) if self.tests else ())

    def keep(self, decision: Decision, context: Callable[[], Context]) -> None:
        """Remembers that `decision` admitted a request in this context."""
        if len(self.decisions) >= _MOST_OUTCOMES:
            self.decisions.clear()
        self.decisions[self._outcomes(context()) if self.tests else ()] = decision

    def _outcomes(self, context: Context) -> tuple[bool, ...]:
        outcomes: list[bool] = []
        for statements, beside in self.tests:
            whole = {**context, **beside} if beside else context
            outcomes += [holds(statement, whole) for statement in statements]
        return tuple(outcomes)


def settle(
    principal: PrincipalFacts, policies: CallerPolicies, actions: tuple[str, ...], admission: Admission
) -> Settled | None:
    """Where the admissions of this caller to this role are remembered; None where the context decides too much of them."""
    if any(looks_through_variables(action, side.layers) for side in admission.sides for action in actions):
        return None
    tests = [
        _Test(side.statements, {key: value for key, value in side.where.items() if _looks_at(side.statements, key)})
        for side in admission.sides
        if side.statements
    ]
    return Settled(principal, policies, tuple(tests), {})


def _looks_at(statements: tuple[Statement, ...], key: str) -> bool:
    return any(key in statement.keys for statement in statements)
