"""The work that a decision may take, counted in steps before it is done.

A step is about one comparison of a value with a pattern, bound or network. For patterns with wildcards, the product of
the pattern's and the value's characters also counts: `CHARACTERS` of them are one step, because C code handles that
many in the time of one comparison. A decision that exceeds the budget is refused as a whole: no Deny is ever skipped. An operation
that makes many decisions, such as a simulation, also has a budget for all of them together (`metered`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, NamedTuple, TypeVar

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.policy.model import Context

E = TypeVar("E")
T = TypeVar("T")

EVALUATION: Final = 30_000
"""Steps of one decision: some milliseconds. Policies at every quota take a tenth of it for ordinary requests."""

CHARACTERS: Final = 1_024

OPERATION: Final = 6_000_000
"""Steps of all decisions of one operation: one to three seconds. 200 decisions over policies at every quota, each explained,
are within it.
"""

_DECISION: Final = 50  # steps that any decision takes at least

_TOO_MUCH: Final = (
    f"The decisions of this request take more than {OPERATION} steps in total. Ask for fewer actions and resources at a "
    "time, or use fewer patterns with wildcards in the policies."
)


class OverBudget(Exception):
    """The remaining work takes more steps than the budget has left."""


class OperationOverBudget(Exception):
    """The decisions of an operation have taken more steps than its budget."""


class Meter:
    """The steps that the decisions of one operation may still take. `left` is negative once they have taken more."""

    __slots__ = ("left",)

    def __init__(self, steps: int) -> None:
        self.left = steps


_METER: Final[ContextVar[Meter | None]] = ContextVar("meter", default=None)


@contextmanager
def metered(steps: int | None = None) -> Iterator[Meter]:
    """Limits all decisions in the block together, to `OPERATION` steps by default.

    The decision that exceeds the limit raises OperationOverBudget; if nothing in the block handles it, the block raises
    DaypassError(LIMIT_EXCEEDED).
    """
    meter = Meter(OPERATION if steps is None else steps)
    token = _METER.set(meter)
    try:
        yield meter
    except OperationOverBudget:
        raise DaypassError(ErrorKind.LIMIT_EXCEEDED, _TOO_MUCH, private={"reason": "steps"}) from None
    finally:
        _METER.reset(token)


def charge(steps: int) -> None:
    """Charges a decision to the operation that makes it, if that is metered. Raises OperationOverBudget."""
    meter = _METER.get()
    if meter is None:
        return
    meter.left -= max(steps, _DECISION)
    if meter.left < 0:
        raise OperationOverBudget


def within_budget(entities: Iterable[E], evaluate_one: Callable[[E], T]) -> tuple[tuple[T, ...], bool]:
    """The results of the entities that the budget is enough for, and whether it is used up.

    Raises OperationOverBudget when it is not enough for the first one.
    """
    results: list[T] = []
    for entity in entities:
        try:
            results.append(evaluate_one(entity))
        except OperationOverBudget:
            if not results:
                raise
            return tuple(results), True
    return tuple(results), False


class Weight(NamedTuple):
    """The cost of a set of patterns or bounds for each value that they are compared with.

    `calls`: comparisons. `size`: characters of patterns with wildcards. `keys`: context keys of their variables, whose
    values become part of the patterns.
    """

    calls: int
    size: int = 0
    keys: tuple[str, ...] = ()

    def steps(self, members: int, chars: int, context: Context) -> int:
        """The steps for this number of values with this total number of characters."""
        size = self.size
        for key in self.keys:
            value = context.get(key)
            if value.__class__ is str:
                size += len(value)
        return self.calls * members + size * chars // CHARACTERS + (size // CHARACTERS) * members
