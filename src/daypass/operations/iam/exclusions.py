"""PolicyExclusionList: simulates without some of the principal's policies.

Source: IAM API Reference, "PolicyIdentifier", "InlinePolicyIdentifierType".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from daypass.domain.policy.pattern import Patterns
from daypass.operations.iam import faults
from daypass.operations.iam.holdings import INLINE, Holdings, PolicySource

Test: TypeAlias = Callable[[PolicySource], bool]

_MEMBERS = ("PolicyType", "PolicyArn", "InlinePolicyIdentifier")


def excluded(identifiers: Sequence[Mapping[str, Any]] | None) -> Test:
    """Whether a source is excluded by any of these identifiers. Raises DaypassError(INVALID_INPUT)."""
    tests = [_test(identifier) for identifier in identifiers or ()]
    return lambda source: any(test(source) for test in tests)


def without(holdings: Holdings, test: Test) -> Holdings:
    """The remaining policies. An excluded boundary does not limit."""
    boundary = holdings.boundary
    if boundary is not None and any(map(test, boundary)):
        boundary = None
    return replace(holdings, identity=remaining(holdings.identity, test), boundary=boundary)


def remaining(sources: tuple[PolicySource, ...], test: Test) -> tuple[PolicySource, ...]:
    return tuple(source for source in sources if not test(source))


def _test(identifier: Mapping[str, Any]) -> Test:
    given = [name for name in _MEMBERS if identifier.get(name) is not None]
    if len(given) != 1:
        raise faults.invalid_input(f"A policy identifier must have exactly one of {', '.join(_MEMBERS)}.")
    if given[0] == "PolicyType":
        kind = identifier["PolicyType"]
        return lambda source: source.kind == kind
    return (
        _by_arn(identifier["PolicyArn"]) if given[0] == "PolicyArn" else _by_name(identifier["InlinePolicyIdentifier"])
    )


def _by_arn(pattern: str) -> Test:
    head, separator, name = pattern.partition(":policy/")
    if not separator or not name or any(wild in head for wild in "*?") or name.count("*") > 1:
        raise faults.invalid_arn(pattern)
    patterns = Patterns([pattern])
    return lambda source: bool(source.name and source.arn) and patterns.matches(source.arn, {})


def _by_name(identifier: Mapping[str, Any]) -> Test:
    owner = identifier["AttachmentName"]
    if owner.count("*") > 1:
        raise faults.invalid_input(f"AttachmentName {owner} has more than one *.")
    kind, name, owners = identifier["AttachmentType"], identifier["PolicyName"], Patterns([owner])
    return lambda source: (
        source.kind == INLINE and (source.owner[0], source.name) == (kind, name) and owners.matches(source.owner[1], {})
    )
