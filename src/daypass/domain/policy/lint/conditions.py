"""Conditions that differ from their apparent meaning: never true, true when the key is absent, or on unknown keys."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from daypass.domain.policy import values
from daypass.domain.policy.compiled import PolicyDocument, Statement
from daypass.domain.policy.condition import Condition, Quantifier, split_operator
from daypass.domain.policy.lint.finding import LintFinding, Locations, at_place
from daypass.domain.policy.lint.grants import ALWAYS_PRESENT, OFTEN_EMPTY, is_known
from daypass.domain.policy.model import Effect
from daypass.domain.policy.pattern import Patterns, fold, replace_braces

_LITERAL = frozenset({"StringEquals", "StringNotEquals", "StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase"})
_MAX_PAIRS = 10_000  # values compared with one another; larger sets are not checked
_ARN = frozenset({"ArnEquals", "ArnLike"})
_EXCLUSIVE = {"StringEquals": "StringNotEquals", "StringEqualsIgnoreCase": "StringNotEqualsIgnoreCase"}


def operator_of(condition: Condition) -> str:
    """The operator without its quantifier and without IfExists."""
    split = split_operator(condition.written)
    return split[1] if split is not None else condition.written


def optional(condition: Condition) -> bool:
    """Whether the condition also holds when its key is absent, although it does not test for absence."""
    return condition.when_absent and not condition.negated and operator_of(condition) != "Null"


def requires_value(condition: Condition) -> bool:
    """Whether the key must be present and have one of the values."""
    return not condition.negated and not condition.when_absent and operator_of(condition) != "Null"


def check(document: PolicyDocument) -> Iterator[LintFinding]:
    """The findings about the conditions of all statements."""
    locations = Locations(document.text)
    for statement in document.statements:
        yield from _impossible(statement, locations)
        for condition in statement.conditions:
            yield from _one(statement, condition, locations)


def _one(statement: Statement, condition: Condition, locations: Locations) -> Iterator[LintFinding]:
    at = locations.of(statement, condition)
    key, name = condition.key, operator_of(condition)
    if not is_known(key):
        yield at_place(
            "condition-unknown-key",
            *at,
            f"No request has the key {key}, so {_absent(condition)}.",
            "Check the spelling of the key.",
            statement,
        )
    if name in _LITERAL and any("*" in value or "?" in value for value in map(_plain, condition.values)):
        like = condition.written.replace("Equals", "Like").replace("IgnoreCase", "")
        yield at_place(
            "condition-literal-wildcard",
            *at,
            f"{condition.written} compares * and ? as plain characters.",
            f"Use {like} if they are meant as wildcards.",
            statement,
        )
    if statement.effect is Effect.ALLOW and optional(condition) and not _harmless(statement, condition):
        yield at_place(
            "condition-optional",
            *at,
            f"{condition.written} also holds for requests that do not have {key} at all, and so allows them.",
            _optional_fix(condition),
            statement,
        )


def _plain(value: str) -> str:
    """A value without its policy variables: `${*}` is a literal star."""
    return replace_braces(value, lambda _: "")


def _absent(condition: Condition) -> str:
    return "this always holds" if condition.when_absent else "this never holds"


def _harmless(statement: Statement, condition: Condition) -> bool:
    """Whether the key is always present, another condition excludes its absence, or its absence is as safe as a listed value."""
    if condition.key in ALWAYS_PRESENT or condition.key in OFTEN_EMPTY:
        return True
    return any(
        operator_of(other) == "Null" and other.key == condition.key and not other.when_absent
        for other in statement.conditions
    )


def _optional_fix(condition: Condition) -> str:
    if condition.quantifier is Quantifier.ALL:
        return f'Add "Null": {{"{condition.key}": "false"}}, or use ForAnyValue.'
    return f"Use {condition.written.removesuffix('IfExists')}."


# --- Never true ------------------------------------------------------------------------------------------------------


def _impossible(statement: Statement, locations: Locations) -> Iterator[LintFinding]:
    by_key: dict[str, list[Condition]] = {}
    for condition in statement.conditions:
        by_key.setdefault(condition.key, []).append(condition)
    for key, conditions in by_key.items():
        why = _contradiction(conditions) or _bad_arn(conditions)
        if why:
            yield at_place(
                "condition-never-true",
                *locations.of(statement, conditions[-1]),
                f"{why}, so the statement never {'allows' if statement.effect is Effect.ALLOW else 'denies'} anything.",
                f"Correct the conditions on {key}, or remove the statement.",
                statement,
            )


def _bad_arn(conditions: Iterable[Condition]) -> str:
    for condition in conditions:
        if operator_of(condition) in _ARN and requires_value(condition) and not any(map(_arn_like, condition.values)):
            return f"{condition.written} compares with a text that is not an ARN"
    return ""


def _arn_like(value: str) -> bool:
    return value == "*" or "${" in value or value.count(":") >= 5


def _contradiction(conditions: Sequence[Condition]) -> str:
    """Why the conditions on one key cannot all hold; "" when that is not proven."""
    key = conditions[0].key
    demanded = [condition for condition in conditions if requires_value(condition)]
    for condition in conditions:
        if operator_of(condition) == "Null":
            wants_absent = condition.when_absent
            if wants_absent and demanded:
                return f"{key} must be absent and have a value"
            if any(operator_of(o) == "Null" and o.when_absent is not wants_absent for o in conditions):
                return f"{key} must be both absent and present"
    single = [condition for condition in demanded if condition.quantifier is Quantifier.NONE]
    return (
        _no_text(key, single, conditions)
        or _no_bool(key, single)
        or _no_range(key, single)
        or _no_address(key, single, conditions)
    )


def _no_text(key: str, demanded: Sequence[Condition], conditions: Sequence[Condition]) -> str:
    exact = [c for c in demanded if operator_of(c) == "StringEquals" and not _variable(c.values)]
    if not exact:
        return ""
    possible = set(exact[0].values)
    for condition in demanded:
        name = operator_of(condition)
        if len(possible) * len(condition.values) > _MAX_PAIRS:
            return ""
        if name in ("StringEquals", "StringLike", "StringEqualsIgnoreCase") and not _variable(condition.values):
            possible = _matching(condition, name, possible)
    for condition in conditions:
        if operator_of(condition) == _EXCLUSIVE["StringEquals"] and not _variable(condition.values):
            possible -= set(condition.values)
    return "" if possible else f"no value of {key} meets all of its conditions"


def _variable(texts: Iterable[str]) -> bool:
    return any("${" in text for text in texts)


def _matching(condition: Condition, name: str, texts: set[str]) -> set[str]:
    folded = name == "StringEqualsIgnoreCase"
    patterns = Patterns(condition.values, wildcards=name == "StringLike", folded=folded)
    return {text for text in texts if patterns.matches(fold(text) if folded else text, {})}


def _no_bool(key: str, demanded: Sequence[Condition]) -> str:
    wanted = [{fold(value) for value in c.values} for c in demanded if operator_of(c) == "Bool"]
    if wanted and not set.intersection(*wanted):
        return f"{key} must be both true and false"
    return ""


def _no_range(key: str, demanded: Sequence[Condition]) -> str:
    """Bounds that exclude one another. A condition with several values counts as its loosest bound."""
    for family, read in (("Numeric", values.number), ("Date", values.date)):
        low: tuple[object, bool] | None = None
        high: tuple[object, bool] | None = None
        for condition in demanded:
            name = operator_of(condition)
            bounds = [bound for bound in map(read, condition.values) if bound is not None]
            if not name.startswith(family) or not bounds:
                continue
            strict = not name.endswith("Equals")
            if "GreaterThan" in name or name == f"{family}Equals":
                low = _tighter(low, (min(bounds), strict and "Than" in name), greater=True)
            if "LessThan" in name or name == f"{family}Equals":
                high = _tighter(high, (max(bounds), strict and "Than" in name), greater=False)
        if low is not None and high is not None and _empty(low, high):
            return f"the bounds on {key} exclude one another"
    return ""


def _no_address(key: str, demanded: Sequence[Condition], conditions: Sequence[Condition]) -> str:
    """Addresses that another condition excludes completely."""
    wanted = [_networks(c) for c in demanded if operator_of(c) == "IpAddress"]
    excluded = [net for c in conditions if operator_of(c) == "NotIpAddress" for net in _networks(c)]
    for networks in wanted:
        if len(networks) * len(excluded) > _MAX_PAIRS:
            return ""
        if networks and all(any(_within(net, other) for other in excluded) for net in networks):
            return f"every address that {key} may have is excluded"
    return ""


def _networks(condition: Condition) -> list[values.Network]:
    return [net for net in map(values.network, condition.values) if net is not None]


def _within(inner: values.Network, outer: values.Network) -> bool:
    narrower = inner.mask & outer.mask == outer.mask
    return inner.version == outer.version and narrower and inner.bits & outer.mask == outer.bits


def _tighter(old: tuple[object, bool] | None, new: tuple[object, bool], *, greater: bool) -> tuple[object, bool]:
    if old is None or old[0] == new[0]:
        return new if old is None else (new[0], old[1] or new[1])
    return max(old, new, key=lambda bound: bound[0]) if greater else min(old, new, key=lambda bound: bound[0])  # type: ignore[return-value, arg-type]  # both of one type


def _empty(low: tuple[object, bool], high: tuple[object, bool]) -> bool:
    return low[0] > high[0] or (low[0] == high[0] and (low[1] or high[1]))  # type: ignore[operator]  # the same
